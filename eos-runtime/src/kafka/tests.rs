//! The flow of records through a group member, on the in-process broker.

use std::collections::BTreeMap;

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::mpsc;

use super::embedded::EmbeddedBroker;
use super::*;
use crate::record::Record;
use crate::source::{Lease, SourceError};

const TOPIC: &str = "event.order";

struct Bench {
    broker: EmbeddedBroker,
    properties: BTreeMap<String, String>,
}

impl Bench {
    fn new(partitions: u32) -> Self {
        // `RUST_LOG=eos=debug cargo test` shows what happens.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        drop(tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init());
        let broker = EmbeddedBroker::start().expect("a broker");
        if partitions > 0 {
            broker.create_topic(TOPIC, partitions).expect("a topic");
        }
        let properties = [("session.timeout.ms", "3500"), ("heartbeat.interval.ms", "100")];
        let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Bench { broker, properties }
    }

    fn cooperative(mut self) -> Self {
        self.properties.insert("partition.assignment.strategy".to_owned(), "cooperative-sticky".to_owned());
        self
    }

    fn client(&self) -> ClientOptions {
        ClientOptions {
            bootstrap_servers: self.broker.bootstrap_servers().to_owned(),
            properties: self.properties.clone(),
        }
    }

    fn produce(&self, partition: i32, texts: impl IntoIterator<Item = String>) {
        let producer: ThreadedProducer<_> = ClientConfig::new()
            .set("bootstrap.servers", self.broker.bootstrap_servers())
            .set("linger.ms", "1")
            .create()
            .expect("a producer");
        for text in texts {
            let record = BaseRecord::<str, _>::to(TOPIC).partition(partition).payload(&text);
            producer.send(record).map_err(|(error, _)| error).expect("sent");
        }
        producer.flush(Duration::from_secs(10)).expect("flushed");
    }

    /// A member that hands its leases to the test.
    fn member(&self, deadline: Duration) -> Joined {
        let cluster = Cluster::new(&self.client()).expect("a cluster");
        let (leases, incoming) = mpsc::unbounded_channel();
        let options = ConsumerOptions {
            group: "billing".to_owned(),
            topics: vec![TOPIC.to_owned()],
            listener: "orders::on_order".to_owned(),
            commit_interval: Duration::from_millis(100),
            deadline,
        };
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
        within(15, self.incoming.recv()).await.expect("a lease")
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

#[tokio::test(flavor = "multi_thread")]
async fn delivery_begins_where_the_worker_seeks_and_keeps_the_order() {
    let bench = Bench::new(1);
    bench.produce(0, numbers(0..1_000));
    let mut member = bench.member(Duration::from_secs(5));
    let (mut lease, guard) = member.lease().await;
    let marks = lease.watermarks().await.expect("watermarks");
    assert_eq!((marks.low, marks.high), (0, 1_000));
    assert_eq!(in_kafka(&lease).await, None);
    for start in [3_i64, 990, 0, 500] {
        lease.seek(start).await.expect("sought");
        let records = read(&mut lease, 1_000 - start as usize).await;
        assert_eq!(offsets(&records), (start..1_000).collect::<Vec<_>>());
        assert_eq!(records[0].payload(), Some(start.to_string().as_bytes()));
    }
    drop(guard);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seeks_in_quick_succession_never_mix_and_never_skip() {
    let bench = Bench::new(1);
    bench.produce(0, numbers(0..2_000));
    let mut member = bench.member(Duration::from_secs(5));
    let (mut lease, guard) = member.lease().await;
    for round in 0..30_i64 {
        let start = round * 7 % 1_500;
        lease.seek(start).await.expect("sought");
        let records = read(&mut lease, 1).await;
        let first = records[0].offset();
        assert_eq!(first, start);
        assert_eq!(offsets(&records), (first..first + records.len() as i64).collect::<Vec<_>>());
    }
    drop(guard);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_worker_holds_reading_back_and_loses_nothing() {
    let bench = Bench::new(1);
    bench.produce(0, numbers(0..10_000));
    let mut member = bench.member(Duration::from_secs(5));
    let (mut lease, guard) = member.lease().await;
    lease.seek(0).await.expect("sought");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut queued = Vec::new();
    while let Some(more) = lease.try_next() {
        queued.extend(more);
    }
    assert!((2_000..2_000 + 256).contains(&queued.len()), "{} records were handed over", queued.len());
    lease.taken(queued.len());
    queued.extend(read(&mut lease, 10_000 - queued.len()).await);
    assert_eq!(offsets(&queued), (0..10_000).collect::<Vec<_>>());
    drop(guard);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_follow_what_the_worker_committed_and_a_stop_tells_the_last_one() {
    let bench = Bench::new(1);
    bench.produce(0, numbers(0..10));
    let mut member = bench.member(Duration::from_secs(5));
    let (mut lease, guard) = member.lease().await;
    lease.seek(0).await.expect("sought");
    read(&mut lease, 10).await;
    lease.committed(4);
    until(async || in_kafka(&lease).await == Some(4)).await;
    lease.committed(10);
    drop(guard);
    member.stop().await;

    let mut again = bench.member(Duration::from_secs(5));
    let (lease, guard) = again.lease().await;
    assert_eq!(in_kafka(&lease).await, Some(10));
    drop(guard);
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_group_confirms_what_is_held_and_denies_what_is_not() {
    let bench = Bench::new(1);
    let mut member = bench.member(Duration::from_secs(5));
    let (lease, guard) = member.lease().await;
    assert!(lease.confirm(-1).await.expect("an answer"));
    assert!(lease.confirm(7).await.expect("an answer"));
    assert_eq!(in_kafka(&lease).await, Some(7));
    assert!(lease.confirm(-1).await.expect("an answer"), "and leaves the offset alone");
    assert_eq!(in_kafka(&lease).await, Some(7));

    bench
        .broker
        .run(|broker| {
            let fenced = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION];
            broker.request_errors(rdkafka::types::RDKafkaApiKey::OffsetCommit, &fenced);
            Ok(())
        })
        .expect("told");
    // The denial and the revocation that follows from it may come in either order.
    assert!(matches!(lease.confirm(8).await, Ok(false) | Err(SourceError::Revoked)));
    within(10, lease.revoked.cancelled()).await;
    drop(guard);
    assert!(matches!(lease.confirm(8).await, Err(SourceError::Revoked)));
    assert!(matches!(lease.seek(8).await, Err(SourceError::Revoked)));
    member.stop().await;
}

async fn until(mut happens: impl AsyncFnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(15);
    while !happens().await {
        assert!(Instant::now() < patience, "it did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
