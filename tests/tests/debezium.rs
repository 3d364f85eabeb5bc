//! Debezium in the relay's place: a real connector on Kafka Connect publishes the same table, and a reader cannot tell.

use std::collections::BTreeMap;
use std::time::Duration;

use eos_runtime::Headers;
use eos_tests::{Connect, Kind, Order, PATIENCE, Scene, Seen, What, eventually};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");
const ORDERS: usize = 40;

/// The configuration of the documentation, for this scene; its slot and its heartbeats have names of their own.
fn configuration(scene: &Scene) -> serde_json::Value {
    let (template, options) = match scene.kind() {
        Kind::Postgres => {
            let options = scene.database.postgres().connect_options();
            let place =
                (options.get_host().to_owned(), options.get_port(), options.get_username().to_owned());
            (include_str!("../../scripts/debezium/postgres.json"), place)
        }
        Kind::MariaDb | Kind::Sqlite => panic!("this test is about PostgreSQL"),
    };
    let (host, port, user) = options;
    let filled = template
        .replace("${database.hostname}", &host)
        .replace("${database.port}", &port.to_string())
        .replace("${database.user}", &user)
        .replace("${database.password}", "none")
        .replace("${database.dbname}", scene.database.name());
    let mut configuration: serde_json::Value = serde_json::from_str(&filled).expect("JSON");
    for name in ["slot.name", "topic.prefix"] {
        configuration[name] = scene.group.clone().into();
    }
    configuration
}

/// The connector and the relay of a running service publish the same rows into the same topics: each comes twice, alike to
/// the byte, and the service's listener applies it once.
#[tokio::test(flavor = "multi_thread")]
async fn debezium_sends_what_the_relay_sends_and_a_listener_applies_it_once() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    let pool = scene.database.postgres();
    eos_runtime::migrate(pool).await.expect("the tables are made");
    let raw = format!("{}.raw", scene.topic);
    let heartbeats = format!("__debezium-heartbeat.{}", scene.group);
    scene.kafka.create_topic(&raw, 2, &[]).await;
    scene.kafka.create_topic(&heartbeats, 1, &[]).await;
    // Written before the connector is there: its snapshot sends them.
    let mut tx = eos_runtime::begin(pool).await.expect("it begins");
    let tenant: Headers = [("type", "Avro"), ("tenant", "acme")].into_iter().collect();
    tx.publish_to(&raw, "k1", vec![0u8, 1, 0xff], tenant).await.expect("bytes");
    tx.publish_to(&raw, "größe", r#"{"b": 1,  "a": [2]}"#, Headers::default()).await.expect("text");
    tx.commit().await.expect("committed");
    scene.database.execute(include_str!("../../scripts/debezium/postgres.sql")).await;

    let connect = Connect::new();
    connect.create(&scene.group, &configuration(&scene)).await;
    connect.runs(&scene.group).await;
    let mut orders = Vec::new();
    for _ in 0..ORDERS {
        let order = Order::new(What::Insert);
        let payload = serde_json::to_string(&order).expect("JSON");
        let mut tx = eos_runtime::begin(pool).await.expect("it begins");
        tx.publish_to(&scene.topic, order.order_id, payload, Headers::default()).await.expect("published");
        tx.publish_to(&raw, "k1", None::<&str>, Headers::default()).await.expect("a tombstone");
        tx.publish_to(&raw, None::<&str>, "", Headers::default()).await.expect("no key");
        tx.commit().await.expect("committed");
        orders.push(order.order_id.to_string());
    }
    let all_there = async |each: usize| {
        eventually("each event is there", PATIENCE * 2, async || {
            let (ours, raws) =
                (scene.kafka.read(&scene.topic).await.len(), scene.kafka.read(&raw).await.len());
            if (ours, raws) == (each * ORDERS, each * (2 * ORDERS + 2)) {
                Ok(())
            } else {
                Err(format!("{ours}, {raws}"))
            }
        })
        .await;
    };
    all_there(1).await;
    // The service's own relay finds the rows in the table, and does not know that Debezium has sent them.
    let mut service = scene.launch().start();
    all_there(2).await;

    for topic in [&scene.topic, &raw] {
        let mut by_id = BTreeMap::<String, Vec<Seen>>::new();
        for seen in scene.kafka.read(topic).await {
            by_id.entry(seen.id()).or_default().push(seen);
        }
        for (id, twins) in by_id {
            let [debeziums, relays] = twins.as_slice() else { panic!("{id} is there {} times", twins.len()) };
            assert_eq!((&debeziums.key, &debeziums.payload), (&relays.key, &relays.payload), "{id}");
            let same_partition = debeziums.partition == relays.partition;
            assert!(same_partition || debeziums.key.is_none(), "{id}: a key has one partition");
            let type_name = |seen: &Seen| seen.header("type").filter(|name| !name.is_empty());
            assert_eq!(type_name(debeziums), type_name(relays), "{id}");
            // What is documented to differ: the column `headers` comes as it stands.
            let column = debeziums.header("headers").unwrap_or_default();
            assert_eq!(column.contains("acme"), relays.header("tenant").as_deref() == Some("acme"), "{id}");
        }
    }
    eventually("each order is applied", PATIENCE, async || {
        let applied = scene.database.applied().await.map_err(|error| error.to_string())?;
        let mut ids: Vec<String> = applied.into_iter().map(|row| row.order_id).collect();
        let mut wanted = orders.clone();
        ids.sort();
        wanted.sort();
        if ids == wanted { Ok(()) } else { Err(format!("{} rows of {ORDERS}", ids.len())) }
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.database.applied().await.expect("counted").len(), ORDERS, "no effect twice");
    service.stop().await;
    connect.delete(&scene.group).await;
    scene.database.execute(&format!("select pg_drop_replication_slot('{}')", scene.group)).await;
    for topic in [&raw, &heartbeats] {
        scene.kafka.delete_topic(topic).await;
    }
}
