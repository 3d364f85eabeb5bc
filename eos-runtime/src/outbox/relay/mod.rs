//! The relay: publishes what stands in the outbox, each key in order, and retries until it is there.
//!
//! | file | what it promises |
//! |---|---|
//! | `member.rs` | a relay among others: it lives, takes its share of the lanes, and hands them back when it stops |
//! | `shares.rs` | who should have which slots; a pure function, tested against every order of events |
//! | `lane.rs` | one lane: read, send, delete, round and round; a refused entry holds its key and nothing else |
//! | `reader.rs` | what waits, in order; late commits are not missed, and dead rows cost little |
//! | `batch.rs` | entries as records, as many at once as cannot hurt each other |
//! | `marker.rs` | which entries a transaction published, and no others |
//! | `sender.rs` | one batch to Kafka: at least once, or exactly once with a marker in the same transaction |
//!
//! ```text
//! member ── a task for each lane it owns ──► lane: reader → batch → sender → delete
//!    ▲  every third of the lease: who lives, who owns what (eos_relay, eos_lane)
//! ```
//!
//! The lease only keeps two owners from doing the same work. What makes "once" true is the `transactional.id` of the lane,
//! which fences, and the marker, which says what the last transaction published: see `sender.rs`.

mod batch;
mod lane;
mod marker;
mod member;
mod reader;
mod sender;
mod shares;

use std::time::Duration;

pub(crate) use member::run;

use crate::settings::{Delivery, OnUndeliverable, Outbox, Properties};

/// What a relay is told.
#[derive(Debug, Clone)]
pub(crate) struct RelayOptions {
    /// The name of its database in the settings.
    pub(crate) database: String,
    pub(crate) delivery: Delivery,
    /// How long published entries are kept; deleted at once where it is `None`.
    pub(crate) keep: Option<Duration>,
    /// How long an owner counts as alive without a word from it.
    pub(crate) lease: Duration,
    pub(crate) on_undeliverable: OnUndeliverable,
    /// librdkafka's properties for its producers.
    pub(crate) properties: Properties,
}

impl RelayOptions {
    /// The settings, for the relay of this database.
    pub(crate) fn of(database: &str, outbox: &Outbox) -> Self {
        let Outbox { relay: _, delivery, keep, lease, on_undeliverable, properties } = outbox.clone();
        RelayOptions { database: database.to_owned(), delivery, keep, lease, on_undeliverable, properties }
    }
}
