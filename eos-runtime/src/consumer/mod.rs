//! The partition's worker: takes records in order and brings each through its attempt.
//!
//! It speaks to a [`Lease`](crate::source::Lease) and to a [`Store`](crate::store::Store), and knows neither Kafka
//! nor SQL. One tokio task runs per assigned partition; whoever handed out the lease joins it.
//!
//! ```text
//! lease → take the partition → is it our log? → seek → claim → handle → commit → (next) …
//!            ↑                                            │ not ours │ in doubt
//!            └────────────────────────────────────────────┴──────────┘
//! ```
//!
//! When a handler fails, `failure.rs` has the table of what follows; `outage.rs` and `breaker.rs` are what the partitions
//! of a listener know together; `parking.rs` is what a partition has parked; `transactional/failed.rs` does it, and
//! `aftermath.rs` where there is no database. `parallel` is a partition whose keys are handled side by side.

mod aftermath;
mod at_most_once;
#[cfg_attr(not(feature = "admin"), expect(dead_code, reason = "written all the same, for who looks"))]
mod board;
mod breaker;
mod exactly_once;
mod failure;
mod idempotent;
mod invoke;
mod joined;
mod log;
mod log_identity;
mod message_id;
pub(crate) mod once;
mod outage;
mod owner;
mod parallel;
mod parking;
mod plain;
mod queue;
mod seats;
mod slots;
mod span;
mod standing;
mod stopped;
#[cfg(test)]
mod tests;
mod transactional;
mod trouble;
mod vigil;
mod watchdog;
mod work;

pub(crate) use at_most_once::run as run_at_most_once;
pub(crate) use board::Board;
#[cfg(feature = "admin")]
pub(crate) use board::{Seen, State};
pub(crate) use breaker::Breaker;
pub(crate) use exactly_once::run as run_exactly_once;
pub(crate) use failure::{Chain, Classify, Rule};
pub(crate) use idempotent::Deduped;
pub(crate) use log::Log;
pub(crate) use outage::Outage;
pub(crate) use plain::run as run_plain;
pub(crate) use seats::Seats;
pub(crate) use slots::run as run_transactional;
pub(crate) use transactional::Bound;
pub(crate) use vigil::Vigil;
pub(crate) use watchdog::Watchdog;
pub(crate) use work::Work;
