//! What a broker delivered: bytes, headers and where they came from, copied once and then only shared.
//!
//! A [`Record`] is a view into a block of bytes that it shares with a few neighbours of its partition: small records
//! that arrive together are copied into one buffer, so that a record costs no allocation of its own. Everything a
//! handler takes out of it is a view too. Nothing here names a broker's type, so that another log can become a source
//! without touching a handler.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

/// The header that duplicates share.
pub(crate) const MESSAGE_ID: &str = "message-id";

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
    block: Arc<Block>,
    at: At,
}

/// What a few records of a partition share.
struct Block {
    topic: Arc<str>,
    partition: i32,
    buffer: Bytes,
    headers: Box<[HeaderAt]>,
}

/// What is a record's own: numbers, and where its parts lie in the block.
#[derive(Clone)]
struct At {
    offset: i64,
    timestamp_ms: i64,
    key: Option<Range<u32>>,
    payload: Option<Range<u32>>,
    headers: Range<u32>,
}

/// Where one header's name and value lie in the buffer.
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
        &self.block.topic
    }

    /// The key's bytes, or `None` where the producer set none.
    pub fn key(&self) -> Option<&[u8]> {
        self.at.key.as_ref().map(|range| self.slice(range))
    }

    /// The payload's bytes; `None` is a tombstone, which is not the same as an empty payload.
    pub fn payload(&self) -> Option<&[u8]> {
        self.at.payload.as_ref().map(|range| self.slice(range))
    }

    /// The payload as a shared view of the record's buffer; cloning it copies nothing.
    pub fn payload_bytes(&self) -> Option<Bytes> {
        self.at.payload.as_ref().map(|range| self.share(range))
    }

    /// The last header of that name (Kafka allows several; the last one written wins, as in Spring).
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.header_list()
            .iter()
            .rev()
            .find(|at| self.slice(&at.name) == name.as_bytes())
            .and_then(|at| at.value.as_ref().map(|range| self.slice(range)))
    }

    /// All headers in the order in which they were written.
    pub fn headers(&self) -> Headers {
        Headers {
            entries: self
                .header_list()
                .iter()
                .map(|at| (self.share(&at.name), at.value.as_ref().map(|range| self.share(range))))
                .collect(),
        }
    }

    /// When the record was written, by the producer's or the broker's clock; `None` where it carries no time.
    pub fn timestamp(&self) -> Option<SystemTime> {
        u64::try_from(self.at.timestamp_ms).ok().map(|ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms))
    }

    /// A record as it was kept somewhere: at a partition and offset, with key and payload.
    pub(crate) fn of_parts(
        topic: &Arc<str>,
        (partition, offset): (i32, i64),
        timestamp_ms: Option<i64>,
        (key, payload): (Option<&[u8]>, Option<&[u8]>),
        headers: &Headers,
    ) -> Self {
        let mut copies = Copies::new(Arc::clone(topic), partition);
        copies.add(offset, timestamp_ms.unwrap_or(-1), key, payload, headers.iter());
        let (block, mut at) = copies.seal();
        Record { block, at: at.remove(0) }
    }

    pub(crate) fn topic_shared(&self) -> &Arc<str> {
        &self.block.topic
    }

    pub(crate) fn partition(&self) -> i32 {
        self.block.partition
    }

    pub(crate) fn offset(&self) -> i64 {
        self.at.offset
    }

    /// Gives a record that was built without one its offset.
    pub(crate) fn set_offset(&mut self, offset: i64) {
        self.at.offset = offset;
    }

    pub(crate) fn timestamp_ms(&self) -> i64 {
        self.at.timestamp_ms
    }

    /// A checksum of key and payload, kept with the position so that another log under the same name is noticed.
    pub(crate) fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.key().unwrap_or_default());
        hasher.update(&[u8::from(self.at.key.is_some()), u8::from(self.at.payload.is_some())]);
        hasher.update(self.payload().unwrap_or_default());
        hasher.finalize()
    }

    fn slice(&self, range: &Range<u32>) -> &[u8] {
        &self.block.buffer[range.start as usize..range.end as usize]
    }

    fn share(&self, range: &Range<u32>) -> Bytes {
        self.block.buffer.slice(range.start as usize..range.end as usize)
    }

    fn header_list(&self) -> &[HeaderAt] {
        &self.block.headers[self.at.headers.start as usize..self.at.headers.end as usize]
    }
}

impl fmt::Debug for Record {
    /// Names the record without showing what is in it: payloads are the user's business, not a log's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("topic", &self.block.topic)
            .field("partition", &self.block.partition)
            .field("offset", &self.at.offset)
            .field("key_len", &self.key().map(<[u8]>::len))
            .field("payload_len", &self.payload().map(<[u8]>::len))
            .field("headers", &self.header_list().len())
            .finish_non_exhaustive()
    }
}

/// Puts a [`Record`] together, for tests.
#[derive(Debug)]
pub struct RecordBuilder {
    copies: Copies,
    offset: i64,
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

impl RecordBuilder {
    fn new(topic: Arc<str>) -> Self {
        RecordBuilder {
            copies: Copies::new(topic, 0),
            offset: -1,
            timestamp_ms: -1,
            key: None,
            payload: None,
            headers: Vec::new(),
        }
    }

    /// The key's bytes.
    #[must_use]
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.key = Some(key.as_ref().to_vec());
        self
    }

    /// The payload's bytes; a record without is a tombstone.
    #[must_use]
    pub fn payload(mut self, payload: impl AsRef<[u8]>) -> Self {
        self.payload = Some(payload.as_ref().to_vec());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_owned(), value.as_ref().to_vec()));
        self
    }

    /// The partition and offset that it pretends to have been read from.
    #[must_use]
    pub fn at(mut self, partition: i32, offset: i64) -> Self {
        self.copies.partition = partition;
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
    pub fn build(mut self) -> Record {
        let headers = self.headers.iter().map(|(name, value)| (name.as_bytes(), Some(&value[..])));
        self.copies.add(
            self.offset,
            self.timestamp_ms,
            self.key.as_deref(),
            self.payload.as_deref(),
            headers,
        );
        let (block, at) = self.copies.seal();
        let at = at.into_iter().next().unwrap_or_else(|| unreachable!("one was added"));
        Record { block, at }
    }
}

/// Copies what a source delivers into blocks, in order.
#[derive(Debug)]
pub(crate) struct Copies {
    topic: Arc<str>,
    partition: i32,
    buffer: Vec<u8>,
    headers: Vec<HeaderAt>,
    at: Vec<At>,
}

/// Records are put into one block until it holds so many bytes: whoever keeps a payload keeps its block.
const BLOCK: usize = 16 * 1024;

impl Copies {
    pub(crate) fn new(topic: Arc<str>, partition: i32) -> Self {
        Copies { topic, partition, buffer: Vec::new(), headers: Vec::new(), at: Vec::new() }
    }

    /// Copies a record; says what it weighs in memory.
    pub(crate) fn add<'a>(
        &mut self,
        offset: i64,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> usize {
        let (bytes, first) = (self.buffer.len(), self.headers.len());
        let key = key.map(|key| self.append(key));
        let payload = payload.map(|payload| self.append(payload));
        for (name, value) in headers {
            let name = self.append(name);
            let value = value.map(|value| self.append(value));
            self.headers.push(HeaderAt { name, value });
        }
        self.at.push(At {
            offset,
            timestamp_ms,
            key,
            payload,
            headers: first as u32..self.headers.len() as u32,
        });
        self.buffer.len() - bytes + (self.headers.len() - first) * size_of::<HeaderAt>() + size_of::<Record>()
    }

    /// Whether the block should be closed before another record is added.
    pub(crate) fn is_full(&self) -> bool {
        self.buffer.len() >= BLOCK
    }

    /// Closes the block and appends its records.
    pub(crate) fn close_into(&mut self, records: &mut Vec<Record>) {
        if self.at.is_empty() {
            return;
        }
        let room = if self.is_full() { (BLOCK + BLOCK / 8, self.at.len()) } else { (0, 0) };
        let next = Copies {
            topic: Arc::clone(&self.topic),
            partition: self.partition,
            // The next one will be as large, when many records arrive; a lone record gets no more than it needs.
            buffer: Vec::with_capacity(room.0),
            headers: Vec::new(),
            at: Vec::with_capacity(room.1),
        };
        let (block, at) = std::mem::replace(self, next).seal();
        records.extend(at.into_iter().map(|at| Record { block: Arc::clone(&block), at }));
    }

    fn seal(self) -> (Arc<Block>, Vec<At>) {
        let block = Block {
            topic: self.topic,
            partition: self.partition,
            buffer: Bytes::from(self.buffer),
            headers: self.headers.into_boxed_slice(),
        };
        (Arc::new(block), self.at)
    }

    fn append(&mut self, bytes: &[u8]) -> Range<u32> {
        let start = self.buffer.len() as u32;
        self.buffer.extend_from_slice(bytes);
        start..self.buffer.len() as u32
    }
}

impl fmt::Debug for HeaderAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}={:?}", self.name, self.value)
    }
}

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.offset)
    }
}

/// A record's headers, in order, as they were written: names may repeat, values may be null or any bytes.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    entries: Vec<(Bytes, Option<Bytes>)>,
}

impl Headers {
    /// These, in this order.
    pub(crate) fn of_entries(entries: Vec<(Bytes, Option<Bytes>)>) -> Self {
        Headers { entries }
    }

    /// Takes them apart.
    pub(crate) fn into_entries(self) -> Vec<(Bytes, Option<Bytes>)> {
        self.entries
    }

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

impl<N: Into<Bytes>, V: Into<Bytes>> FromIterator<(N, V)> for Headers {
    /// In this order, as they are.
    ///
    /// ```
    /// let headers: eos_runtime::Headers = [("tenant", "acme"), ("source", "shop")].into_iter().collect();
    /// assert_eq!(headers.get_str("source"), Some("shop"));
    /// ```
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        Headers {
            entries: headers.into_iter().map(|(name, value)| (name.into(), Some(value.into()))).collect(),
        }
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

    #[test]
    fn records_that_arrive_together_share_a_block_and_stay_apart() {
        let mut copies = Copies::new(Arc::from("t"), 3);
        let header: [(&[u8], Option<&[u8]>); 1] = [(b"id", None)];
        copies.add(7, 70, Some(b"a"), None, header.into_iter());
        copies.add(9, 90, None, Some(b"payload"), [].into_iter());
        let mut records = Vec::new();
        copies.close_into(&mut records);
        copies.close_into(&mut records);
        assert_eq!(records.iter().map(Record::offset).collect::<Vec<_>>(), [7, 9]);
        assert_eq!((records[0].key(), records[0].payload()), (Some(&b"a"[..]), None));
        assert_eq!((records[1].key(), records[1].payload()), (None, Some(&b"payload"[..])));
        assert_eq!((records[0].headers().len(), records[1].headers().len()), (1, 0));
        assert_eq!(records[1].partition(), 3);
        let kept = records[1].payload_bytes();
        drop(records);
        assert_eq!(kept.as_deref(), Some(&b"payload"[..]));
    }
}
