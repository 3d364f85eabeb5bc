//! Attempts in flight, capped by the pool: a partition has a seat while it holds a connection.
//!
//! After other processes died one may own every partition of a topic, many more than its pool has connections. Seats
//! go round: who has nothing to do, or has had a turn while others wait, gives its seat back. A few connections are
//! kept outside, for takes and for looking after positions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Connections that are never an attempt's.
const RESERVED: u32 = 2;

/// The seats of one database.
#[derive(Debug, Clone)]
pub(crate) struct Seats {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    seats: Arc<Semaphore>,
    /// For takes, which may wait long for an owner that sleeps: half of the connections.
    takes: Semaphore,
    waiting: AtomicUsize,
    wanted: Notify,
}

/// A seat; dropping it gives it to the next.
#[derive(Debug)]
pub(super) struct Seat {
    _permit: OwnedSemaphorePermit,
}

impl Seats {
    /// How many there are among so many connections: less the reserved ones, and one at least.
    pub(crate) fn among(connections: u32) -> usize {
        connections.saturating_sub(RESERVED).max(1) as usize
    }

    /// As many as there are among the pool's connections.
    pub(crate) fn new(max_connections: u32) -> Self {
        Seats {
            shared: Arc::new(Shared {
                seats: Arc::new(Semaphore::new(Self::among(max_connections))),
                takes: Semaphore::new((max_connections as usize / 2).max(1)),
                waiting: AtomicUsize::new(0),
                wanted: Notify::new(),
            }),
        }
    }

    /// Waits for a seat, in order of arrival.
    ///
    /// # Cancel safety
    /// Cancel safe; the place in the queue is lost.
    pub(super) async fn take(&self) -> Seat {
        let _waiting = Waiting::new(&self.shared);
        match Arc::clone(&self.shared.seats).acquire_owned().await {
            Ok(permit) => Seat { _permit: permit },
            Err(_closed) => unreachable!("the semaphore is never closed"),
        }
    }

    /// Waits until a row may be taken.
    ///
    /// # Cancel safety
    /// Cancel safe; the place in the queue is lost.
    pub(super) async fn for_a_take(&self) -> SemaphorePermit<'_> {
        match self.shared.takes.acquire().await {
            Ok(permit) => permit,
            Err(_closed) => unreachable!("the semaphore is never closed"),
        }
    }

    /// Whether somebody waits for a seat now.
    pub(super) fn wanted_now(&self) -> bool {
        self.shared.waiting.load(Ordering::Acquire) > 0
    }

    /// Completes when somebody begins to wait.
    pub(super) async fn wanted(&self) {
        self.shared.wanted.notified().await;
    }
}

/// Counts who waits, also when the wait is dropped.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.waiting.fetch_add(1, Ordering::AcqRel);
        if shared.seats.available_permits() == 0 {
            shared.wanted.notify_waiters();
        }
        Waiting(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
