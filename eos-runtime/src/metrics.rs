//! What eos counts, for the recorder that you install.
//!
//! The numbers go through the facade of the crate [`metrics`](https://docs.rs/metrics) (0.24), whose exporters (Prometheus,
//! StatsD, …) are yours to choose. Install one before [`run`](crate::run): counters that were made without one stay
//! silent for good.
//!
//! | name | labels | counts |
//! |---|---|---|
//! | `eos_records_applied_total` | `listener` | records whose handler ran, and whose effects are committed where the listener is transactional |
//! | `eos_records_duplicate_total` | `listener` | records whose message id had been processed before |
//! | `eos_records_without_id_total` | `listener` | records of the two above that had no message id, and were deduped by position alone |
//! | `eos_records_set_aside_total` | `listener` | records that no attempt could handle, and that are in `eos_dead_letter` instead |
//! | `eos_records_replayed_total` | `listener` | records that had been set aside, and were handled when somebody asked for it |
//! | `eos_records_parked_total` | `listener` | records that were parked, because they failed or because an earlier one of their key is |
//! | `eos_records_unparked_total` | `listener` | records that were parked, and are handled; they count as applied, too |
//! | `eos_attempts_failed_total` | `listener` | attempts that failed, for whatever reason but an outage |
//! | `eos_outbox_published_total` | `database` | entries of the outbox that this process has put into Kafka |
//! | `eos_outbox_refused_total` | `database` | refusals that were marked in an entry's row, see [`outbox`](mod@crate::outbox); one that is tried again and refused again counts again |
//!
//! All of them are counters of this process, from its start, and say the least that was done: a record whose COMMIT had no
//! answer, and which turns out to be committed, is in none of them.
//!
//! ```no_run
//! # async fn example() -> eos_runtime::Result<()> {
//! // Any recorder does; this one of the facade's own drops what it is told.
//! drop(metrics::set_global_recorder(metrics::NoopRecorder));
//! eos_runtime::run().await
//! # }
//! ```

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::Counter;

/// A counter that the process reads as well: what it did is said when it stops.
#[derive(Debug)]
pub(crate) struct Tally {
    sum: AtomicU64,
    told: Counter,
}

impl Tally {
    fn told(told: Counter) -> Self {
        Tally { sum: AtomicU64::new(0), told }
    }

    /// So many more.
    pub(crate) fn add(&self, count: u64) {
        self.sum.fetch_add(count, Ordering::Relaxed);
        self.told.increment(count);
    }

    /// One more.
    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// The sum since the process started.
    pub(crate) fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }
}

impl Default for Tally {
    /// Tells nobody.
    fn default() -> Self {
        Tally::told(Counter::noop())
    }
}

/// What a listener's workers have done since the process started.
#[derive(Debug, Default)]
pub(crate) struct ListenerCounts {
    /// Records whose handler ran and whose effects are committed.
    pub(crate) applied: Tally,
    /// Records whose message id had been processed before.
    pub(crate) duplicates: Tally,
    /// Attempts that failed.
    pub(crate) failed: Tally,
    /// Records without a message id, deduped by position alone.
    pub(crate) without_id: Tally,
    /// Records that were set aside.
    pub(crate) set_aside: Tally,
    /// Records that had been set aside, and were handled after all.
    pub(crate) replayed: Tally,
    /// Records that were parked.
    pub(crate) parked: Tally,
    /// Records that were parked, and are handled.
    pub(crate) unparked: Tally,
}

impl ListenerCounts {
    /// Told to the recorder that is installed by now.
    pub(crate) fn of(listener: &str) -> Self {
        let listener = listener.to_owned();
        ListenerCounts {
            applied: Tally::told(
                metrics::counter!("eos_records_applied_total", "listener" => listener.clone()),
            ),
            duplicates: Tally::told(
                metrics::counter!("eos_records_duplicate_total", "listener" => listener.clone()),
            ),
            failed: Tally::told(
                metrics::counter!("eos_attempts_failed_total", "listener" => listener.clone()),
            ),
            without_id: Tally::told(
                metrics::counter!("eos_records_without_id_total", "listener" => listener.clone()),
            ),
            set_aside: Tally::told(
                metrics::counter!("eos_records_set_aside_total", "listener" => listener.clone()),
            ),
            parked: Tally::told(
                metrics::counter!("eos_records_parked_total", "listener" => listener.clone()),
            ),
            unparked: Tally::told(
                metrics::counter!("eos_records_unparked_total", "listener" => listener.clone()),
            ),
            replayed: Tally::told(metrics::counter!("eos_records_replayed_total", "listener" => listener)),
        }
    }
}

/// What a relay has done since it started.
#[derive(Debug)]
pub(crate) struct RelayCounts {
    /// Entries that are in Kafka.
    pub(crate) published: Tally,
    /// Refusals that were marked.
    pub(crate) refused: Tally,
}

impl RelayCounts {
    /// Told to the recorder that is installed by now.
    pub(crate) fn of(database: &str) -> Self {
        let database = database.to_owned();
        RelayCounts {
            published: Tally::told(
                metrics::counter!("eos_outbox_published_total", "database" => database.clone()),
            ),
            refused: Tally::told(metrics::counter!("eos_outbox_refused_total", "database" => database)),
        }
    }
}
