//! Records set aside: how one gets into `eos_dead_letter`, and what people and replays ask of the table.
//!
//! | file | what it promises |
//! |---|---|
//! | `write.rs` | a record gets in, dead or parked, in the transaction that moves the position past it |
//! | `words.rs` | lists, changes of state, and what replays ask, said once for three databases |
//!
//! The claim has put the record's message id into the inbox as done; with the dead letter it becomes *aside*, so that a
//! duplicate leaves no second row. A replay turns it back, by compare-and-set on both rows, in the transaction that
//! handles the record (each database's `attempt.rs`). Columns and their reasons are in each database's `dead_letter.sql`.
//!
//! What is parked is in the same table: it leaves it when it is handled, and becomes dead when no attempt is left. What an
//! owner says of a row that it has tried counts only as long as it is the owner.

mod words;
mod write;

use std::borrow::Cow;
use std::time::UNIX_EPOCH;

use super::{PartitionKey, read_headers, write_headers};
use crate::error::BoxError;
use crate::record::{Headers, Record};

pub(crate) use words::{LetterDialect, Words, letter_dialect};
pub(crate) use write::write_dead_letter;

/// What the inbox says of an id whose record is set aside, dead or parked; 0 is done.
pub(crate) const ASIDE: i16 = 1;

/// What becomes of a record that is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Until somebody looks.
    Dead,
    /// It waits for its turn behind what was parked before it, and is tried again.
    Parked,
    /// The same, and somebody wants it tried now.
    Urged,
    /// Somebody wants it handled again, by the listener of its group.
    Wanted,
    /// It was handled.
    Replayed,
    /// Nobody wants it handled.
    Discarded,
}

impl State {
    /// As the column has it.
    pub(crate) fn number(self) -> i16 {
        match self {
            State::Dead => 0,
            State::Parked => 1,
            State::Wanted => 2,
            State::Replayed => 3,
            State::Discarded => 4,
            State::Urged => 5,
        }
    }

    fn of_number(number: i16) -> Option<Self> {
        use State::{Dead, Discarded, Parked, Replayed, Urged, Wanted};
        [Dead, Parked, Urged, Wanted, Replayed, Discarded].into_iter().find(|state| state.number() == number)
    }

    /// Those between which nobody but people makes a difference, as SQL lists them.
    pub(crate) fn alike(self) -> &'static str {
        match self {
            State::Dead => "0",
            State::Parked | State::Urged => "1, 5",
            State::Wanted => "2",
            State::Replayed => "3",
            State::Discarded => "4",
        }
    }
}

/// A row of the table.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: i64,
    pub(crate) state: State,
    pub(crate) key: PartitionKey,
    pub(crate) record: Record,
    /// As the inbox has it.
    #[cfg_attr(
        not(any(feature = "mysql", feature = "sqlite")),
        allow(dead_code, reason = "PostgreSQL finds it in the row")
    )]
    pub(crate) message_id: Option<Vec<u8>>,
    pub(crate) listener: String,
    pub(crate) attempts: u32,
    pub(crate) reason: String,
    pub(crate) error: String,
    /// Milliseconds since 1970.
    pub(crate) set_aside_ms: i64,
    /// Attempts that were begun, of the replay that was asked for; of a parked row those whose end nobody has seen.
    pub(crate) tries: u32,
    /// Whether its payload is not the one that came.
    pub(crate) edited: bool,
}

/// A row that is still to be written to a topic.
#[derive(Debug, Clone)]
pub(crate) struct Unpublished {
    pub(crate) stored: Stored,
    pub(crate) to: String,
    /// Until when it was reserved, in milliseconds since 1970.
    pub(crate) after: i64,
}

/// A row that is parked, as its partition's owner remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParkedRow {
    pub(crate) id: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) attempts: u32,
    /// Since its last attempt, or since it was parked.
    pub(crate) rested_ms: i64,
    /// Somebody wants it tried now.
    pub(crate) urged: bool,
    pub(crate) offset: i64,
}

/// The number of a row that is to be replayed, with what says whose it is: key and offset.
pub(crate) type WantedRow = (i64, Option<Vec<u8>>, i64);

/// How an attempt at a row went that did not succeed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verdict<'a> {
    /// What it becomes.
    pub(crate) to: State,
    /// All that it has had.
    pub(crate) attempts: u32,
    pub(crate) reason: Reason,
    pub(crate) error: &'a str,
    /// The topic that it is to be written to as well.
    pub(crate) publish_to: Option<&'a str>,
}

/// Which rows are meant; what is `None` leaves them all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) ids: Option<Vec<i64>>,
    pub(crate) group: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) partition: Option<i32>,
    /// Set aside at this time or later, in milliseconds since 1970.
    pub(crate) since_ms: Option<i64>,
    pub(crate) record_key: Option<Vec<u8>>,
    pub(crate) reason: Option<String>,
    pub(crate) states: Vec<State>,
    pub(crate) limit: Option<i64>,
}

impl Filter {
    /// Those of a partition that are in this state.
    pub(crate) fn of_partition(key: &PartitionKey, state: State) -> Self {
        Filter {
            group: Some(key.group.to_string()),
            topic: Some(key.topic.to_string()),
            partition: Some(key.partition),
            states: vec![state],
            ..Filter::default()
        }
    }
}

/// Why a record was set aside; the word in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It cannot be handled by anybody as it is: it does not parse, or the handler said `fatal`.
    Poison,
    /// Every attempt that it may have has failed.
    Failed,
    /// The last attempt took longer than the listener's deadline.
    Overran,
    /// The handler panicked at the last attempt.
    Panicked,
    /// Attempts were begun, and the process ended before it said how they went.
    Killed,
    /// An earlier record of its key is parked.
    Behind,
}

impl Reason {
    /// The word in the table, in logs and in metrics.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Reason::Poison => "poison",
            Reason::Failed => "failed",
            Reason::Overran => "overran",
            Reason::Panicked => "panicked",
            Reason::Killed => "killed",
            Reason::Behind => "behind",
        }
    }
}

/// One record that is set aside, with why.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeadLetter<'a> {
    /// Dead or parked.
    pub(crate) state: State,
    pub(crate) record: &'a Record,
    /// In the inbox's form.
    pub(crate) message_id: Option<&'a [u8]>,
    pub(crate) listener: &'a str,
    pub(crate) attempts: u32,
    pub(crate) reason: Reason,
    /// The chain of causes.
    pub(crate) error: &'a str,
    /// The topic that it is to be written to as well.
    pub(crate) publish_to: Option<&'a str>,
}

impl DeadLetter<'_> {
    /// The record's headers as text.
    pub(crate) fn headers(&self) -> Result<Option<String>, BoxError> {
        write_headers(&self.record.headers())
    }

    /// When the record was written.
    pub(crate) fn record_time(&self) -> Option<i64> {
        let since = self.record.timestamp()?.duration_since(UNIX_EPOCH).ok()?;
        i64::try_from(since.as_millis()).ok()
    }

    /// The attempts as a column has them.
    pub(crate) fn attempts(&self) -> i32 {
        i32::try_from(self.attempts).unwrap_or(i32::MAX)
    }

    /// The chain of causes as a column can hold it.
    pub(crate) fn error(&self) -> Cow<'_, str> {
        storable(self.error)
    }
}

/// Every database holds this much as text.
const LONGEST_ERROR: usize = 16 * 1024;

/// A text that every database can hold.
pub(crate) fn storable(text: &str) -> Cow<'_, str> {
    match &text[..text.floor_char_boundary(LONGEST_ERROR)] {
        text if text.contains('\0') => Cow::Owned(text.replace('\0', "\u{fffd}")),
        text => Cow::Borrowed(text),
    }
}

/// What a row says of the record itself.
#[derive(Debug)]
pub(crate) struct Columns {
    pub(crate) id: i64,
    pub(crate) state: i16,
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) time: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Option<String>,
}

impl Columns {
    /// The row, but for what stands beside the record.
    pub(crate) fn into_stored(self) -> Result<Stored, BoxError> {
        let state = State::of_number(self.state)
            .ok_or_else(|| format!("state {} of a dead letter is of a later version of eos", self.state))?;
        let headers = self.headers.as_deref().map_or(Ok(Headers::default()), read_headers)?;
        let key =
            PartitionKey { group: self.group.into(), topic: self.topic.into(), partition: self.partition };
        let record = Record::of_parts(
            &key.topic,
            (self.partition, self.offset),
            self.time,
            (self.key.as_deref(), self.payload.as_deref()),
            &headers,
        );
        Ok(Stored {
            id: self.id,
            state,
            key,
            record,
            message_id: None,
            listener: String::new(),
            attempts: 0,
            reason: String::new(),
            error: String::new(),
            set_aside_ms: 0,
            tries: 0,
            edited: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_causes_fits_whatever_it_says() {
        let record = Record::builder("t").at(0, 1).build();
        let long = format!("{}\0", "ö".repeat(9000));
        let letter = |error| DeadLetter {
            state: State::Dead,
            record: &record,
            message_id: None,
            listener: "l",
            attempts: u32::MAX,
            reason: Reason::Failed,
            error,
            publish_to: None,
        };
        assert_eq!(letter("a\0b").error(), "a\u{fffd}b");
        assert_eq!(letter(&long).error().len(), LONGEST_ERROR);
        assert_eq!(letter("").attempts(), i32::MAX);
    }
}
