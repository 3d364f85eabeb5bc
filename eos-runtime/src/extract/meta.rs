//! What is known about a record besides its content: its id, and where it was read.

use std::sync::Arc;
use std::time::SystemTime;

use super::{Delivery, FromRecord, FromRecordOptional, Rejection};

/// The id that duplicates share: the first present of the headers of `[inbox] id_headers`
/// (`message-id`, `ce_id` unless set). Any bytes; text where it is UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageId(Box<[u8]>);

impl MessageId {
    /// The id's bytes as the producer wrote them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The id as text, where it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl FromRecord for MessageId {
    fn from_record(delivery: &Delivery<'_>) -> Result<Self, Rejection> {
        Self::from_record_optional(delivery)?.ok_or_else(|| {
            Rejection::poison(
                "the record carries no message id; take `Option<MessageId>`, or set `[inbox] id_headers`",
            )
        })
    }
}

impl FromRecordOptional for MessageId {
    fn from_record_optional(delivery: &Delivery<'_>) -> Result<Option<Self>, Rejection> {
        Ok(delivery.message_id().map(|bytes| MessageId(bytes.into())))
    }
}

/// Where in Kafka a record was read, and which try this is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordMeta {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset within the partition.
    pub offset: i64,
    /// When it was written, where it says so.
    pub timestamp: Option<SystemTime>,
    /// Which try at this record this is, counted from 1.
    pub attempt: u32,
}

impl FromRecord for RecordMeta {
    fn from_record(delivery: &Delivery<'_>) -> Result<Self, Rejection> {
        let record = delivery.record;
        Ok(RecordMeta {
            topic: Arc::clone(record.topic_shared()),
            partition: record.partition(),
            offset: record.offset(),
            timestamp: record.timestamp(),
            attempt: delivery.attempt,
        })
    }
}
