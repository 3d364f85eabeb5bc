//! The loop that a good engineer writes by hand, with the same crates, and tunes.
//!
//! One thread: poll, change, produce, and each 100 ms the positions into the transaction, and commit. The consumer is tuned
//! as eos's is; the producer is idempotent and has librdkafka's own batches. A commit of rdkafka's flushes in slices of
//! 100 ms while records are in flight, so it waits for them first; with `--flush` it does not. What goes wrong ends it, and
//! the next one begins where the last committed transaction left off; that partitions come and go is left out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use uuid::Uuid;

use super::{INTERVAL_MS, transformed};
use crate::child::told_to_stop;
use crate::noop::FETCHING;

/// What it is told.
#[derive(Debug, clap::Args)]
pub(crate) struct ChildArgs {
    #[arg(long)]
    kafka: String,
    #[arg(long)]
    group: String,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    out: String,
    /// Commits after each record
    #[arg(long)]
    one_by_one: bool,
    /// Leaves it to `commit_transaction` to wait for what is in flight
    #[arg(long)]
    flush: bool,
    /// Gives each output an id that is the same whenever its record is handled
    #[arg(long)]
    ids: bool,
}

type Producer = ThreadedProducer<DefaultProducerContext>;

/// Works until it is told to stop.
pub(crate) async fn run(args: ChildArgs) -> anyhow::Result<()> {
    let over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&over);
    let mut work = tokio::task::spawn_blocking(move || work(&args, &told));
    tokio::select! {
        failed = &mut work => failed?,
        stopped = told_to_stop() => {
            stopped?;
            over.store(true, Ordering::Relaxed);
            work.await?
        }
    }
}

fn work(args: &ChildArgs, over: &AtomicBool) -> anyhow::Result<()> {
    let consumer = consumer(args)?;
    let producer = producer(args)?;
    producer.init_transactions(Duration::from_secs(30))?;
    let mut open: Option<Open> = None;
    while !over.load(Ordering::Relaxed) {
        let left = open.as_ref().map_or(Duration::from_millis(100), Open::left);
        if let Some(message) = consumer.poll(left) {
            let message = message?;
            if open.is_none() {
                producer.begin_transaction()?;
            }
            let open = open.get_or_insert_with(Open::now);
            send(&producer, args, &message)?;
            open.behind(message.partition(), message.offset());
        }
        if let Some(done) = open.take_if(|open| args.one_by_one || open.left().is_zero()) {
            done.commit(args, &consumer, &producer)?;
        }
    }
    Ok(())
}

fn consumer(args: &ChildArgs) -> anyhow::Result<BaseConsumer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &args.kafka)
        .set("group.id", &args.group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false");
    config.extend(FETCHING.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let consumer: BaseConsumer = config.create()?;
    consumer.subscribe(&[&args.topic])?;
    Ok(consumer)
}

fn producer(args: &ChildArgs) -> anyhow::Result<Producer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &args.kafka)
        .set("transactional.id", &args.group)
        // Java's, so that a key lands where other producers put it.
        .set("partitioner", "murmur2_random");
    if args.one_by_one {
        config.set("linger.ms", "0");
    }
    Ok(config.create()?)
}

fn send(producer: &Producer, args: &ChildArgs, message: &BorrowedMessage<'_>) -> anyhow::Result<()> {
    let payload = message.payload().map(transformed);
    let mut record = BaseRecord::<[u8], [u8]>::to(&args.out);
    (record.key, record.payload) = (message.key(), payload.as_deref());
    record.headers = args.ids.then(|| with_id(args, message));
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                record = again;
                thread::sleep(Duration::from_millis(1));
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

fn with_id(args: &ChildArgs, message: &BorrowedMessage<'_>) -> OwnedHeaders {
    let name = format!("{}/{}/{}/{}", args.group, args.topic, message.partition(), message.offset());
    let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string();
    OwnedHeaders::new_with_capacity(1).insert(Header { key: "message-id", value: Some(&id) })
}

/// The transaction that is open, and how far it is in each partition.
struct Open {
    since: Instant,
    next: Vec<Option<i64>>,
}

impl Open {
    fn now() -> Self {
        Open { since: Instant::now(), next: Vec::new() }
    }

    fn left(&self) -> Duration {
        Duration::from_millis(INTERVAL_MS.into()).saturating_sub(self.since.elapsed())
    }

    fn behind(&mut self, partition: i32, offset: i64) {
        let partition = partition as usize;
        if partition >= self.next.len() {
            self.next.resize(partition + 1, None);
        }
        self.next[partition] = Some(offset + 1);
    }

    fn commit(self, args: &ChildArgs, consumer: &BaseConsumer, producer: &Producer) -> anyhow::Result<()> {
        while !args.flush && producer.in_flight_count() > 0 {
            thread::sleep(Duration::from_micros(50));
        }
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in (0..).zip(&self.next) {
            if let Some(next) = next {
                offsets.add_partition_offset(&args.topic, partition, Offset::Offset(*next))?;
            }
        }
        let Some(member) = consumer.group_metadata() else { anyhow::bail!("the group does not know us") };
        producer.send_offsets_to_transaction(&offsets, &member, Duration::from_secs(30))?;
        producer.commit_transaction(Duration::from_secs(30))?;
        Ok(())
    }
}
