//! Kafka as the tests use it: topics, records of any shape, and the offsets that a group has committed.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};
use tokio::sync::oneshot;

use crate::waiting::{PATIENCE, eventually};

const TIMEOUT: Duration = Duration::from_secs(20);

/// A broker, and the clients to look after it with.
pub struct Kafka {
    servers: String,
    admin: AdminClient<DefaultClientContext>,
    producer: ThreadedProducer<Reports>,
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kafka").field("servers", &self.servers).finish_non_exhaustive()
    }
}

/// A record to produce; nothing that is not set is sent.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// Which partition; by the key where it is not given.
    pub partition: Option<i32>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its payload; a tombstone without.
    pub payload: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A record as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which partition.
    pub partition: i32,
    /// Where in it.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its payload.
    pub payload: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Seen {
    fn of(message: &rdkafka::message::BorrowedMessage<'_>) -> Self {
        use rdkafka::message::Headers as _;
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
        });
        Seen {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers,
        }
    }

    /// A header's value as text.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().rev().find(|(known, _)| known == name)?;
        Some(String::from_utf8_lossy(value.as_deref()?).into_owned())
    }

    /// The id that duplicates share.
    pub fn id(&self) -> String {
        self.header("message-id").expect("every record of a relay has an id")
    }

    /// Its key as text.
    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }

    /// Its payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.payload.as_deref().unwrap_or_default()).into_owned()
    }
}

/// What is written, and not committed yet.
pub struct OpenTransaction {
    producer: ThreadedProducer<Reports>,
    /// Where each of its records is.
    pub written: Vec<(i32, i64)>,
}

impl OpenTransaction {
    /// Commits it, or aborts it.
    pub async fn end(self, commit: bool) {
        let producer = self.producer;
        tokio::task::spawn_blocking(move || {
            if commit { producer.commit_transaction(TIMEOUT) } else { producer.abort_transaction(TIMEOUT) }
        })
        .await
        .expect("no panic")
        .expect("the transaction is ended");
    }
}

impl std::fmt::Debug for OpenTransaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenTransaction").field("written", &self.written).finish_non_exhaustive()
    }
}

type Report = oneshot::Sender<Result<(i32, i64), String>>;

/// Hands each delivery's report to who waits for it.
struct Reports;

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Report>;

    fn delivery(&self, result: &DeliveryResult<'_>, report: Box<Report>) {
        let answer = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.to_string()),
        };
        // Nobody waits any more where a test has failed.
        drop(report.send(answer));
    }
}

fn producer(servers: &str) -> ThreadedProducer<Reports> {
    let producer = config(servers)
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "20000")
        .set("linger.ms", "1")
        .create_with_context(Reports);
    producer.expect("a producer")
}

/// What became of each record.
async fn try_produce(
    producer: &ThreadedProducer<Reports>,
    topic: &str,
    records: &[Sent],
) -> Vec<Result<(i32, i64), String>> {
    let mut reports = Vec::with_capacity(records.len());
    for sent in records {
        let (report, delivered) = oneshot::channel();
        let headers = sent.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: value.as_deref() })
        });
        let mut record = BaseRecord::with_opaque_to(topic, Box::new(report)).headers(headers);
        record.partition = sent.partition;
        record.key = sent.key.as_deref();
        record.payload = sent.payload.as_deref();
        producer.send::<[u8], [u8]>(record).map_err(|(error, _)| error).expect("the queue has room");
        reports.push(delivered);
    }
    let mut written = Vec::with_capacity(reports.len());
    for report in reports {
        written.push(report.await.expect("a report"));
    }
    written
}

impl Kafka {
    /// Clients for these brokers.
    pub fn new(servers: &str) -> Self {
        let admin = config(servers).create().expect("an admin client");
        Kafka { servers: servers.to_owned(), admin, producer: producer(servers) }
    }

    /// Makes a topic, and waits until it can be used.
    pub async fn create_topic(&self, topic: &str, partitions: i32, config: &[(&str, &str)]) {
        let wanted = config
            .iter()
            .fold(NewTopic::new(topic, partitions, TopicReplication::Fixed(1)), |topic, (name, value)| {
                topic.set(name, value)
            });
        eventually("the topic is made", PATIENCE, async || {
            let made = self.admin.create_topics([&wanted], &AdminOptions::new()).await;
            match made.map_err(|error| error.to_string())?.remove(0) {
                // A topic of that name that was deleted is still there for a moment.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) if self.partitions(topic).await > 0 => {
                    Err("it is still there".to_owned())
                }
                Ok(_) => Ok(()),
                Err((_, error)) => Err(error.to_string()),
            }
        })
        .await;
        eventually("the topic is known", PATIENCE, async || match self.partitions(topic).await {
            known if known == partitions as usize => Ok(()),
            known => Err(format!("{known} partitions")),
        })
        .await;
    }

    /// Deletes a topic, and waits until it is gone.
    pub async fn delete_topic(&self, topic: &str) {
        let deleted = self.admin.delete_topics(&[topic], &AdminOptions::new()).await;
        deleted.expect("the broker answers");
        eventually("the topic is gone", PATIENCE, async || match self.partitions(topic).await {
            0 => Ok(()),
            left => Err(format!("{left} partitions")),
        })
        .await;
    }

    /// Deletes a topic without waiting for it; whether it was there is of no interest.
    pub(crate) async fn throw_away(servers: &str, topic: &str) {
        let admin: AdminClient<DefaultClientContext> = config(servers).create().expect("an admin client");
        let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(5)));
        drop(admin.delete_topics(&[topic], &options).await);
    }

    /// Adds partitions, so that there are `count`.
    pub async fn grow_topic(&self, topic: &str, count: usize) {
        let wanted = NewPartitions::new(topic, count);
        let grown = self.admin.create_partitions([&wanted], &AdminOptions::new()).await;
        grown.expect("the broker answers").remove(0).expect("partitions are added");
        eventually("the partitions are known", PATIENCE, async || match self.partitions(topic).await {
            known if known == count => Ok(()),
            known => Err(format!("{known} partitions")),
        })
        .await;
    }

    /// Deletes the records before `offset`, as retention would.
    pub async fn delete_records(&self, topic: &str, partition: i32, offset: i64) {
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("a valid offset");
        self.admin.delete_records(&before, &AdminOptions::new()).await.expect("records are deleted");
    }

    /// Produces records in this order, and waits until they are written; where each of them is.
    ///
    /// A producer whose broker was killed may never come to itself again (seen); another one writes what it could not.
    pub async fn produce(&self, topic: &str, records: &[Sent]) -> Vec<(i32, i64)> {
        let mut written = try_produce(&self.producer, topic, records).await;
        let mut producers = 1;
        while let Some(first) = written.iter().position(Result::is_err) {
            producers += 1;
            assert!(producers <= 4, "the record is not written: {:?}", written[first]);
            eprintln!("produced again by another producer: {:?}", written[first]);
            written.truncate(first);
            written.extend(try_produce(&producer(&self.servers), topic, &records[first..]).await);
        }
        written.into_iter().flatten().collect()
    }

    /// Produces records inside a Kafka transaction that is committed, or aborted.
    pub async fn produce_in_transaction(
        &self,
        topic: &str,
        records: Vec<Sent>,
        commit: bool,
    ) -> Vec<(i32, i64)> {
        let open = self.open_transaction(topic, &records).await;
        let written = open.written.clone();
        open.end(commit).await;
        written
    }

    /// Produces records inside a Kafka transaction that stays open.
    pub async fn open_transaction(&self, topic: &str, records: &[Sent]) -> OpenTransaction {
        let producer: ThreadedProducer<Reports> = config(&self.servers)
            .set("transactional.id", uuid::Uuid::new_v4().to_string())
            .create_with_context(Reports)
            .expect("a transactional producer");
        let transactional = Kafka {
            servers: self.servers.clone(),
            admin: config(&self.servers).create().expect("an admin client"),
            producer: producer.clone(),
        };
        let blocking = producer.clone();
        tokio::task::spawn_blocking(move || {
            blocking.init_transactions(TIMEOUT)?;
            blocking.begin_transaction()
        })
        .await
        .expect("no panic")
        .expect("a transaction is begun");
        let written = transactional.produce(topic, records).await;
        OpenTransaction { producer, written }
    }

    /// The offsets that a group has committed, by partition; `None` where it has none.
    pub async fn committed(&self, group: &str, topic: &str, partitions: i32) -> Vec<Option<i64>> {
        let consumer: BaseConsumer =
            config(&self.servers).set("group.id", group).create().expect("a consumer");
        let mut wanted = TopicPartitionList::new();
        for partition in 0..partitions {
            wanted.add_partition(topic, partition);
        }
        let committed = tokio::task::spawn_blocking(move || consumer.committed_offsets(wanted, TIMEOUT));
        let committed = committed.await.expect("no panic").expect("the broker answers");
        let offset = |partition| match committed.find_partition(topic, partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => {
                None
            }
        };
        (0..partitions).map(offset).collect()
    }

    /// Every record of a topic that a reader sees who waits for commits, each partition in its order.
    pub async fn read(&self, topic: &str) -> Vec<Seen> {
        let partitions = self.partitions(topic).await;
        let consumer: BaseConsumer = config(&self.servers)
            .set("group.id", "nobody")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "10")
            .create()
            .expect("a consumer");
        let topic = topic.to_owned();
        let read = move || {
            let mut from = TopicPartitionList::new();
            for partition in 0..partitions as i32 {
                from.add_partition_offset(&topic, partition, Offset::Beginning).expect("a valid offset");
            }
            consumer.assign(&from).expect("assigned");
            let (mut seen, mut ended) = (Vec::new(), 0);
            while ended < partitions {
                match consumer.poll(TIMEOUT).expect("an answer in time") {
                    Ok(message) => seen.push(Seen::of(&message)),
                    Err(rdkafka::error::KafkaError::PartitionEOF(_)) => ended += 1,
                    Err(error) => panic!("cannot read: {error}"),
                }
            }
            seen
        };
        tokio::task::spawn_blocking(read).await.expect("no panic")
    }

    /// The offsets of a partition that a reader sees, from its first to its last.
    pub async fn visible_offsets(&self, topic: &str, partition: i32) -> Vec<i64> {
        let consumer: BaseConsumer = config(&self.servers)
            .set("group.id", "nobody")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .create()
            .expect("a consumer");
        let topic = topic.to_owned();
        let read = move || {
            let mut from = TopicPartitionList::new();
            from.add_partition_offset(&topic, partition, Offset::Beginning).expect("a valid offset");
            consumer.assign(&from).expect("assigned");
            let mut offsets = Vec::new();
            loop {
                match consumer.poll(TIMEOUT).expect("an answer in time") {
                    Ok(message) => offsets.push(message.offset()),
                    Err(rdkafka::error::KafkaError::PartitionEOF(_)) => return offsets,
                    Err(error) => panic!("cannot read: {error}"),
                }
            }
        };
        tokio::task::spawn_blocking(read).await.expect("no panic")
    }

    /// How many partitions a topic has; 0 where there is no such topic.
    pub async fn partitions(&self, topic: &str) -> usize {
        // The producer asks, so that it knows of them, too.
        let (producer, topic) = (self.producer.clone(), topic.to_owned());
        let look = move || match producer.client().fetch_metadata(Some(&topic), TIMEOUT) {
            Ok(metadata) => metadata.topics().first().map_or(0, |topic| topic.partitions().len()),
            Err(_) => 0,
        };
        tokio::task::spawn_blocking(look).await.expect("no panic")
    }
}

fn config(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    // What a broker that is being restarted makes librdkafka say is no news to a test.
    config.set_log_level(rdkafka::config::RDKafkaLogLevel::Critical);
    config
}
