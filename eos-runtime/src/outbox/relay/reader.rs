//! What waits in a lane, in the order of its numbers.
//!
//! Numbers become visible out of order: a transaction that took an earlier one may commit later. So there is no cursor:
//! each look begins a good way before the highest number that was seen, and once a second at the beginning. (Looking from
//! the beginning each time would read the dead rows of all that was published, as long as somebody holds an old
//! snapshot.) What was read and is not deleted yet is left out by the database: it would be sent twice, while a table
//! is emptied.

use std::collections::BTreeSet;
use std::ops::{Bound, Range};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::settings::OnUndeliverable;
use crate::store::{Look, RelayDialect, Slot, Store, Waiting};

/// So far before the highest number that was seen.
const BEFORE: i64 = 2_000;
/// How often a look begins at the beginning.
const FROM_THE_BEGINNING: Duration = Duration::from_secs(1);
/// Entries of one look, to begin with and at most.
const FEW: usize = 100;
const MANY: usize = 2_500;
/// What one look may bring into memory, by what the last one brought.
const BYTES: usize = 4 * 1024 * 1024;

/// One lane's reader.
pub(super) struct Reader<D: RelayDialect> {
    store: Arc<Store<D>>,
    slots: Range<Slot>,
    on_undeliverable: OnUndeliverable,
    highest: i64,
    from_the_beginning: Option<Instant>,
    /// Keys of refused entries, whose later entries wait.
    held: BTreeSet<String>,
    /// Read, and not deleted yet.
    taken: BTreeSet<i64>,
    limit: usize,
}

impl<D: RelayDialect> Reader<D> {
    pub(super) fn new(store: Arc<Store<D>>, slots: Range<Slot>, on_undeliverable: OnUndeliverable) -> Self {
        Reader {
            store,
            slots,
            on_undeliverable,
            highest: 0,
            from_the_beginning: None,
            held: BTreeSet::new(),
            taken: BTreeSet::new(),
            limit: FEW,
        }
    }

    /// The next entries; none where nothing waits.
    pub(super) async fn look(&mut self) -> sqlx::Result<Vec<Waiting>> {
        let begins = self.from_the_beginning.is_none_or(|at| at.elapsed() >= FROM_THE_BEGINNING);
        if begins {
            let began = Instant::now();
            if self.on_undeliverable == OnUndeliverable::HoldKey {
                self.held = D::held(&self.store, self.slots.clone()).await?.into_iter().collect();
            }
            self.from_the_beginning = Some(began);
        }
        let held: Vec<String> = self.held.iter().cloned().collect();
        let above = if begins { 0 } else { self.highest - BEFORE };
        let taken: Vec<i64> = self.taken.range((Bound::Excluded(above), Bound::Unbounded)).copied().collect();
        let slots = self.slots.clone();
        let look = Look { slots, above, held: &held, taken: &taken, limit: self.limit };
        let found = D::read(&self.store, &look).await?;
        self.highest = found.last().map_or(self.highest, |last| self.highest.max(last.seq));
        self.taken.extend(found.iter().map(|waiting| waiting.seq));
        self.adapt(&found);
        Ok(found)
    }

    /// Whether the last look found as much as it may.
    pub(super) fn was_full(&self, found: usize) -> bool {
        found * 2 >= self.limit
    }

    /// These are deleted, or are to be read again.
    pub(super) fn let_go<'s>(&mut self, seqs: impl IntoIterator<Item = &'s i64>) {
        for seq in seqs {
            self.taken.remove(seq);
        }
    }

    /// An entry of this key was refused.
    pub(super) fn hold(&mut self, key: &str) {
        if self.on_undeliverable == OnUndeliverable::HoldKey {
            self.held.insert(key.to_owned());
        }
    }

    pub(super) fn holds(&self, waiting: &Waiting) -> bool {
        waiting.aggregate_id.as_ref().is_some_and(|key| self.held.contains(key))
    }

    /// The next look begins at the beginning.
    pub(super) fn start_over(&mut self) {
        self.from_the_beginning = None;
    }

    /// More at once where more waits, as far as memory allows.
    fn adapt(&mut self, found: &[Waiting]) {
        if found.len() < self.limit {
            self.limit = (self.limit / 2).max(FEW).max(found.len());
            return;
        }
        let bytes: usize = found.iter().map(weight).sum();
        let fitting = BYTES / (bytes / found.len().max(1)).max(1);
        self.limit = (self.limit * 2).min(MANY).min(fitting).max(1);
    }
}

/// What an entry weighs in memory and on the wire.
pub(super) fn weight(waiting: &Waiting) -> usize {
    let key =
        waiting.binary_key.as_ref().map_or(waiting.aggregate_id.as_ref().map_or(0, String::len), Vec::len);
    waiting.payload.as_ref().map_or(0, Vec::len)
        + waiting.headers.as_ref().map_or(0, String::len)
        + waiting.type_name.len()
        + key
        + 128
}
