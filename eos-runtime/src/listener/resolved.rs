//! A listener as start-up resolved it: nothing in it is open, everything in it was checked.

use std::sync::Arc;
use std::time::Duration;

use super::retry::RetryPolicy;
use super::spec::{Body, Dedupe, IdSource, Isolation, OnFailure, OnOutage, PlainHandler, TxHandler};
use crate::kafka_tx::{KafkaTx, OutputId};

/// One listener that runs in this process.
#[derive(Debug, Clone)]
pub(crate) struct Listener {
    /// Names it in logs and settings, never in the database.
    pub(crate) id: &'static str,
    /// Each legal, none twice; no other listener of the group has one of them.
    pub(crate) topics: Vec<Arc<str>>,
    pub(crate) group: Arc<str>,
    /// How long one attempt may take.
    pub(crate) deadline: Duration,
    /// Consumers of it in this process, at least one.
    pub(crate) concurrency: u16,
    /// How many keys of a partition are handled side by side, at least one; one unless it is plain or idempotent.
    pub(crate) concurrency_per_partition: u16,
    pub(crate) promise: Promise,
    pub(crate) retry: RetryPolicy,
    pub(crate) on_failure: OnFailure,
    pub(crate) dead_letters: DeadLetters,
}

/// Where its records go that no attempt can handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeadLetters {
    /// Nowhere.
    Off,
    /// Into the table of its database.
    Table,
    /// Into the table, and from there to a topic.
    TableAndTopic(DeadLetterTopic),
    /// To a topic.
    Topic(DeadLetterTopic),
}

/// The topic of dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeadLetterTopic {
    /// That of the record, with `-dlt` behind it, as Spring Kafka has it.
    OfEach,
    /// This one.
    Named(Arc<str>),
}

impl DeadLetters {
    /// Whether it sets records aside at all.
    pub(crate) fn are_kept(&self) -> bool {
        *self != DeadLetters::Off
    }

    /// The topic, where one is written to.
    pub(crate) fn topic(&self) -> Option<&DeadLetterTopic> {
        match self {
            DeadLetters::Off | DeadLetters::Table => None,
            DeadLetters::TableAndTopic(topic) | DeadLetters::Topic(topic) => Some(topic),
        }
    }
}

impl DeadLetterTopic {
    /// Where a record of this topic goes.
    pub(crate) fn of(&self, topic: &str) -> String {
        match self {
            DeadLetterTopic::OfEach => format!("{topic}-dlt"),
            DeadLetterTopic::Named(name) => name.to_string(),
        }
    }
}

/// What it promises, with what that takes.
#[derive(Clone)]
pub(crate) enum Promise {
    /// At least once.
    Plain(PlainHandler),
    /// Offsets before bodies, of so many queued records at once.
    AtMostOnce(u32, PlainHandler),
    /// Outputs and offsets in one Kafka transaction.
    ExactlyOnce {
        /// How long a transaction stays open for more.
        commit_interval: Duration,
        /// How many records it may hold.
        commit_records: u32,
        message_id: OutputId,
        handler: TxHandler<KafkaTx>,
    },
    /// At least once, and at most one finished run of an id while it is remembered.
    Idempotent(PlainHandler, Idempotent),
    /// Once, by one commit.
    Transactional {
        /// Its kind is the body's.
        database: DatabaseRef,
        isolation: Isolation,
        dedupe: Dedupe,
        /// How many queued records may be handled in one transaction.
        group_commit: u32,
        /// How long a transaction may wait for more than are queued.
        max_wait: Duration,
        /// Into how many slots a partition's keys are split; at least one.
        key_slots: u16,
        /// Any but [`Body::Plain`].
        body: Body,
    },
}

/// How an idempotent listener knows what it has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Idempotent {
    pub(crate) medium: Medium,
    pub(crate) id: IdSource,
    /// How long a claim outlives a process that died.
    pub(crate) lease: Duration,
    pub(crate) on_outage: OnOutage,
}

/// What remembers its ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    /// Redis, each for so long once it is done.
    Redis { ttl: Duration },
    /// This one's inbox.
    Database(DatabaseRef),
}

/// A database of the plan, by its place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct DatabaseRef(pub(crate) usize);

impl Promise {
    /// The attribute's word for it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Promise::Plain(_) => "plain",
            Promise::AtMostOnce(..) => "at_most_once",
            Promise::ExactlyOnce { .. } => "exactly_once",
            Promise::Idempotent(..) => "idempotent",
            Promise::Transactional { .. } => "transactional",
        }
    }
}

impl std::fmt::Debug for Promise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Promise::Plain(_) => f.write_str("Plain"),
            Promise::AtMostOnce(at_once, _) => f.debug_tuple("AtMostOnce").field(at_once).finish(),
            Promise::ExactlyOnce { commit_interval, commit_records, message_id, handler: _ } => f
                .debug_struct("ExactlyOnce")
                .field("commit_interval", commit_interval)
                .field("commit_records", commit_records)
                .field("message_id", message_id)
                .finish_non_exhaustive(),
            Promise::Idempotent(_, options) => f.debug_tuple("Idempotent").field(options).finish(),
            Promise::Transactional {
                database,
                isolation,
                dedupe,
                group_commit,
                max_wait,
                key_slots,
                body,
            } => f
                .debug_struct("Transactional")
                .field("database", database)
                .field("isolation", isolation)
                .field("dedupe", dedupe)
                .field("group_commit", group_commit)
                .field("max_wait", max_wait)
                .field("key_slots", key_slots)
                .field("body", body)
                .finish(),
        }
    }
}
