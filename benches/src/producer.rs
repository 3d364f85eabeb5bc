//! Fills topics before anything is measured.

use std::time::Duration;

use anyhow::{Context as _, bail};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use uuid::Uuid;

/// How large a record's payload is.
pub(crate) const PAYLOAD_BYTES: usize = 200;

/// Appends orders to a topic, the same number to each of its partitions, each with an id of its own.
pub(crate) async fn orders(kafka: &str, topic: &str, partitions: i32, count: u64) -> anyhow::Result<()> {
    fill(kafka, topic, partitions, count, Contents::Orders).await
}

/// Appends records that mean nothing; the first byte is the partition.
pub(crate) async fn blanks(kafka: &str, topic: &str, partitions: i32, count: u64) -> anyhow::Result<()> {
    fill(kafka, topic, partitions, count, Contents::Blanks).await
}

/// Appends records that are numbered, under so many keys; a key is always in the same partition.
pub(crate) async fn numbered(kafka: &str, topic: &str, partitions: i32, count: u64) -> anyhow::Result<()> {
    fill(kafka, topic, partitions, count, Contents::Numbered).await
}

/// How many keys numbered records have.
const KEYS: u64 = 1_000;
const DIGITS: usize = 12;

#[derive(Debug, Clone, Copy)]
enum Contents {
    Orders,
    Blanks,
    Numbered,
}

async fn fill(
    kafka: &str,
    topic: &str,
    partitions: i32,
    count: u64,
    contents: Contents,
) -> anyhow::Result<()> {
    let (kafka, topic) = (kafka.to_owned(), topic.to_owned());
    // librdkafka's queue is full most of the time, so this blocks.
    tokio::task::spawn_blocking(move || fill_blocking(&kafka, &topic, partitions, count, contents)).await?
}

fn fill_blocking(
    kafka: &str,
    topic: &str,
    partitions: i32,
    count: u64,
    contents: Contents,
) -> anyhow::Result<()> {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("enable.idempotence", "true")
        .set("linger.ms", "20")
        .create()?;
    for (number, partition) in (0..count).zip((0..partitions).cycle()) {
        let (key, payload, headers) = match contents {
            Contents::Orders => (None, order(number).into_bytes(), Some(message_id())),
            Contents::Blanks => (None, blank(partition), None),
            Contents::Numbered => (Some(format!("customer-{}", number % KEYS)), with_number(number), None),
        };
        let mut record = BaseRecord::<str, [u8]>::to(topic).partition(partition).payload(&payload);
        (record.key, record.headers) = (key.as_deref(), headers);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    record = again;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => bail!("could not produce to `{topic}`: {error}"),
            }
        }
    }
    producer.flush(Duration::from_secs(60)).context("Kafka did not take all records")
}

fn blank(partition: i32) -> Vec<u8> {
    let mut blank = vec![0; PAYLOAD_BYTES];
    blank[0] = partition as u8;
    blank
}

/// A number's digits, and then what is only long.
fn with_number(number: u64) -> Vec<u8> {
    let mut text = format!("{number:0DIGITS$} ").into_bytes();
    text.extend((b'a'..=b'z').cycle().take(PAYLOAD_BYTES - text.len()));
    text
}

/// The number that a payload of [`numbered`] begins with.
pub(crate) fn number_of(payload: &[u8]) -> Option<u64> {
    std::str::from_utf8(payload.get(..DIGITS)?).ok()?.parse().ok()
}

fn message_id() -> OwnedHeaders {
    let id = Uuid::new_v4().to_string();
    OwnedHeaders::new().insert(Header { key: "message-id", value: Some(&id) })
}

/// An order as JSON, with more in it than a listener wants.
fn order(number: u64) -> String {
    let mut order = format!(
        r#"{{"order_id":"{}","customer":"customer-{:06}","amount_cents":{},"currency":"EUR","placed_at":"2025-01-02T03:04:05Z","note":""#,
        Uuid::new_v4(),
        number % 100_000,
        100 + number % 90_000,
    );
    let end = r#""}"#;
    while order.len() + end.len() < PAYLOAD_BYTES {
        order.push('.');
    }
    order + end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_json_of_the_size_that_is_promised() {
        let order = order(4_711);
        assert_eq!(order.len(), PAYLOAD_BYTES);
        let parsed: crate::orders::OrderPlaced = serde_json::from_str(&order).expect("JSON");
        assert_eq!((parsed.customer.as_str(), parsed.amount_cents), ("customer-004711", 4_811));
    }
}
