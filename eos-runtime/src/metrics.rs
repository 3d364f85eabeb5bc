//! What eos counts, for the recorder that you install.
//!
//! The numbers go through the facade of the crate [`metrics`](https://docs.rs/metrics), whose exporters (Prometheus,
//! StatsD, …) are yours to choose. Install one before [`run`](crate::run): what is counted without one is not caught up.
//!
//! | name | labels | counts |
//! |---|---|---|
//! | `eos_records_applied_total` | `listener` | records whose handler ran and whose effects are committed |
//! | `eos_records_duplicate_total` | `listener` | records whose message id had been processed before |
//! | `eos_records_without_id_total` | `listener` | attempts at records without a message id, deduped by position alone |
//! | `eos_attempts_failed_total` | `listener` | attempts that failed and were rolled back |
//! | `eos_outbox_published_total` | | entries of the outbox that this process has put into Kafka |
//! | `eos_outbox_refused_total` | `topic` | entries that Kafka refused: each holds up its key until somebody mends it, see [`outbox`](crate::outbox) |
//!
//! All of them are counters of this process, from its start.
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
#[derive(Debug, Default)]
pub(crate) struct Tally {
    sum: AtomicU64,
    told: Told,
}

/// The recorder's end of it.
struct Told(Counter);

impl Tally {
    fn told(counter: Counter) -> Self {
        Tally { sum: AtomicU64::new(0), told: Told(counter) }
    }

    /// So many more.
    pub(crate) fn add(&self, count: u64) {
        self.sum.fetch_add(count, Ordering::Relaxed);
        self.told.0.increment(count);
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

impl Default for Told {
    /// Tells nobody.
    fn default() -> Self {
        Told(Counter::noop())
    }
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
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
    /// Attempts at records without a message id, deduped by position alone.
    pub(crate) without_id: Tally,
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
                metrics::counter!("eos_records_without_id_total", "listener" => listener),
            ),
        }
    }
}

/// What a relay has done since it started.
#[derive(Debug)]
pub(crate) struct RelayCounts {
    /// Entries that are in Kafka.
    pub(crate) published: Tally,
    /// Entries that Kafka refused.
    refused: Tally,
}

impl RelayCounts {
    /// Told to the recorder that is installed by now.
    pub(crate) fn new() -> Self {
        RelayCounts {
            published: Tally::told(metrics::counter!("eos_outbox_published_total")),
            refused: Tally::default(),
        }
    }

    /// An entry for this topic was refused.
    pub(crate) fn refused(&self, topic: &str) {
        self.refused.one();
        metrics::counter!("eos_outbox_refused_total", "topic" => topic.to_owned()).increment(1);
    }

    /// How many were refused.
    pub(crate) fn refused_so_far(&self) -> u64 {
        self.refused.sum()
    }
}
