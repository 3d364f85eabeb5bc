//! A message of librdkafka's becomes a [`Record`](crate::record::Record): copied once, and its memory is free again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::Message;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Header, Headers};

use crate::record::Copies;

/// Copies a message; says what the record weighs in memory.
pub(super) fn copy(message: &BorrowedMessage<'_>, copies: &mut Copies) -> usize {
    let headers = message.headers();
    let count = headers.map_or(0, Headers::count);
    let headers = (0..count).filter_map(|index| header(headers?, index));
    copies.add(
        message.offset(),
        message.timestamp().to_millis().unwrap_or(-1),
        message.key(),
        message.payload(),
        headers.map(|header| (header.key.as_bytes(), header.value)),
    )
}

/// One header. rdkafka panics where a header's *name* is not UTF-8; such a header is left out, since one producer's
/// slip must not stop a partition, and the record's other parts are unharmed.
fn header(headers: &BorrowedHeaders, index: usize) -> Option<Header<'_, &[u8]>> {
    catch_unwind(AssertUnwindSafe(|| headers.try_get(index))).ok().flatten()
}
