//! What a relay asks of the table: what waits, what left, what was refused, and who publishes which slots.
//!
//! The statements are in `words.rs`.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::Stream;

use crate::store::{Dialect, Store};

/// One of the 1,024 slices of the keys.
pub(crate) type Slot = i16;

/// How many there are, for ever: the table's column is made of it.
pub(crate) const SLOTS: Slot = 1024;

/// An entry that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) seq: i64,
    /// Shared with what keeps account of it.
    pub(crate) id: Arc<str>,
    /// Shared by neighbours, as is the type's name.
    pub(crate) topic: Arc<str>,
    pub(crate) aggregate_id: Option<String>,
    /// Where the key is no text.
    pub(crate) binary_key: Option<Vec<u8>>,
    pub(crate) type_name: Arc<str>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Option<String>,
    /// By this process's clock: the database says how old it is.
    pub(crate) created: Instant,
}

impl Waiting {
    /// A text, or the one before where that is the same.
    pub(crate) fn shared(text: &str, before: Option<&Arc<str>>) -> Arc<str> {
        before.filter(|before| ***before == *text).map_or_else(|| Arc::from(text), Arc::clone)
    }

    /// When an entry of this age was created.
    pub(crate) fn created(age_us: i64) -> Instant {
        let age = Duration::from_micros(age_us.try_into().unwrap_or_default());
        let now = Instant::now();
        now.checked_sub(age).unwrap_or(now)
    }

    /// How it is known when it has left.
    pub(crate) fn sent(&self) -> Sent {
        Sent { seq: self.seq, id: Arc::clone(&self.id) }
    }
}

/// An entry that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) seq: i64,
    pub(crate) id: Arc<str>,
}

/// Which entries to read.
#[derive(Debug, Clone)]
pub(crate) struct Look<'a> {
    pub(crate) slots: Range<Slot>,
    /// Nothing up to this number.
    pub(crate) above: i64,
    /// Keys that wait for an earlier entry of theirs, which was refused.
    pub(crate) held: &'a [String],
    /// Numbers that were read before.
    pub(crate) taken: &'a [i64],
    pub(crate) limit: usize,
}

/// How much waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Depth {
    /// Counted, or estimated where there are many.
    pub(crate) waiting: i64,
    /// How long the oldest waits.
    pub(crate) oldest: Duration,
}

impl Depth {
    /// So many are counted; the numbers say about how many more there are.
    pub(crate) const COUNTED: i64 = 10_000;

    /// What the database found: how many it counted, the age of the oldest of them, the number of the first of them, and the
    /// highest number that there is.
    pub(crate) fn found(counted: i64, oldest_us: Option<i64>, first: Option<i64>, last: Option<i64>) -> Self {
        let distance = last.unwrap_or_default() - first.unwrap_or_default() + 1;
        let waiting = if counted < Self::COUNTED { counted } else { distance.max(counted) };
        let oldest = Duration::from_micros(oldest_us.unwrap_or_default().try_into().unwrap_or_default());
        Depth { waiting, oldest }
    }
}

/// An entry that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) waiting: Waiting,
    pub(crate) attempts: i32,
    pub(crate) error: String,
}

/// Why an entry was refused, as the column has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its topic was missing or forbidden; it goes by itself when that is mended.
    Topic = 1,
    /// The record itself: somebody has to change it, or the topic's limits.
    Record = 2,
}

/// A range of slots with one owner at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) slots: Range<Slot>,
    pub(crate) epoch: i64,
    /// Whose lease has not run out.
    pub(crate) owner: Option<String>,
}

/// Who lives, and who has what; as it was under the lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lanes {
    pub(crate) relays: Vec<String>,
    pub(crate) lanes: Vec<Lane>,
}

/// A change of who has what. Only an owner changes its own lanes; whoever wants a free one takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A free lane, under a new epoch.
    Take(Slot),
    /// Mine, until another lease is over.
    Renew(Slot),
    /// Free again.
    Release(Slot),
    /// Mine up to the second slot, free from there.
    Split(Slot, Slot),
    /// The second, which is mine and follows the first, becomes a part of it.
    Merge(Slot, Slot),
}

/// What becomes of an entry that left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Afterwards {
    /// Its row is deleted.
    Delete,
    /// Its row is marked, and deleted later.
    Keep,
}

/// How a relay's questions are asked of one database. The store's pool is the relay's own.
pub(crate) trait RelayDialect: Dialect {
    /// A store on the same tables, with connections of the relay's own.
    fn for_relay(store: &Store<Self>) -> Store<Self>;

    /// This database's own id.
    fn database_id(store: &Store<Self>) -> impl Future<Output = sqlx::Result<String>> + Send;

    /// Whether anything waits at all.
    fn anything(store: &Store<Self>) -> impl Future<Output = sqlx::Result<bool>> + Send;

    /// How much waits; at a price that has a limit.
    fn depth(store: &Store<Self>) -> impl Future<Output = sqlx::Result<Depth>> + Send;

    /// Entries in the order of their numbers.
    fn read(store: &Store<Self>, look: &Look<'_>) -> impl Future<Output = sqlx::Result<Vec<Waiting>>> + Send;

    /// These have left. An entry is known by its number and its id: a database that lost its tail gives out numbers again.
    fn left(
        store: &Store<Self>,
        entries: &[Sent],
        afterwards: Afterwards,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// The entries of these numbers that are there.
    fn find(store: &Store<Self>, seqs: &[i64]) -> impl Future<Output = sqlx::Result<Vec<Sent>>> + Send;

    /// Deletes some of what left longer ago than this; says how many.
    fn clean(store: &Store<Self>, kept_for: Duration) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// This one was refused.
    fn refuse(
        store: &Store<Self>,
        seq: i64,
        refusal: Refusal,
        error: &str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Topics for which entries were refused because they were not there.
    fn topics_looked_for(store: &Store<Self>) -> impl Future<Output = sqlx::Result<Vec<String>>> + Send;

    /// Lets entries be tried again that were refused because this topic was not there; says how many there were.
    fn topic_found(store: &Store<Self>, topic: &str) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// What was refused, the oldest first; ten thousand at most.
    fn refused(
        store: &Store<Self>,
        slots: Range<Slot>,
    ) -> impl Future<Output = sqlx::Result<Vec<Refused>>> + Send;

    /// The keys of what was refused.
    fn held(
        store: &Store<Self>,
        slots: Range<Slot>,
    ) -> impl Future<Output = sqlx::Result<Vec<String>>> + Send;

    /// Says something each time that another process may have committed; never, where the database cannot.
    fn announcements(store: &Store<Self>) -> impl Stream<Item = ()> + Send + 'static;

    /// Lets refused entries be tried again; says how many there were.
    fn retry(store: &Store<Self>, seqs: &[i64]) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// Deletes refused entries; says how many there were.
    fn discard(store: &Store<Self>, seqs: &[i64]) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// Says that `me` lives, shows `decide` who has what, and makes the changes that it wants: in one transaction, under
    /// a lock that everybody takes. What comes back is how things are then.
    fn share(
        store: &Store<Self>,
        me: &str,
        lease: Duration,
        decide: impl FnOnce(&Lanes) -> Vec<Change> + Send,
    ) -> impl Future<Output = sqlx::Result<Lanes>> + Send;

    /// Says that `me` is gone, and its lanes are free.
    fn leave(store: &Store<Self>, me: &str) -> impl Future<Output = sqlx::Result<()>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_counted_and_many_are_estimated() {
        let seconds = |s: i64| Some(s * 1_000_000);
        let few = Depth::found(70, seconds(3), Some(1_000), Some(90_000));
        assert_eq!(few, Depth { waiting: 70, oldest: Duration::from_secs(3) });
        let many = Depth::found(Depth::COUNTED, seconds(9), Some(1_001), Some(3_001_000));
        assert_eq!(many, Depth { waiting: 3_000_000, oldest: Duration::from_secs(9) });
        assert_eq!(Depth::found(0, None, None, Some(5)), Depth { waiting: 0, oldest: Duration::ZERO });
        assert_eq!(
            Depth::found(1, Some(-5), Some(5), Some(5)).oldest,
            Duration::ZERO,
            "a clock that went back"
        );
    }
}
