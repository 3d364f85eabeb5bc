//! Watching over what idle owners hold: one query every few seconds compares token and position with the rows.
//!
//! An owner that waits at the end of its log would otherwise never notice that the database came back without its
//! tail, or that another took the partition: it has nothing to claim. Busy owners are left out, since their next
//! claim looks anyway. A mismatch only wakes the worker, which then looks for itself.
//!
//! A second query asks how many records are parked in each partition, a third which partitions have dead letters that somebody wants handled again; their owners are told, busy
//! or idle.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::store::{Dialect, Held, LetterDialect, PartitionKey, Standing, Store};

/// The holds of this process in one database.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vigil {
    watched: Arc<Mutex<HashMap<u64, Arc<Watched>>>>,
    next: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Watched {
    held: Held,
    position: AtomicI64,
    /// How many of its records are parked.
    parked: AtomicI64,
    busy: AtomicBool,
    suspect: Notify,
    /// Something is to be replayed; taken back by who goes to do it.
    wanted: AtomicBool,
    replay: Notify,
}

/// A worker's end: says what it counts on, and hears when the database says otherwise.
#[derive(Debug)]
pub(super) struct Watch {
    vigil: Vigil,
    number: u64,
    watched: Arc<Watched>,
}

impl Vigil {
    /// A database that takes longer is looked at again later.
    const ANSWER: Duration = Duration::from_secs(10);

    /// Watches a hold until the [`Watch`] is dropped.
    pub(super) fn watch(&self, held: Held, position: i64) -> Watch {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let watched = Arc::new(Watched {
            held,
            position: AtomicI64::new(position),
            parked: AtomicI64::new(0),
            busy: AtomicBool::new(false),
            suspect: Notify::new(),
            wanted: AtomicBool::new(false),
            replay: Notify::new(),
        });
        self.lock().insert(number, Arc::clone(&watched));
        Watch { vigil: self.clone(), number, watched }
    }

    /// Compares for ever, every `every`; dropped when the process stops.
    pub(crate) async fn keep<D: LetterDialect>(self, store: Arc<Store<D>>, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.compare(&store).await;
            self.compare_parked(&store).await;
            self.look_for_replays(&store).await;
        }
    }

    async fn look_for_replays<D: LetterDialect>(&self, store: &Store<D>) {
        let watched: Vec<Arc<Watched>> = self.lock().values().map(Arc::clone).collect();
        if watched.is_empty() {
            return;
        }
        let looking = tokio::time::timeout(Self::ANSWER, D::wanted(store)).await;
        let wanted: HashSet<PartitionKey> = match looking.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(wanted) => wanted.into_iter().collect(),
            Err(error) => {
                tracing::debug!(%error, "it could not be read what is to be replayed; again soon");
                return;
            }
        };
        for watched in watched.iter().filter(|watched| wanted.contains(&watched.held.key)) {
            watched.wanted.store(true, Ordering::Release);
            watched.replay.notify_one();
        }
    }

    /// What an idle owner takes for parked is what is there: people may have taken some out, and a database that lost its tail
    /// may have some again.
    async fn compare_parked<D: LetterDialect>(&self, store: &Store<D>) {
        let idle: Vec<(Arc<Watched>, i64)> = self.idle(|watched| watched.parked.load(Ordering::Acquire));
        if idle.is_empty() {
            return;
        }
        let counting = tokio::time::timeout(Self::ANSWER, D::parked_counts(store)).await;
        let counts: HashMap<PartitionKey, i64> = match counting.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(counts) => counts.into_iter().collect(),
            Err(error) => {
                tracing::debug!(%error, "what is parked could not be compared with the database; again soon");
                return;
            }
        };
        // The table knows partitions, and no slots: they are compared where all of a partition's are idle here.
        let mut partitions: HashMap<PartitionKey, Vec<(Arc<Watched>, i64)>> = HashMap::new();
        for (watched, parked) in idle {
            partitions.entry(watched.held.key.clone()).or_default().push((watched, parked));
        }
        for (key, slots) in partitions {
            let unchanged = |(watched, parked): &(Arc<Watched>, i64)| {
                !watched.busy.load(Ordering::Acquire) && watched.parked.load(Ordering::Acquire) == *parked
            };
            let are_all = slots.iter().all(|(watched, _)| watched.held.slot.of as usize == slots.len());
            let parked: i64 = slots.iter().map(|(_, parked)| parked).sum();
            if are_all && slots.iter().all(unchanged) && counts.get(&key).copied().unwrap_or(0) != parked {
                slots.iter().for_each(|(watched, _)| watched.suspect.notify_one());
            }
        }
    }

    /// Those that nobody works on now, with a number of theirs.
    fn idle(&self, number: impl Fn(&Watched) -> i64) -> Vec<(Arc<Watched>, i64)> {
        self.lock()
            .values()
            .filter(|watched| !watched.busy.load(Ordering::Acquire))
            .map(|watched| (Arc::clone(watched), number(watched)))
            .collect()
    }

    async fn compare<D: Dialect>(&self, store: &Store<D>) {
        let idle = self.idle(|watched| watched.position.load(Ordering::Acquire));
        if idle.is_empty() {
            return;
        }
        let holds: Vec<Held> = idle.iter().map(|(watched, _)| watched.held.clone()).collect();
        let looking = tokio::time::timeout(Self::ANSWER, D::standings(store, &holds)).await;
        let standings = match looking.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(standings) => standings,
            Err(error) => {
                tracing::debug!(%error, "positions could not be compared with the database; again soon");
                return;
            }
        };
        for ((watched, position), standing) in idle.iter().zip(standings) {
            let unchanged = !watched.busy.load(Ordering::Acquire)
                && watched.position.load(Ordering::Acquire) == *position;
            if unchanged && standing != (Standing::Ours { next_offset: *position }) {
                watched.suspect.notify_one();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Watched>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// An attempt begins; the next claim looks for itself.
    pub(super) fn busy(&self) {
        self.watched.busy.store(true, Ordering::Release);
    }

    /// Nothing is in flight; the row should say this.
    pub(super) fn idle_at(&self, position: i64) {
        self.watched.position.store(position, Ordering::Release);
        self.watched.busy.store(false, Ordering::Release);
    }

    /// So many records are parked now.
    pub(super) fn has_parked(&self, records: usize) {
        self.watched.parked.store(i64::try_from(records).unwrap_or(i64::MAX), Ordering::Release);
    }

    /// Whether something is to be replayed.
    pub(super) fn has_replay(&self) -> bool {
        self.watched.wanted.load(Ordering::Acquire)
    }

    /// There may be more.
    pub(super) fn want_replay(&self) {
        self.watched.wanted.store(true, Ordering::Release);
    }

    /// The same; the caller goes to do it.
    pub(super) fn takes_replay(&self) -> bool {
        self.has_replay() && self.watched.wanted.swap(false, Ordering::AcqRel)
    }

    /// Completes when something is to be replayed.
    pub(super) async fn replay(&self) {
        self.watched.replay.notified().await;
    }

    /// Completes when the database said otherwise.
    pub(super) async fn suspect(&self) {
        self.watched.suspect.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.vigil.lock().remove(&self.number);
    }
}
