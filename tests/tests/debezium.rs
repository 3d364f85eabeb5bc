//! Debezium in the relay's place: a real connector on Kafka Connect publishes the same table, and a reader cannot tell.

use std::collections::BTreeMap;
use std::time::Duration;

use eos_runtime::Headers;
use eos_tests::{Connect, Events, Kind, Order, PATIENCE, Raw, Scene, Seen, What, eventually, servers};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");
const ORDERS: usize = 40;

/// The configuration of the documentation, for this scene; what is the server's or Connect's has names of its own.
fn configuration(scene: &Scene) -> serde_json::Value {
    let (template, own) = match scene.kind() {
        Kind::Postgres => {
            (include_str!("../../scripts/debezium/postgres.json"), vec!["slot.name", "topic.prefix"])
        }
        Kind::MariaDb => {
            let own = vec!["topic.prefix", "schema.history.internal.kafka.topic"];
            (include_str!("../../scripts/debezium/mariadb.json"), own)
        }
        Kind::Sqlite => panic!("Debezium does not read SQLite"),
    };
    let (server, login) = (scene.database.server(), scene.database.login());
    let (host, port) = server.rsplit_once(':').expect("host:port");
    let filled = template
        .replace("${database.hostname}", host)
        .replace("${database.port}", port)
        .replace("${database.user}", &login.0)
        .replace("${database.password}", &login.1)
        .replace("${database.dbname}", scene.database.name())
        .replace("${database.server.id}", &(1_000 + std::process::id() % 1_000_000).to_string())
        .replace("${bootstrap.servers}", &servers().kafka);
    let mut configuration: serde_json::Value = serde_json::from_str(&filled).expect("JSON");
    for name in own {
        configuration[name] = scene.group.clone().into();
    }
    configuration
}

#[tokio::test(flavor = "multi_thread")]
async fn debezium_sends_what_the_relay_sends_and_a_listener_applies_it_once_on_postgres() {
    let events = Events::new(Kind::Postgres, 2, SINKS).await;
    sends_what_the_relay_sends(&events, include_str!("../../scripts/debezium/postgres.sql")).await;
    let scene = &events.scene;
    scene.database.execute(&format!("select pg_drop_replication_slot('{}')", scene.group)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn debezium_sends_what_the_relay_sends_and_a_listener_applies_it_once_on_mariadb() {
    let events = Events::new(Kind::MariaDb, 2, SINKS).await;
    sends_what_the_relay_sends(&events, include_str!("../../scripts/debezium/mariadb.sql")).await;
    let scene = &events.scene;
    scene.kafka.delete_topic(&scene.group).await; // the schema history's
}

/// The connector and the relay of a running service publish the same rows into the same topics: each comes twice, alike to
/// the byte, and the service's listener applies it once.
async fn sends_what_the_relay_sends(events: &Events, preparation: &str) {
    let scene = &events.scene;
    let raw = format!("{}.raw", scene.topic);
    let heartbeats = format!("__debezium-heartbeat.{}", scene.group);
    scene.kafka.create_topic(&raw, 2, &[]).await;
    scene.kafka.create_topic(&heartbeats, 1, &[]).await;
    // Written before the connector is there: its snapshot sends them.
    let tenant: Headers = [("type", "Avro"), ("tenant", "acme")].into_iter().collect();
    let avro = Raw { headers: tenant, ..Raw::new(&raw, Some("k1"), Some(&[0, 1, 0xff])) };
    let text = Raw::new(&raw, Some("größe"), Some(br#"{"b": 1,  "a": [2]}"#));
    events.publish(&[avro, text]).await;
    scene.database.execute(preparation).await;

    let connect = Connect::new();
    connect.create(&scene.group, &configuration(scene)).await;
    connect.runs(&scene.group).await;
    let mut orders = Vec::new();
    for _ in 0..ORDERS {
        let order = Order::new(What::Insert);
        let (id, payload) = (order.order_id.to_string(), serde_json::to_vec(&order).expect("JSON"));
        let placed = Raw::new(&scene.topic, Some(&id), Some(&payload));
        let (tombstone, keyless) = (Raw::new(&raw, Some("k1"), None), Raw::new(&raw, None, Some(b"")));
        events.publish(&[placed, tombstone, keyless]).await;
        orders.push(id);
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
    for topic in [&raw, &heartbeats] {
        scene.kafka.delete_topic(topic).await;
    }
}
