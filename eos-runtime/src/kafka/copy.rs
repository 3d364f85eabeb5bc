//! A message of librdkafka's becomes a [`Record`]: copied once, into one buffer, and librdkafka's memory is free again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rdkafka::Message;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Header, Headers};

use crate::record::Record;

/// What a record weighs beside its bytes: the struct, its place in the allocator.
const OVERHEAD: usize = size_of::<Record>() + 32;

/// The record, and its weight in memory.
pub(super) fn copy(message: &BorrowedMessage<'_>, topic: &Arc<str>) -> (Record, usize) {
    let (key, payload) = (message.key(), message.payload());
    let bytes = key.map_or(0, <[u8]>::len) + payload.map_or(0, <[u8]>::len);
    let mut record = Record::builder(Arc::clone(topic))
        .at(message.partition(), message.offset())
        .timestamp_ms(message.timestamp().to_millis().unwrap_or(-1));
    let Some(headers) = message.headers() else {
        record = fill(record.reserve(bytes, 0), key, payload);
        return (record.build(), bytes + OVERHEAD);
    };
    let count = headers.count();
    let size =
        (0..count).filter_map(|index| header(headers, index)).map(|header| size(&header)).sum::<usize>();
    record = fill(record.reserve(bytes + size, count), key, payload);
    for header in (0..count).filter_map(|index| header(headers, index)) {
        record.push_header(header.key.as_bytes(), header.value);
    }
    (record.build(), bytes + size + count * 24 + OVERHEAD)
}

fn fill(
    mut record: crate::record::RecordBuilder,
    key: Option<&[u8]>,
    payload: Option<&[u8]>,
) -> crate::record::RecordBuilder {
    if let Some(key) = key {
        record = record.key(key);
    }
    if let Some(payload) = payload {
        record = record.payload(payload);
    }
    record
}

fn size(header: &Header<'_, &[u8]>) -> usize {
    header.key.len() + header.value.map_or(0, <[u8]>::len)
}

/// One header. rdkafka panics where a header's *name* is not UTF-8; such a header is left out, since one producer's
/// slip must not stop a partition, and the record's other parts are unharmed.
fn header(headers: &BorrowedHeaders, index: usize) -> Option<Header<'_, &[u8]>> {
    catch_unwind(AssertUnwindSafe(|| headers.try_get(index))).ok().flatten()
}
