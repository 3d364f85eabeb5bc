//! What a broker delivered: bytes, headers and where they came from, copied once and then only shared.
//!
//! A [`Record`] owns one buffer that holds its key, payload and headers; everything a handler takes out of it is
//! a view into that buffer. Nothing here names a broker's type, so that another log can become a source without
//! touching a handler.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

/// One record, as it was delivered: key, payload and headers byte for byte.
///
/// Take it as `&Record` in a listener when the typed extractors are not enough.
///
/// ```
/// use eos_runtime::Record;
///
/// let record = Record::builder("event.order").key("42").payload(r#"{"n":1}"#).header("message-id", "a").build();
/// assert_eq!(record.key(), Some(&b"42"[..]));
/// assert_eq!(record.header("message-id"), Some(&b"a"[..]));
/// ```
#[derive(Clone)]
pub struct Record {
    topic: Arc<str>,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    buffer: Bytes,
    key: Option<Range<u32>>,
    payload: Option<Range<u32>>,
    headers: Box<[HeaderAt]>,
}

/// Where one header's name and value lie in the record's buffer.
#[derive(Clone)]
struct HeaderAt {
    name: Range<u32>,
    value: Option<Range<u32>>,
}

impl Record {
    /// Starts a record of `topic`, for tests and for sources.
    pub fn builder(topic: impl Into<Arc<str>>) -> RecordBuilder {
        RecordBuilder::new(topic.into())
    }

    /// The topic, queue or subject it was read from.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The key's bytes, or `None` where the producer set none.
    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_ref().map(|range| self.slice(range))
    }

    /// The payload's bytes; `None` is a tombstone, which is not the same as an empty payload.
    pub fn payload(&self) -> Option<&[u8]> {
        self.payload.as_ref().map(|range| self.slice(range))
    }

    /// The payload as a shared view of the record's buffer; cloning it copies nothing.
    pub fn payload_bytes(&self) -> Option<Bytes> {
        self.payload.as_ref().map(|range| self.share(range))
    }

    /// The last header of that name (Kafka allows several; the last one written wins, as in Spring).
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .rev()
            .find(|at| self.slice(&at.name) == name.as_bytes())
            .and_then(|at| at.value.as_ref().map(|range| self.slice(range)))
    }

    /// All headers in the order in which they were written.
    pub fn headers(&self) -> Headers {
        Headers {
            entries: self
                .headers
                .iter()
                .map(|at| (self.share(&at.name), at.value.as_ref().map(|range| self.share(range))))
                .collect(),
        }
    }

    /// When the record was written, by the producer's or the broker's clock; `None` where it carries no time.
    pub fn timestamp(&self) -> Option<SystemTime> {
        u64::try_from(self.timestamp_ms).ok().map(|ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms))
    }

    pub(crate) fn topic_shared(&self) -> &Arc<str> {
        &self.topic
    }

    pub(crate) fn partition(&self) -> i32 {
        self.partition
    }

    pub(crate) fn offset(&self) -> i64 {
        self.offset
    }

    /// Gives a record that was built without one its offset.
    pub(crate) fn set_offset(&mut self, offset: i64) {
        self.offset = offset;
    }

    pub(crate) fn timestamp_ms(&self) -> i64 {
        self.timestamp_ms
    }

    /// A checksum of key and payload, kept with the position so that another log under the same name is noticed.
    pub(crate) fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.key().unwrap_or_default());
        hasher.update(&[u8::from(self.key.is_some()), u8::from(self.payload.is_some())]);
        hasher.update(self.payload().unwrap_or_default());
        hasher.finalize()
    }

    fn slice(&self, range: &Range<u32>) -> &[u8] {
        &self.buffer[range.start as usize..range.end as usize]
    }

    fn share(&self, range: &Range<u32>) -> Bytes {
        self.buffer.slice(range.start as usize..range.end as usize)
    }
}

impl fmt::Debug for Record {
    /// Names the record without showing what is in it: payloads are the user's business, not a log's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .field("key_len", &self.key().map(<[u8]>::len))
            .field("payload_len", &self.payload().map(<[u8]>::len))
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

/// Puts a [`Record`] together in one buffer.
#[derive(Debug)]
pub struct RecordBuilder {
    topic: Arc<str>,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    buffer: Vec<u8>,
    key: Option<Range<u32>>,
    payload: Option<Range<u32>>,
    headers: Vec<HeaderAt>,
}

impl fmt::Debug for HeaderAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}={:?}", self.name, self.value)
    }
}

impl RecordBuilder {
    fn new(topic: Arc<str>) -> Self {
        RecordBuilder {
            topic,
            partition: 0,
            offset: -1,
            timestamp_ms: -1,
            buffer: Vec::new(),
            key: None,
            payload: None,
            headers: Vec::new(),
        }
    }

    /// Makes room for the whole record at once, so that building it allocates once.
    #[must_use]
    pub fn reserve(mut self, bytes: usize, headers: usize) -> Self {
        self.buffer.reserve_exact(bytes);
        self.headers.reserve_exact(headers);
        self
    }

    /// The key's bytes.
    #[must_use]
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.key = Some(self.append(key.as_ref()));
        self
    }

    /// The payload's bytes; a record without is a tombstone.
    #[must_use]
    pub fn payload(mut self, payload: impl AsRef<[u8]>) -> Self {
        self.payload = Some(self.append(payload.as_ref()));
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.push_header(name.as_ref().as_bytes(), Some(value.as_ref()));
        self
    }

    /// Adds a header whose value may be null, as Kafka allows.
    pub(crate) fn push_header(&mut self, name: &[u8], value: Option<&[u8]>) {
        let name = self.append(name);
        let value = value.map(|bytes| self.append(bytes));
        self.headers.push(HeaderAt { name, value });
    }

    /// The partition and offset that it pretends to have been read from; partition 0 and the next offset unless said.
    #[must_use]
    pub fn at(mut self, partition: i32, offset: i64) -> Self {
        self.partition = partition;
        self.offset = offset;
        self
    }

    /// Milliseconds since 1970; negative means that the record carries no time.
    #[must_use]
    pub fn timestamp_ms(mut self, milliseconds: i64) -> Self {
        self.timestamp_ms = milliseconds;
        self
    }

    /// The record.
    pub fn build(self) -> Record {
        Record {
            topic: self.topic,
            partition: self.partition,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            buffer: Bytes::from(self.buffer),
            key: self.key,
            payload: self.payload,
            headers: self.headers.into_boxed_slice(),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Range<u32> {
        let start = self.buffer.len() as u32;
        self.buffer.extend_from_slice(bytes);
        start..self.buffer.len() as u32
    }
}

/// A record's headers, in order, as they were written: names may repeat, values may be null or any bytes.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    entries: Vec<(Bytes, Option<Bytes>)>,
}

impl Headers {
    /// The last header of that name; `None` when there is none or its value is null.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.entries
            .iter()
            .rev()
            .find(|(key, _)| key == name.as_bytes())
            .and_then(|(_, value)| value.as_deref())
    }

    /// The last header of that name as text; `None` also when it is not UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Every header, name and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.entries.iter().map(|(name, value)| (&name[..], value.as_deref()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_is_not_an_empty_payload() {
        assert_eq!(Record::builder("t").build().payload(), None);
        assert_eq!(Record::builder("t").payload("").build().payload(), Some(&b""[..]));
        assert_ne!(
            Record::builder("t").build().checksum(),
            Record::builder("t").payload("").build().checksum()
        );
    }

    #[test]
    fn the_last_header_of_a_name_wins_and_any_bytes_pass() {
        let record = Record::builder("t").header("a", [0xff]).header("a", [0xfe, 0x00]).build();
        assert_eq!(record.header("a"), Some(&[0xfe, 0x00][..]));
        assert_eq!(record.headers().len(), 2);
    }
}
