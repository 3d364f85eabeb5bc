//! What a transaction carries towards its end: what it publishes, and what forbids it to commit.
//!
//! Entries wait here, in memory, until just before COMMIT: written after all row locks that the transaction takes, they
//! are numbered in the order in which the transactions of a key commit. A savepoint that is rolled back takes its
//! entries with it.

use std::sync::Arc;

use bytes::Bytes;
use sha1::{Digest as _, Sha1};
use uuid::Uuid;

use crate::error::TxError;
use crate::record::Record;
use crate::store::outbox::{Entry, OutboxDialect};

/// The header in which a trace travels. Source: <https://www.w3.org/TR/trace-context/>.
pub(crate) use crate::trace::HEADER as TRACE_HEADER;

/// What is to leave when the transaction commits.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    entries: Vec<Entry>,
    /// The record that is being handled, in a listener's attempt.
    origin: Option<Origin>,
    /// How many ids were given out.
    ids: u32,
    refused: Refused,
    /// Whether it met another transaction and had to give way: trying the whole of it again may help.
    gave_way: bool,
}

/// Whether it may commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Refused {
    #[default]
    No,
    /// A method that joined it has failed.
    RollbackOnly,
    /// The database has ended it, as MySQL does at a deadlock.
    Lost,
}

/// What a listener's attempt is about: the ids of what it publishes are made of it, so that they are the same whenever
/// the record is handled.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) group: Arc<str>,
    pub(crate) record: Record,
}

/// Where a savepoint began.
#[derive(Debug)]
pub(super) struct Mark {
    entries: usize,
    refused: Refused,
}

impl Pending {
    /// A new attempt.
    pub(crate) fn start(&mut self, origin: Option<Origin>) {
        self.entries.clear();
        (self.origin, self.ids, self.refused, self.gave_way) = (origin, 0, Refused::No, false);
    }

    /// The next record of the same transaction: what earlier ones published stays.
    pub(crate) fn turn_to(&mut self, origin: Origin) {
        (self.origin, self.ids) = (Some(origin), 0);
    }

    /// The id of what is published next: repeatable in a listener, otherwise a new one in the order of time.
    pub(crate) fn next_id(&mut self) -> Uuid {
        let ordinal = self.ids;
        self.ids += 1;
        self.origin.as_ref().map_or_else(Uuid::now_v7, |origin| origin.id(ordinal))
    }

    /// The trace that what is published belongs to.
    pub(crate) fn trace(&self) -> Option<Bytes> {
        let inherited = self.origin.as_ref().and_then(|origin| origin.record.header(TRACE_HEADER));
        crate::trace::current().or_else(|| inherited.map(Bytes::copy_from_slice))
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes the entries, to be written.
    pub(super) fn take(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { entries: self.entries.len(), refused: self.refused }
    }

    /// Forgets what came after the mark. What is lost stays lost: the savepoint went with the transaction.
    pub(super) fn back_to(&mut self, mark: &Mark) {
        self.entries.truncate(mark.entries);
        if self.refused != Refused::Lost {
            self.refused = mark.refused;
        }
    }

    /// Nothing of this transaction may be committed any more.
    pub(crate) fn roll_back_only(&mut self) {
        if self.refused == Refused::No {
            self.refused = Refused::RollbackOnly;
        }
    }

    /// Why it may not commit.
    pub(crate) fn refusal(&self) -> Option<TxError> {
        match self.refused {
            Refused::No => None,
            Refused::RollbackOnly => Some(TxError::RollbackOnly),
            Refused::Lost => Some(TxError::Commit(lost())),
        }
    }

    /// Whether two transactions met, and this one gave way.
    pub(crate) fn gave_way(&self) -> bool {
        self.gave_way
    }

    /// The error of a statement that comes too late: on MySQL it would stand alone, outside of the transaction.
    pub(super) fn lost(&self) -> Option<sqlx::Error> {
        (self.refused == Refused::Lost).then(lost)
    }

    /// Notes a statement's error.
    pub(super) fn note<DB: OutboxDialect>(&mut self, error: &sqlx::Error) {
        self.gave_way |= DB::gave_way(error);
        if DB::ends_transaction(error) {
            self.refused = Refused::Lost;
        }
    }
}

impl Origin {
    fn id(&self, ordinal: u32) -> Uuid {
        repeatable_id(&self.group, &self.record, ordinal)
    }
}

/// Of the group, the record and a number: the same whenever this record is handled by this group. The record's time
/// is in it so that a topic that was made anew does not repeat the ids of the old one.
pub(crate) fn repeatable_id(group: &str, record: &Record, ordinal: u32) -> Uuid {
    // A UUID of version 5, by a hash that uses what the processor has for it.
    let mut hash = Sha1::new_with_prefix(NAMESPACE);
    for part in [group, record.topic()] {
        hash.update((part.len() as u32).to_be_bytes());
        hash.update(part);
    }
    hash.update(record.partition().to_be_bytes());
    hash.update(record.offset().to_be_bytes());
    hash.update(record.timestamp_ms().to_be_bytes());
    hash.update(ordinal.to_be_bytes());
    let hashed: [u8; 20] = hash.finalize().into();
    let [id @ .., _, _, _, _] = hashed;
    uuid::Builder::from_sha1_bytes(id).into_uuid()
}

/// Of ids that a listener's attempt gives out.
const NAMESPACE: Uuid = Uuid::from_u128(0x5b0e_6f0c_57c9_4b1b_9a3e_3d8f_0c6e_1d21);

fn lost() -> sqlx::Error {
    sqlx::Error::Encode(
        "the transaction met another one and was rolled back by the database; return the error of that statement".into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeatable_id_is_a_uuid_of_version_5() {
        let mut record = Record::builder("event.order").payload("{}").build();
        record.set_offset(7);
        let mut name = Vec::new();
        for part in ["billing", "event.order"] {
            name.extend((part.len() as u32).to_be_bytes());
            name.extend(part.as_bytes());
        }
        name.extend(record.partition().to_be_bytes());
        name.extend(7_i64.to_be_bytes());
        name.extend(record.timestamp_ms().to_be_bytes());
        name.extend(3_u32.to_be_bytes());
        assert_eq!(repeatable_id("billing", &record, 3), Uuid::new_v5(&NAMESPACE, &name));
    }
}
