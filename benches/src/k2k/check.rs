//! Whether a run was right: all of the output topic is read, as a reader of what is committed does.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::PARTITIONS;
use crate::child::PATIENCE;
use crate::producer::{PAYLOAD_BYTES, number_of};

/// Each of the records has left one output, with its key; those of a key are in the order of the records.
pub(super) async fn once_and_in_order(kafka: &str, topic: &str, records: u64) -> anyhow::Result<()> {
    let (kafka, topic) = (kafka.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || check(&kafka, &topic, records)).await?
}

fn check(kafka: &str, topic: &str, records: u64) -> anyhow::Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("group.id", topic)
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(topic, partition, Offset::Offset(0))?;
    }
    consumer.assign(&partitions)?;
    let mut seen = Seen::default();
    let mut ended = HashSet::new();
    let deadline = Instant::now() + PATIENCE;
    while ended.len() < PARTITIONS as usize {
        ensure!(Instant::now() < deadline, "its outputs could not be read to their end");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => seen.one(&message)?,
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
    }
    ensure!(seen.numbers.len() as u64 == records, "{} of {records} have an output", seen.numbers.len());
    Ok(())
}

#[derive(Default)]
struct Seen {
    numbers: HashSet<u64>,
    /// The last of each key.
    last: HashMap<Vec<u8>, u64>,
}

impl Seen {
    fn one(&mut self, message: &BorrowedMessage<'_>) -> anyhow::Result<()> {
        let payload = message.payload().context("an output without a payload")?;
        let number = number_of(payload).context("an output without its number")?;
        let rest = &payload[payload.len().min(20)..];
        ensure!(
            payload.len() == PAYLOAD_BYTES && rest.iter().all(u8::is_ascii_uppercase),
            "{number} is not changed"
        );
        ensure!(self.numbers.insert(number), "{number} is there twice");
        let key = message.key().context("an output without its key")?;
        match self.last.insert(key.to_vec(), number) {
            Some(last) if last > number => bail!("{number} stands behind {last}"),
            Some(_) | None => Ok(()),
        }
    }
}
