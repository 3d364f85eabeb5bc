//! The reader: what is committed in a topic, as soon as it is there.
//!
//! It has a thread of its own, which ends when it has seen enough, or is not waited for any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::oneshot;

use crate::child::PATIENCE;

/// A reader at work.
pub(crate) struct Watch<T> {
    outcome: oneshot::Receiver<anyhow::Result<T>>,
    /// Nobody waits for it.
    over: Arc<AtomicBool>,
}

impl<T: Send + 'static> Watch<T> {
    /// Shows each record of a topic to `see`, from the first on, until that has an answer.
    pub(crate) fn start(
        kafka: &str,
        topic: &str,
        partitions: i32,
        see: impl FnMut(&BorrowedMessage<'_>) -> Option<T> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", kafka)
            .set("group.id", topic)
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "10")
            .create()?;
        let mut all = TopicPartitionList::new();
        for partition in 0..partitions {
            all.add_partition_offset(topic, partition, Offset::Offset(0))?;
        }
        consumer.assign(&all)?;
        let over = Arc::new(AtomicBool::new(false));
        let (answer, outcome) = oneshot::channel();
        let told = Arc::clone(&over);
        std::thread::spawn(move || {
            // Whoever asked may be gone.
            drop(answer.send(read(&consumer, see, &told)));
        });
        Ok(Watch { outcome, over })
    }

    /// The answer.
    pub(crate) async fn outcome(mut self) -> anyhow::Result<T> {
        (&mut self.outcome).await.context("the reader is gone")?
    }
}

impl<T> Drop for Watch<T> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn read<T>(
    consumer: &BaseConsumer,
    mut see: impl FnMut(&BorrowedMessage<'_>) -> Option<T>,
    over: &AtomicBool,
) -> anyhow::Result<T> {
    let mut deadline = Instant::now() + PATIENCE;
    let (mut seen, mut trouble): (u64, Option<KafkaError>) = (0, None);
    while !over.load(Ordering::Relaxed) && Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                seen += 1;
                deadline = Instant::now() + PATIENCE;
                if let Some(answer) = see(&message) {
                    return Ok(answer);
                }
            }
            // It tries again by itself, as while a topic is quite new.
            Some(Err(error)) => trouble = Some(error),
            None => {}
        }
    }
    let trouble = trouble.map_or_else(String::new, |error| format!("; the last trouble was: {error}"));
    anyhow::bail!("after {seen} records no more came in {PATIENCE:?}{trouble}")
}
