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

#[derive(Debug, Clone, Copy)]
enum Contents {
    Orders,
    Blanks,
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
        let (payload, headers) = match contents {
            Contents::Orders => (order(number).into_bytes(), Some(message_id())),
            Contents::Blanks => (blank(partition), None),
        };
        let mut record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(&payload);
        record.headers = headers;
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
