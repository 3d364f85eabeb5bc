//! What eos counts and measures, for the recorder that you install.
//!
//! The numbers go through the facade of the crate [`metrics`](https://docs.rs/metrics) (0.24), whose exporters (Prometheus,
//! StatsD, …) are yours to choose. Install one before [`run`](crate::run): what was made without one stays silent for good.
//! With the feature `admin` and `[admin] listen`, eos installs one for Prometheus where you have none: see [`admin`](mod@crate::admin).
//!
//! Counters of a listener and its records:
//!
//! | name | labels | counts |
//! |---|---|---|
//! | `eos_records_applied_total` | `listener` | records whose handler ran, and whose effects are committed where the listener is transactional |
//! | `eos_records_duplicate_total` | `listener` | records whose message id had been processed before |
//! | `eos_records_without_id_total` | `listener` | records of the two above that had no message id, and were deduped by position alone, or, by an idempotent listener, not at all |
//! | `eos_claims_lost_total` | `listener` | claims of an idempotent listener that were gone, or another's, before their record was marked as done: such a record may have been handled twice |
//! | `eos_dedupe_left_out_total` | `listener` | claims and marks that an idempotent listener with `on_outage = "process"` went on without |
//! | `eos_records_set_aside_total` | `listener` | records that no attempt could handle, and that are in `eos_dead_letter` instead |
//! | `eos_records_replayed_total` | `listener` | records that had been set aside, and were handled when somebody asked for it |
//! | `eos_records_parked_total` | `listener` | records that were parked, because they failed or because an earlier one of their key is |
//! | `eos_records_unparked_total` | `listener` | records that were parked, and are handled; they count as applied, too |
//! | `eos_attempts_begun_total` | `listener` | calls of the handler, whatever came of them; a batch is one |
//! | `eos_attempts_failed_total` | `listener` | attempts that failed, for whatever reason but an outage |
//! | `eos_attempts_retried_total` | `listener` | attempts that failed and are made again, at once or after a wait |
//! | `eos_partitions_taken_total` | `listener` | takes: a partition was assigned, or looked at again, and its worker knows where to go on |
//! | `eos_partitions_fenced_total` | `listener` | claims that found another owner in the partition's row; nothing of ours took effect |
//! | `eos_rebalances_total` | `listener`, `change` | partitions that the group gave (`assigned`), took back (`revoked`), or gave to another without asking (`lost`), as often as it did so |
//!
//! What is so at the moment, looked at once a second, and lag every five:
//!
//! | name | labels | is |
//! |---|---|---|
//! | `eos_partitions_owned` | `listener` | partitions that this process has |
//! | `eos_partitions_stopped` | `listener` | those of them that are stopped until a person has looked |
//! | `eos_listener_outage` | `listener` | 1 while the listener waits for something that is down, otherwise 0 |
//! | `eos_position` | `listener`, `topic`, `partition` | the next offset to handle; 0 once the partition is given up |
//! | `eos_lag_records` | `listener`, `topic`, `partition` | records behind the position that could be read; 0 once the partition is given up. Kafka is asked for the ends of all partitions of a topic in one question. A marker that ends a Kafka transaction has an offset and is never handled, so that a topic that is written in transactions can show a lag of one at rest |
//! | `eos_parked_records` | `listener`, `topic`, `partition` | records that are parked there, see [`dead_letters`](crate::dead_letters); 0 once the partition is given up |
//! | `eos_outbox_waiting` | `database` | entries of the outbox that are not in Kafka yet, without those that were refused. Up to 10,000 they are counted; beyond that it is the distance of the first and the last number, which is too high where some of them have left. It is looked at every five seconds, and more rarely where that takes the database longer than 50 ms |
//! | `eos_outbox_oldest_seconds` | `database` | how long the oldest of them (of the first 10,000) waits; 0 where none does |
//!
//! Durations, in seconds:
//!
//! | name | labels | of |
//! |---|---|---|
//! | `eos_handler_seconds` | `listener` | one call of the handler, without the claim and the commit around it; a batch is one. Of each partition (of each hand, with `concurrency_per_partition`) the first thousand of a second are told, beyond that one in 64: many thousands a second would cost more than the records |
//! | `eos_outbox_latency_seconds` | `database` | from an entry's creation in the database to its acknowledgement by Kafka (`exactly_once`: to the commit). Of a batch, 64 at most are told, evenly spread |
//!
//! | name | labels | counts |
//! |---|---|---|
//! | `eos_outbox_published_total` | `database` | entries of the outbox that this process has put into Kafka |
//! | `eos_outbox_refused_total` | `database` | refusals that were marked in an entry's row, see [`outbox`](mod@crate::outbox); one that is tried again and refused again counts again |
//!
//! All counters are of this process, from its start, and say the least that was done: a record whose COMMIT had no
//! answer, and which turns out to be committed, is in none of them. Those of a plain listener may be told up to 64 records
//! late while it is busy.
//!
//! ```no_run
//! # async fn example() -> eos_runtime::Result<()> {
//! // Any recorder does; this one of the facade's own drops what it is told.
//! drop(metrics::set_global_recorder(metrics::NoopRecorder));
//! eos_runtime::run().await
//! # }
//! ```

mod durations;
mod gauges;
mod names;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use metrics::{Counter, Histogram};

pub(crate) use durations::Durations;
pub(crate) use gauges::{ListenerGauges, OutboxGauges, PartitionGauges};
pub(crate) use names::describe;

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

/// A tally that is added to now and then: where a record takes less than a microsecond, a shared counter for each would
/// cost as much as the record. What is left is added when it is dropped.
#[derive(Debug)]
pub(crate) struct Purse<'t> {
    tally: &'t Tally,
    count: u64,
}

impl<'t> Purse<'t> {
    /// How many wait at the most.
    const FULL: u64 = 64;

    pub(crate) fn of(tally: &'t Tally) -> Self {
        Purse { tally, count: 0 }
    }

    /// One more.
    pub(crate) fn one(&mut self) {
        self.count += 1;
        if self.count == Self::FULL {
            self.empty();
        }
    }

    /// Adds what there is.
    pub(crate) fn empty(&mut self) {
        if self.count > 0 {
            self.tally.add(std::mem::take(&mut self.count));
        }
    }
}

impl Drop for Purse<'_> {
    fn drop(&mut self) {
        self.empty();
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
    /// Calls of the handler.
    pub(crate) begun: Tally,
    /// Attempts that failed.
    pub(crate) failed: Tally,
    /// Attempts that failed and are made again.
    pub(crate) retried: Tally,
    /// Partitions that were taken.
    pub(crate) taken: Tally,
    /// Claims that found another owner.
    pub(crate) fenced: Tally,
    /// Records without a message id, deduped by position alone.
    pub(crate) without_id: Tally,
    /// Records that were set aside.
    pub(crate) set_aside: Tally,
    /// Records that had been set aside, and were handled after all.
    pub(crate) replayed: Tally,
    /// Claims of ids that were lost before their record was marked as done.
    pub(crate) claims_lost: Tally,
    /// Steps of deduping that were left out, since Redis was down.
    pub(crate) undeduped: Tally,
    /// Records that were parked.
    pub(crate) parked: Tally,
    /// Records that were parked, and are handled.
    pub(crate) unparked: Tally,
}

impl ListenerCounts {
    /// Told to the recorder that is installed by now.
    pub(crate) fn of(listener: &str) -> Self {
        let tally =
            |name: &'static str| Tally::told(metrics::counter!(name, "listener" => listener.to_owned()));
        ListenerCounts {
            applied: tally("eos_records_applied_total"),
            duplicates: tally("eos_records_duplicate_total"),
            begun: tally("eos_attempts_begun_total"),
            retried: tally("eos_attempts_retried_total"),
            taken: tally("eos_partitions_taken_total"),
            fenced: tally("eos_partitions_fenced_total"),
            failed: tally("eos_attempts_failed_total"),
            without_id: tally("eos_records_without_id_total"),
            claims_lost: tally("eos_claims_lost_total"),
            undeduped: tally("eos_dedupe_left_out_total"),
            set_aside: tally("eos_records_set_aside_total"),
            parked: tally("eos_records_parked_total"),
            unparked: tally("eos_records_unparked_total"),
            replayed: tally("eos_records_replayed_total"),
        }
    }
}

/// What a listener's group did to its partitions.
#[derive(Debug)]
pub(crate) struct RebalanceCounts {
    pub(crate) assigned: Counter,
    pub(crate) revoked: Counter,
    pub(crate) lost: Counter,
}

impl RebalanceCounts {
    /// Told to the recorder that is installed by now.
    pub(crate) fn of(listener: &str) -> Self {
        let counter = |change: &'static str| metrics::counter!("eos_rebalances_total", "listener" => listener.to_owned(), "change" => change);
        RebalanceCounts { assigned: counter("assigned"), revoked: counter("revoked"), lost: counter("lost") }
    }
}

/// What a relay has done since it started.
#[derive(Debug)]
pub(crate) struct RelayCounts {
    /// Entries that are in Kafka.
    pub(crate) published: Tally,
    /// Refusals that were marked.
    pub(crate) refused: Tally,
    /// How long entries take to Kafka.
    latency: Histogram,
}

impl RelayCounts {
    /// Told to the recorder that is installed by now.
    pub(crate) fn of(database: &str) -> Self {
        let database = database.to_owned();
        RelayCounts {
            published: Tally::told(
                metrics::counter!("eos_outbox_published_total", "database" => database.clone()),
            ),
            refused: Tally::told(
                metrics::counter!("eos_outbox_refused_total", "database" => database.clone()),
            ),
            latency: metrics::histogram!("eos_outbox_latency_seconds", "database" => database),
        }
    }

    /// Entries that were created then are in Kafka now.
    pub(crate) fn acknowledged(&self, created: impl ExactSizeIterator<Item = Instant>) {
        /// As many of a batch, or a few more, say as much as all.
        const TOLD: usize = 64;
        let now = Instant::now();
        let step = created.len().div_ceil(TOLD).max(1);
        created.step_by(step).for_each(|created| self.latency.record(now.duration_since(created)));
    }
}
