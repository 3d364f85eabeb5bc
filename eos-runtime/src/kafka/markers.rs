//! The last marker of a lane: which entries its last Kafka transaction published.
//!
//! Each transaction of a lane ends with a marker in the lane's own partition of a compacted topic. Whoever takes the lane
//! reads the last one that was committed, from the end backwards, since compaction comes late: a partition may hold
//! thousands of them.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{Message as _, Offset, TopicPartitionList};

use super::client::ClientOptions;
use super::context::Quiet;

/// How long reading may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a partition may be without a leader.
const LEADERLESS: Duration = Duration::from_secs(5);
/// How many offsets before the end are looked at first: a transaction takes two, its marker and Kafka's own.
const FIRST_LOOK: i64 = 16;

/// Reads a lane's last marker; `None` where there is none. Whoever calls has fenced all earlier producers of the lane,
/// so that nothing is open any more in its partition.
///
/// # Errors
/// Why it cannot be read.
pub(crate) async fn last_marker(
    client: &ClientOptions,
    topic: &str,
    partition: i32,
) -> Result<Option<Vec<u8>>, String> {
    let (client, topic) = (client.clone(), topic.to_owned());
    let reading = tokio::task::spawn_blocking(move || read(&client, &topic, partition));
    reading.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

fn read(client: &ClientOptions, topic: &str, partition: i32) -> Result<Option<Vec<u8>>, KafkaError> {
    let mut config = client.plain();
    config
        .set("group.id", "eos.markers") // librdkafka wants one; nothing is committed
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "10");
    let consumer: Asker = config.create_with_context(Quiet)?;
    let (low, high) = watermarks(&consumer, topic, partition)?;
    let mut look = FIRST_LOOK;
    loop {
        let from = (high - look).max(low);
        if let Some(found) = last_from(&consumer, topic, partition, from)? {
            return Ok(Some(found));
        }
        if from == low {
            return Ok(None);
        }
        look *= 16;
    }
}

type Asker = BaseConsumer<Quiet>;

/// Where the partition begins and ends. One that was just made is not led by anybody for a moment.
fn watermarks(consumer: &Asker, topic: &str, partition: i32) -> Result<(i64, i64), KafkaError> {
    let began = Instant::now();
    loop {
        match consumer.fetch_watermarks(topic, partition, PATIENCE) {
            Err(_) if began.elapsed() < LEADERLESS => std::thread::sleep(Duration::from_millis(50)),
            answer => return answer,
        }
    }
}

/// The last committed record from an offset to the end.
fn last_from(
    consumer: &Asker,
    topic: &str,
    partition: i32,
    from: i64,
) -> Result<Option<Vec<u8>>, KafkaError> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(from))?;
    consumer.assign(&list)?;
    let (mut last, began) = (None, Instant::now());
    loop {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => last = message.payload().map(<[u8]>::to_vec),
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(last),
            Some(Err(error)) => return Err(error),
            None if began.elapsed() > PATIENCE => {
                return Err(KafkaError::MessageConsumption(
                    rdkafka::types::RDKafkaErrorCode::OperationTimedOut,
                ));
            }
            None => {}
        }
    }
}
