//! The store: positions, inbox and transactions, the only room that says `sqlx`.
//!
//! The rest of eos sees [`Store`] (take, verify, sweep), [`Idle`] and [`Open`] (an attempt's states) and the types
//! below; each database implements [`Dialect`], and all of them pass one conformance suite.

mod attempt;
mod check;
mod claims;
#[cfg(test)]
mod conformance;
mod dead_letter;
mod dialect;
mod freshness;
mod guard;
mod hex;
mod key_slot;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod lent;
mod migrate;
mod moves;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
mod outbox;
mod positions;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod split;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
mod tx;

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

pub(crate) use attempt::{ChainFailed, Claimed, ClaimedGroup, CommitFailed, Idle, Open, Rest};
pub(crate) use check::{CheckDialect, check};
pub(crate) use claims::{ClaimDialect, ClaimTable};
pub(crate) use dead_letter::{
    DeadLetter, Filter, LetterDialect, ParkedRow, Reason, State, Stored, Unpublished, Verdict, WantedRow,
};
pub(crate) use dialect::{Dialect, Fault, Store, StoreOptions, SweepCursor};
pub(crate) use freshness::Freshness;
pub(crate) use hex::hex;
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(crate) use hex::hex_literal;
pub(crate) use key_slot::{KeySlot, slot_of};
pub(crate) use migrate::{MigrateError, Mode as MigrateMode};
pub use migrate::{is_migrated_in, migrate, migrate_in, migrations};
pub(crate) use moves::{MoveDialect, Moved, Stretch};
pub(crate) use outbox::{
    Afterwards, Change, Depth, Entry, Home, Lane, Lanes, Look, Refusal, Refused, RelayDialect, SLOTS, Sent,
    Serving, Slot, Waiting, read_headers, write_headers,
};
pub(crate) use positions::{PositionDialect, Reached};
pub use tx::*;

/// What an error of an attempt means, whichever database said it: a handler may ask another than its listener's.
pub(crate) fn fault_of(error: &sqlx::Error) -> Fault {
    #[cfg_attr(
        not(any(feature = "postgres", feature = "mysql", feature = "sqlite")),
        expect(unused_variables, reason = "no database is known")
    )]
    let Some(database) = error.as_database_error() else {
        // Said of a statement, and not of an address or a connection: what our own guard refuses, or more parameters than the
        // protocol has room for.
        let fault = Fault::of_driver(error);
        let of_statement = fault == Fault::Refused || matches!(error, sqlx::Error::Protocol(_));
        return if of_statement { Fault::Failed } else { fault };
    };
    #[cfg(feature = "postgres")]
    if database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        return <sqlx::Postgres as Dialect>::fault(error);
    }
    #[cfg(feature = "mysql")]
    if database.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().is_some() {
        return <sqlx::MySql as Dialect>::fault(error);
    }
    #[cfg(feature = "sqlite")]
    if database.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        return <sqlx::Sqlite as Dialect>::fault(error);
    }
    Fault::Failed
}

/// A partition, as one group reads it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PartitionKey {
    pub(crate) group: Arc<str>,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}] of group {}", self.topic, self.partition, self.group)
    }
}

/// The last record that a position counts as done, to recognise the log by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastRecord {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) checksum: u32,
}

impl LastRecord {
    /// What a row of `eos_position` says; `None` where it knows of no record.
    #[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
    fn of_columns(offset: Option<i64>, timestamp_ms: Option<i64>, checksum: Option<i64>) -> Option<Self> {
        let checksum = u32::try_from(checksum?).ok()?;
        Some(LastRecord { offset: offset?, timestamp_ms: timestamp_ms?, checksum })
    }
}

/// A group's reading of a topic, as the database remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stream {
    /// The inbox's number for this group and topic.
    pub(crate) id: i32,
    /// How many partitions the topic had when the group met it, where that was asked: those are new to the group
    /// together, whichever of its members takes which of them first. Later ones were added.
    pub(crate) first_partitions: Option<i32>,
}

/// A position that this process took, a partition's or one of its slots': the random token is what fences, the epoch is for people and logs.
#[derive(Debug, Clone)]
pub(crate) struct Hold<L> {
    pub(crate) key: PartitionKey,
    /// Whose records it is for, and of how many slots the row says that there are.
    pub(crate) slot: KeySlot,
    /// The inbox's number for this group and topic.
    pub(crate) stream: i32,
    pub(crate) token: Uuid,
    pub(crate) epoch: i64,
    /// What this assignment last read from the row or committed to it.
    pub(crate) next_offset: i64,
    pub(crate) last: Option<LastRecord>,
    /// What was begun behind the position, as far as the row knows; see [`Rest::note_begun`].
    pub(crate) begun: Begun,
    /// The Kafka cluster whose log the position speaks of, where it is known.
    pub(crate) cluster: Option<Arc<str>>,
    /// The row was made by this take: nothing was consumed before.
    pub(crate) created: bool,
    /// Where the dialect finds the row again.
    pub(crate) locator: L,
}

impl<L> Hold<L> {
    /// Its row, for a look at it.
    pub(crate) fn held(&self) -> Held {
        Held { key: self.key.clone(), slot: self.slot, token: self.token }
    }
}

/// What was begun behind a position and has not moved it. A claim that is committed leaves nothing behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begun {
    /// So many attempts at the next record.
    Attempts(u32),
    /// An attempt at many records.
    Group,
}

impl Begun {
    pub(crate) const NOTHING: Self = Begun::Attempts(0);

    /// At the next record.
    pub(crate) fn attempts(self) -> u32 {
        match self {
            Begun::Attempts(count) => count,
            // Nobody knows which of its records was tried.
            Begun::Group => 0,
        }
    }

    /// As the column `attempts` has it.
    pub(super) fn number(self) -> i32 {
        match self {
            Begun::Attempts(count) => i32::try_from(count).unwrap_or(i32::MAX),
            Begun::Group => -1,
        }
    }

    fn of_number(number: i32) -> Self {
        u32::try_from(number).map_or(Begun::Group, Begun::Attempts)
    }
}

/// What an attempt claims: one record, after everything before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    /// The record; the position becomes its offset + 1.
    pub(crate) record: LastRecord,
    /// The id to put in the inbox; `None` dedupes by position alone.
    pub(crate) message_id: Option<&'a [u8]>,
}

/// What a group's attempt claims: every record up to its last, in one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupClaim<'a> {
    /// The last of them; the position becomes its offset + 1.
    pub(crate) last: LastRecord,
    /// The ids to put in the inbox, sorted, each once: two groups that have the same ones must not wait for each other.
    pub(crate) ids: &'a [&'a [u8]],
}

/// Which row of `eos_position` is meant, and the token by which it is ours.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) key: PartitionKey,
    pub(crate) slot: KeySlot,
    pub(crate) token: Uuid,
}

/// What the position row says about a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The row names our token; its position.
    Ours {
        /// The row's position, which is the truth.
        next_offset: i64,
    },
    /// The row names another's token, or is gone.
    Fenced,
}
