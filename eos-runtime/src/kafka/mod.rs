//! Kafka, read and written: the only room that says `rdkafka`.
//!
//! | file | what it promises |
//! |---|---|
//! | `client.rs` | librdkafka's settings: the few that a promise hangs on, and defaults that keep memory small |
//! | `consumer.rs` | a group member: how it is started, asked and stopped |
//! | `poll.rs` | its thread: one loop that never waits long for anything |
//! | `pulse.rs` | whether that thread turns, for anybody to see |
//! | `partitions.rs` | what is assigned and what is being given up; every answer to a rebalance |
//! | `seek.rs` | delivery starts at the offset that was asked for, and nowhere else |
//! | `commits.rs` | offsets follow the database; a commit's answer proves membership |
//! | `copy.rs` | librdkafka's message → our record, one allocation |
//! | `context.rs` | what librdkafka calls back: written down, never acted on there |
//! | `cluster.rs`, `outage.rs` | questions to the cluster, asked off the poll thread; one report an outage |
//! | `producer.rs` | records leave in the order in which they were handed over, and the fate of each is told |
//! | `transactor` | outputs and positions in one Kafka transaction, on behalf of a member that the group knows |
//! | `topics.rs` | what is known of the topics that are written to |
//! | `markers.rs` | what a lane's last Kafka transaction published |
//! | `check.rs` | whether a topic's settings keep the promises |
//! | `inspect.rs` | what tools ask beside the services |
//! | `failure.rs` | which errors end the process, and whose turn it is |
//! | `embedded.rs` | librdkafka's in-process broker |

mod check;
mod client;
mod cluster;
mod commits;
mod consumer;
mod context;
mod copy;
pub mod embedded;
mod failure;
mod inspect;
mod markers;
mod outage;
mod partitions;
mod poll;
mod producer;
mod pulse;
mod seek;
#[cfg(test)]
mod tests;
mod topics;
mod transactor;

pub(crate) use check::TopicCheck;
pub(crate) use client::{ClientOptions, ConsumerOptions};
pub(crate) use cluster::Cluster;
pub(crate) use consumer::{Consumer, OnLease};
pub(crate) use failure::KafkaFailure;
pub use inspect::Members;
pub(crate) use markers::last_marker;
#[cfg(feature = "admin")]
pub(crate) use outage::Reach;
pub(crate) use producer::{Fate, NotSent, Outgoing, Producer, ProducerOptions, TransactionError};
#[cfg(feature = "admin")]
pub(crate) use pulse::Pulse;
pub(crate) use topics::{Topic, Topics};
pub(crate) use transactor::{Transactor, TransactorOptions};
