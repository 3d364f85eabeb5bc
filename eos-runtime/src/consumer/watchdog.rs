//! Handlers that block their thread: noticed, and named in the log, by a thread of their own.
//!
//! A handler that only waits is ended by its deadline. One that computes, or calls what blocks, gives the runtime no chance
//! to end it, and its thread serves nobody else meanwhile; all that can be done is to say which it is, and for how long.
//! Its transaction is ended by the database, and its attempt fails when it comes back.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::invoke::Allowance;
use super::work::Work;
use crate::metrics::Durations;

/// How often it looks.
const EVERY: Duration = Duration::from_millis(500);
/// How long a handler may take beyond its deadline before it counts as one that blocks.
const GRACE: Duration = Duration::from_secs(1);
/// How often one that goes on is said again.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// Those that run handlers in this process. Its thread ends with the last of its clones.
#[derive(Debug, Clone)]
pub(crate) struct Watchdog {
    watched: Arc<Watched>,
}

#[derive(Debug)]
struct Watched {
    origin: Instant,
    running: Mutex<Vec<Weak<Running>>>,
}

/// One partition's handler.
#[derive(Debug)]
pub(super) struct Running {
    listener: Arc<str>,
    topic: Arc<str>,
    partition: i32,
    deadline: Duration,
    origin: Instant,
    offset: AtomicI64,
    /// Milliseconds since the origin, and one more; 0 while none runs.
    since: AtomicU64,
    said: AtomicU64,
    durations: Durations,
}

/// A handler runs as long as this lives.
pub(super) struct Run<'a> {
    running: &'a Running,
    began: Instant,
    /// Whether its duration is told.
    is_told: bool,
}

impl Run<'_> {
    /// How long it may take.
    pub(super) fn allowance(&self, at_most: Duration) -> Allowance {
        Allowance { since: self.began, at_most }
    }
}

/// A handler that blocks its thread.
#[derive(Debug, Clone)]
pub(crate) struct Blocked {
    pub(crate) listener: Arc<str>,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) lasts: Duration,
}

impl Watchdog {
    /// Starts its thread.
    pub(crate) fn start() -> Self {
        let watched = Arc::new(Watched { origin: Instant::now(), running: Mutex::default() });
        let weak = Arc::downgrade(&watched);
        let started = thread::Builder::new().name("eos-watchdog".to_owned()).spawn(move || {
            while let Some(watched) = weak.upgrade() {
                watched.look();
                drop(watched);
                thread::sleep(EVERY);
            }
        });
        if let Err(error) = started {
            tracing::warn!(%error, "handlers that block their thread will not be noticed: no thread can be started");
        }
        Watchdog { watched }
    }

    /// Watches one partition's handler, until what comes back is dropped.
    pub(super) fn watch(&self, work: &Work, topic: &Arc<str>, partition: i32) -> Arc<Running> {
        let running = Arc::new(Running {
            listener: Arc::clone(&work.id),
            topic: Arc::clone(topic),
            partition,
            deadline: work.deadline,
            origin: self.watched.origin,
            offset: AtomicI64::new(0),
            since: AtomicU64::new(0),
            said: AtomicU64::new(0),
            durations: Durations::of(&work.id),
        });
        self.watched.lock().push(Arc::downgrade(&running));
        running
    }

    /// Those that block their thread now.
    #[cfg(feature = "admin")]
    pub(crate) fn blocked(&self) -> Vec<Blocked> {
        let now = millis(self.watched.origin.elapsed());
        let running: Vec<_> = self.watched.lock().iter().filter_map(Weak::upgrade).collect();
        running.iter().filter_map(|running| running.blocks(now)).collect()
    }
}

impl Watched {
    fn look(&self) {
        let now = millis(self.origin.elapsed());
        self.lock().retain(|running| match running.upgrade() {
            Some(running) => {
                running.look(now);
                true
            }
            None => false,
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// The handler begins with the record at this offset.
    pub(super) fn begin(&self, offset: i64) -> Run<'_> {
        self.offset.store(offset, Ordering::Relaxed);
        self.said.store(0, Ordering::Relaxed);
        let now = Instant::now();
        let now_ms = millis(now.duration_since(self.origin));
        self.since.store(now_ms + 1, Ordering::Release);
        Run { running: self, began: now, is_told: self.durations.wants(now_ms) }
    }

    /// Whether it is past its deadline by so much that it must block its thread.
    fn blocks(&self, now: u64) -> Option<Blocked> {
        let since = self.since.load(Ordering::Acquire);
        let lasts = Duration::from_millis(now.saturating_sub(since.saturating_sub(1)));
        (since != 0 && lasts >= self.deadline + GRACE).then(|| Blocked {
            listener: Arc::clone(&self.listener),
            topic: Arc::clone(&self.topic),
            partition: self.partition,
            offset: self.offset.load(Ordering::Relaxed),
            lasts,
        })
    }

    fn look(&self, now: u64) {
        let Some(Blocked { listener, topic, partition, offset, lasts }) = self.blocks(now) else { return };
        let said = self.said.load(Ordering::Relaxed);
        if said != 0 && now.saturating_sub(said) < millis(SAY_EVERY) {
            return;
        }
        self.said.store(now.max(1), Ordering::Relaxed);
        tracing::error!(
            %listener, %topic, partition, offset, lasts = %format_args!("{lasts:.1?}"),
            deadline = %format_args!("{:.1?}", self.deadline),
            "the handler is past its deadline and blocks its thread, so that it cannot be ended; use async calls, or \
             `tokio::task::spawn_blocking` for what blocks or computes for long"
        );
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.running.since.store(0, Ordering::Release);
        if self.is_told {
            self.running.durations.tell(self.began.elapsed());
        }
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
