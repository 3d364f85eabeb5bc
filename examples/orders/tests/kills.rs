//! The three processes are killed again and again while orders come over HTTP: in the end there are as many orders,
//! invoices and events as requests that were answered with success.
//!
//! On the real servers of the tests (`scripts/test` starts them), and with `delivery = "exactly_once"`, so that also the events
//! in Kafka can be counted.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

const CLIENTS: usize = 4;
const ORDERS_OF_EACH: usize = 40;
const PATIENCE: Duration = Duration::from_secs(120);

/// What a run has of the servers.
struct Stage {
    name: String,
    brokers: String,
    server: String,
    database: String,
    address: String,
}

/// A process that is started again when it was killed.
struct Process {
    role: &'static str,
    child: Child,
}

impl Stage {
    async fn set() -> Stage {
        let variable = |name: &str| {
            std::env::var(name)
                .unwrap_or_else(|_| panic!("{name} is not set; run `scripts/test`, which sets it"))
        };
        let name = format!("eos_orders_{:08x}", fastrand::u32(..));
        let (brokers, server) = (variable("EOS_TEST_KAFKA"), variable("EOS_TEST_POSTGRES"));
        let mut connection = PgConnection::connect(&server).await.expect("PostgreSQL is there");
        let create = format!("create database {name}");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await.expect("a database is made");
        let admin: AdminClient<DefaultClientContext> = config(&brokers).create().expect("an admin client");
        let topics: Vec<String> = topics(&name).into();
        let wanted: Vec<_> =
            topics.iter().map(|topic| NewTopic::new(topic, 3, TopicReplication::Fixed(1))).collect();
        admin.create_topics(&wanted, &AdminOptions::new()).await.expect("topics are made");
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let (place, _) = server.rsplit_once('/').expect("an address with a database");
        let database = format!("{place}/{name}");
        Stage { name, brokers, server, database, address: format!("127.0.0.1:{port}") }
    }

    fn start(&self, role: &'static str) -> Process {
        let mail = std::env::temp_dir().join(&self.name);
        let child = Command::new(env!("CARGO_BIN_EXE_orders"))
            .args([role, "--listen", &self.address, "--mail"])
            .arg(mail)
            .current_dir(std::env::temp_dir())
            .env("EOS_KAFKA_BOOTSTRAP_SERVERS", &self.brokers)
            .env("EOS_DATABASE_URL", &self.database)
            .env("EOS__APP__TOPIC_PREFIX", format!("{}.", self.name))
            .env("EOS__OUTBOX__DELIVERY", "exactly_once")
            .env("EOS__OUTBOX__LEASE", "2s")
            .env("EOS__KAFKA__PROPERTIES__SESSION_TIMEOUT_MS", "6000")
            .env("EOS__KAFKA__PROPERTIES__HEARTBEAT_INTERVAL_MS", "500")
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Process { role, child: child.expect("the program can be run") }
    }

    async fn clear(self) {
        let mut connection = PgConnection::connect(&self.server).await.expect("PostgreSQL is there");
        let remove = format!("drop database {} with (force)", self.name);
        drop(sqlx::raw_sql(AssertSqlSafe(remove)).execute(&mut connection).await);
        let admin: AdminClient<DefaultClientContext> =
            config(&self.brokers).create().expect("an admin client");
        let topics = topics(&self.name);
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        drop(admin.delete_topics(&names, &AdminOptions::new()).await);
        drop(std::fs::remove_dir_all(std::env::temp_dir().join(&self.name)));
    }

    /// How many different keys the records of a topic have, and how many records there are.
    fn events(&self, topic: &str) -> (usize, usize) {
        let consumer: BaseConsumer = config(&self.brokers)
            .set("group.id", "nobody")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .create()
            .expect("a consumer");
        let mut list = TopicPartitionList::new();
        for partition in 0..3 {
            list.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
        }
        consumer.assign(&list).expect("assigned");
        let (mut keys, mut records, mut ended) = (BTreeSet::new(), 0, 0);
        while ended < 3 {
            match consumer.poll(Duration::from_secs(20)).expect("an answer in time") {
                Ok(record) => {
                    keys.insert(record.key().expect("a key").to_vec());
                    records += 1;
                }
                Err(KafkaError::PartitionEOF(_)) => ended += 1,
                Err(error) => panic!("cannot read: {error}"),
            }
        }
        (keys.len(), records)
    }
}

fn topics(name: &str) -> [String; 2] {
    [format!("{name}.event.order"), format!("{name}.event.invoice")]
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config.set_log_level(rdkafka::config::RDKafkaLogLevel::Critical);
    config
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A client that repeats each request until it is answered with success; the order that it was told of.
fn order(address: &str, key: &str) -> String {
    let began = Instant::now();
    loop {
        let answer = ureq::post(format!("http://{address}/orders"))
            .header("idempotency-key", key)
            .config()
            .timeout_global(Some(Duration::from_secs(5)))
            .build()
            .send_json(serde_json::json!({ "customer": "Ada", "amount_cents": 990 }));
        if let Ok(mut answer) = answer
            && answer.status().is_success()
            && let Ok(order) = answer.body_mut().read_json::<serde_json::Value>()
        {
            return order["order_id"].as_str().expect("an id").to_owned();
        }
        assert!(began.elapsed() < PATIENCE, "the API does not answer for {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_orders_invoices_and_events_as_requests_that_succeeded() {
    let stage = Stage::set().await;
    let mut processes = vec![stage.start("api"), stage.start("invoices"), stage.start("mail")];
    let done = std::sync::Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let address = stage.address.clone();
            std::thread::spawn(move || -> Vec<String> {
                (0..ORDERS_OF_EACH).map(|number| order(&address, &format!("{client}-{number}"))).collect()
            })
        })
        .collect();
    let clients = {
        let done = std::sync::Arc::clone(&done);
        tokio::task::spawn_blocking(move || {
            let orders: Vec<String> =
                clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect();
            done.store(true, Ordering::Release);
            orders
        })
    };
    let mut kills = 0;
    while !done.load(Ordering::Acquire) || kills < 6 {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(400..1_200))).await;
        let at = kills % processes.len();
        let role = processes[at].role;
        processes[at].child.kill().expect("it can be killed");
        processes[at].child.wait().expect("it has ended");
        processes[at] = stage.start(role);
        kills += 1;
    }
    let answered: BTreeSet<String> = clients.await.expect("no panic").into_iter().collect();
    let wanted = CLIENTS * ORDERS_OF_EACH;
    assert_eq!(answered.len(), wanted, "each request has an order of its own");

    let mut connection = PgConnection::connect(&stage.database).await.expect("the database is there");
    let began = Instant::now();
    loop {
        let counts: (i64, i64, i64) = sqlx::query_as(
            "select (select count(*) from orders), (select count(*) from invoice), (select count(*) from eos_outbox)",
        )
        .fetch_one(&mut connection)
        .await
        .expect("counted");
        if counts == (wanted as i64, wanted as i64, 0) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "after {kills} kills: {counts:?} of {wanted}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let twice: i64 = sqlx::query_scalar("select count(*) - count(distinct order_id) from invoice")
        .fetch_one(&mut connection)
        .await
        .expect("counted");
    assert_eq!(twice, 0, "no order has two invoices");
    for topic in topics(&stage.name) {
        assert_eq!(stage.events(&topic), (wanted, wanted), "events of {topic}: keys, and records");
    }
    drop(processes);
    connection.close().await.expect("closed");
    stage.clear().await;
}
