//! The flow of records through a group member, on the in-process broker; rebalances on a real one too.

mod flow;
mod rebalances;
mod trouble;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use tokio::sync::mpsc;

use super::embedded::EmbeddedBroker;
use super::*;
use crate::record::Record;
use crate::source::Lease;

/// A broker, one topic on it, and how its group's members are set up.
struct Bench {
    place: Place,
    topic: String,
    properties: BTreeMap<String, String>,
}

/// Where the broker runs.
enum Place {
    Embedded(EmbeddedBroker),
    /// `EOS_TEST_KAFKA`.
    Real(String),
}

impl Bench {
    /// On the in-process broker.
    fn new(partitions: u32) -> Self {
        let broker = EmbeddedBroker::start().expect("a broker");
        if partitions > 0 {
            broker.create_topic("event.order", partitions).expect("a topic");
        }
        // The mock holds a group's first join for 3 s, and would take the member for dead meanwhile.
        Self::at(Place::Embedded(broker), "event.order")
            .set("session.timeout.ms", "3500")
            .set("heartbeat.interval.ms", "100")
    }

    /// On the real one.
    async fn real(partitions: i32) -> Self {
        let servers = std::env::var("EOS_TEST_KAFKA")
            .expect("EOS_TEST_KAFKA is not set: run `scripts/test`, or `export $(scripts/services env)`");
        let topic = format!("eos.kafka.{}", uuid::Uuid::new_v4());
        let admin: AdminClient<_> =
            ClientConfig::new().set("bootstrap.servers", &servers).create().expect("an admin client");
        let new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1));
        let made = admin.create_topics(&[new], &AdminOptions::new()).await.expect("an answer");
        made.into_iter().for_each(|made| drop(made.expect("a topic")));
        Self::at(Place::Real(servers), &topic)
    }

    fn at(place: Place, topic: &str) -> Self {
        // `RUST_LOG=eos=debug cargo test` shows what happens.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        drop(tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init());
        Bench { place, topic: topic.to_owned(), properties: BTreeMap::new() }
    }

    fn set(mut self, property: &str, value: &str) -> Self {
        self.properties.insert(property.to_owned(), value.to_owned());
        self
    }

    fn cooperative(self) -> Self {
        self.set("partition.assignment.strategy", "cooperative-sticky")
    }

    fn servers(&self) -> &str {
        match &self.place {
            Place::Embedded(broker) => broker.bootstrap_servers(),
            Place::Real(servers) => servers,
        }
    }

    fn broker(&self) -> &EmbeddedBroker {
        match &self.place {
            Place::Embedded(broker) => broker,
            Place::Real(_) => panic!("a test of the in-process broker"),
        }
    }

    fn client(&self) -> ClientOptions {
        ClientOptions { bootstrap_servers: self.servers().to_owned(), properties: self.properties.clone() }
    }

    fn produce(&self, partition: i32, texts: impl IntoIterator<Item = String>) {
        let producer: ThreadedProducer<_> = ClientConfig::new()
            .set("bootstrap.servers", self.servers())
            .set("linger.ms", "1")
            .create()
            .expect("a producer");
        for text in texts {
            let record = BaseRecord::<str, _>::to(&self.topic).partition(partition).payload(&text);
            producer.send(record).map_err(|(error, _)| error).expect("sent");
        }
        producer.flush(Duration::from_secs(10)).expect("flushed");
    }

    fn options(&self, deadline: Duration) -> ConsumerOptions {
        ConsumerOptions {
            group: format!("billing.{}", self.topic),
            topics: vec![self.topic.clone()],
            listener: "orders::on_order".to_owned(),
            commit_interval: Duration::from_millis(100),
            deadline,
        }
    }

    /// A member that hands its leases to the test.
    fn member(&self, deadline: Duration) -> Joined {
        let cluster = Cluster::new(&self.client()).expect("a cluster");
        let (leases, incoming) = mpsc::unbounded_channel();
        let options = self.options(deadline);
        // The "worker" is a task that ends when the test lets go of the lease's guard.
        let on_lease: OnLease = Box::new(move |lease| {
            let (guard, let_go) = tokio::sync::oneshot::channel::<()>();
            drop(leases.send((lease, guard)));
            tokio::spawn(async move { drop(let_go.await) })
        });
        let consumer = Consumer::start(&self.client(), options, cluster.clone(), on_lease).expect("a member");
        Joined { consumer, cluster, incoming }
    }
}

type Guard = tokio::sync::oneshot::Sender<()>;

struct Joined {
    consumer: Consumer,
    cluster: Cluster,
    incoming: mpsc::UnboundedReceiver<(Lease, Guard)>,
}

impl Joined {
    async fn lease(&mut self) -> (Lease, Guard) {
        within(30, self.incoming.recv()).await.expect("a lease")
    }

    /// The leases, once there are so many and none is revoked again; the group may take several rounds to settle.
    async fn settled(&mut self, count: usize) -> Vec<(Lease, Guard)> {
        let mut leases = Vec::new();
        let patience = Instant::now() + Duration::from_secs(40);
        while Instant::now() < patience {
            while let Ok(lease) = self.incoming.try_recv() {
                leases.push(lease);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            leases.retain(|(lease, _)| !lease.revoked.is_cancelled());
            if leases.len() == count && self.incoming.is_empty() {
                return leases;
            }
        }
        panic!("the group did not settle")
    }

    async fn stop(mut self) -> Duration {
        let began = Instant::now();
        self.consumer.stop(Duration::from_secs(5));
        within(20, self.consumer.ended()).await.expect("ended");
        let took = began.elapsed();
        self.cluster.close().await;
        took
    }
}

async fn within<T>(seconds: u64, what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(seconds), what).await.expect("in time")
}

async fn read(lease: &mut Lease, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while records.len() < count {
        let more = within(15, lease.next()).await.expect("still ours");
        lease.taken(more.len());
        records.extend(more);
    }
    records
}

async fn in_kafka(lease: &Lease) -> Option<i64> {
    let committed = lease.committed_in_kafka().await.expect("an answer");
    assert!(committed.is_none_or(|committed| committed.ours));
    committed.map(|committed| committed.offset)
}

fn numbers(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|number| number.to_string())
}

fn offsets(records: &[Record]) -> Vec<i64> {
    records.iter().map(Record::offset).collect()
}

async fn until(mut happens: impl AsyncFnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(15);
    while !happens().await {
        assert!(Instant::now() < patience, "it did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
