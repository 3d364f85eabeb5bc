//! What a record's duplicates are known by.

use std::borrow::Cow;
use std::io::Write as _;

use serde_json::Value;

use super::super::message_id::InboxId;
use super::super::work::Work;
use crate::listener::spec::IdSource;
use crate::record::Record;

/// The id, where the record has one.
pub(super) fn of(work: &Work, source: IdSource, record: &Record) -> Option<InboxId> {
    match source {
        IdSource::MessageId => InboxId::new(work.delivery(record, 1).message_id()?),
        IdSource::Position => InboxId::new(&position(record)),
        IdSource::Key => InboxId::new(record.key()?),
        IdSource::Header(name) => InboxId::new(record.header(name)?),
        IdSource::Field(path) => InboxId::new(field(record.payload()?, path)?.as_bytes()),
    }
}

/// Partition, offset and time: in a topic that was made anew the offsets begin again, and the times do not.
fn position(record: &Record) -> Vec<u8> {
    let mut position = Vec::with_capacity(32);
    // Writing to memory cannot fail.
    write!(position, "{}-{}-{}", record.partition(), record.offset(), record.timestamp_ms()).ok();
    position
}

/// A text, a number or a truth value of a JSON payload; its handler says what is wrong with any other payload.
fn field(payload: &[u8], path: &str) -> Option<String> {
    let whole: Value = serde_json::from_slice(payload).ok()?;
    let value = path.split('.').try_fold(&whole, |value, name| value.get(name))?;
    Some(
        match value {
            Value::String(text) => Cow::Borrowed(text.as_str()),
            Value::Number(number) => Cow::Owned(number.to_string()),
            Value::Bool(flag) => Cow::Borrowed(if *flag { "true" } else { "false" }),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        }
        .into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_path_and_has_to_be_a_value() {
        let payload = br#"{"order": {"id": 7, "lines": [1]}, "name": "Ada", "gone": null}"#;
        assert_eq!(field(payload, "order.id").as_deref(), Some("7"));
        assert_eq!(field(payload, "name").as_deref(), Some("Ada"));
        for absent in ["order", "order.lines", "gone", "order.id.more", "other"] {
            assert_eq!(field(payload, absent), None, "{absent}");
        }
        assert_eq!(field(b"no json", "name"), None);
    }
}
