//! One event as the table holds it.

use std::borrow::Cow;

use bytes::Bytes;
use uuid::Uuid;

use crate::store::hex;

/// An event on its way into the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Becomes the record's header `message-id`.
    pub(crate) id: Uuid,
    /// Where it goes; placeholders are replaced already.
    pub(crate) topic: String,
    pub(crate) key: Option<Bytes>,
    /// Becomes the record's header `type`; empty where it has none.
    pub(crate) type_name: Cow<'static, str>,
    /// `None` is a tombstone.
    pub(crate) payload: Option<Bytes>,
    /// As [`write_headers`](super::write_headers) writes them; `None` where there are none.
    pub(crate) headers: Option<String>,
}

impl Entry {
    /// The key as the column `aggregateid` has it: text. One that no text can hold is written in hex there, and in its
    /// bytes beside it (see [`Entry::binary_key`]).
    pub(crate) fn aggregate_id(&self) -> Option<Cow<'_, str>> {
        self.key.as_deref().map(|key| match text(key) {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(format!("\\x{}", hex(key))),
        })
    }

    /// The key's bytes, where it is no text.
    pub(crate) fn binary_key(&self) -> Option<&[u8]> {
        self.key.as_deref().filter(|key| text(key).is_none())
    }
}

/// What every database can hold as text of a key column.
fn text(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key).ok().filter(|text| !text.contains('\0') && text.len() <= LONGEST_TEXT_KEY)
}

/// The longest that MySQL can index and hash as text with ease; a longer key is kept in bytes.
const LONGEST_TEXT_KEY: usize = 255;

/// Entries as one INSERT with a list of values, where a database has no `unnest`. Each number of rows is a statement of its
/// own; the usual ones stay prepared. A macro, since sqlx's traits cannot be named for several databases at once.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
macro_rules! insert_by_values {
    ($database:ty, $key:literal, $tx:expr, $schema:expr, $entries:expr) => {{
        /// In one statement; SQLite takes 32,766 values, MySQL twice as many.
        const ROWS_AT_MOST: usize = 1000;
        /// Up to so many rows the statement stays prepared.
        const REMEMBERED: usize = 16;

        for entries in $entries.chunks(ROWS_AT_MOST) {
            let columns =
                concat!("(id, topic, aggregatetype, aggregateid, ", $key, ", type, payload, headers) ");
            let begin = format!("insert into {}eos_outbox {columns}", $schema);
            let mut insert = sqlx::QueryBuilder::<$database>::new(begin);
            insert.push_values(entries, |mut row, entry| {
                row.push_bind(entry.id.hyphenated().to_string())
                    .push_bind(&entry.topic)
                    .push_bind(&entry.topic)
                    .push_bind(entry.aggregate_id())
                    .push_bind(entry.binary_key())
                    .push_bind(&*entry.type_name)
                    .push_bind(entry.payload.as_deref())
                    .push_bind(entry.headers.as_deref());
            });
            insert.build().persistent(entries.len() <= REMEMBERED).execute(&mut *$tx).await?;
        }
        Ok(())
    }};
}
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(crate) use insert_by_values;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &'static [u8]) -> Entry {
        Entry {
            id: Uuid::nil(),
            topic: "t".to_owned(),
            key: Some(Bytes::from_static(key)),
            type_name: Cow::Borrowed("T"),
            payload: None,
            headers: None,
        }
    }

    #[test]
    fn a_key_that_is_text_stays_text() {
        let order = entry("größe-7".as_bytes());
        assert_eq!(order.aggregate_id().as_deref(), Some("größe-7"));
        assert_eq!(order.binary_key(), None);
    }

    #[test]
    fn a_key_that_is_no_text_is_hex_with_its_bytes_beside_it() {
        let order = entry(&[0xff, 0x00]);
        assert_eq!(order.aggregate_id().as_deref(), Some("\\xff00"));
        assert_eq!(order.binary_key(), Some(&[0xff, 0x00][..]));
        assert_eq!(entry(b"a\0b").binary_key(), Some(&b"a\0b"[..]), "no database has this as text");
    }
}
