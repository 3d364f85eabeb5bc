//! What the workers of one listener share: its settings, resolved, and what they count.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::board::Board;
use super::breaker::Breaker;
use super::failure::{Chain, Classify, Failure};
use super::idempotent::Deduped;
use super::log::Log;
use super::message_id::InboxId;
use super::outage::Outage;
use super::watchdog::Watchdog;
use crate::extract::{Delivery, States};
use crate::listener::resolved::DeadLetters;
use crate::listener::retry::RetryPolicy;
use crate::listener::spec::{Dedupe, Isolation, OnFailure};
use crate::metrics::ListenerCounts;
use crate::record::Record;
use crate::settings::{RetentionGap, Start};
use crate::source::LetterBox;
use crate::store::StoreOptions;

/// A listener as its workers see it; read-only but for the counts, and what they know of outages and failures in a row.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) id: Arc<str>,
    pub(crate) group: Arc<str>,
    pub(crate) deadline: Duration,
    /// How many keys of a partition are handled side by side, where it has no transaction.
    pub(crate) hands: u16,
    pub(crate) isolation: Isolation,
    pub(crate) dedupe: Dedupe,
    /// How many queued records may be handled in one transaction.
    pub(crate) group_commit: u32,
    /// How long a transaction may wait for more records than are queued.
    pub(crate) max_wait: Duration,
    /// Into how many slots each partition's keys are to be split.
    pub(crate) key_slots: i32,
    /// One permit: see `transactional`.
    pub(crate) suspects: Arc<Semaphore>,
    /// How often a slot whose keys are silent is taken on to where the others are.
    pub(crate) take_on_every: Duration,
    /// Where it is idempotent.
    pub(crate) deduped: Option<Deduped>,
    pub(crate) states: States,
    /// Headers that may carry the message id; the first present wins.
    pub(crate) id_headers: Arc<[String]>,
    pub(crate) classify: Classify,
    pub(crate) retry: RetryPolicy,
    /// What its partition does while a record that failed waits.
    pub(crate) on_failure: OnFailure,
    /// How many records of a partition may be parked before it waits.
    pub(crate) parked_at_most: usize,
    /// Where records go that no attempt can handle.
    pub(crate) dead_letters: DeadLetters,
    /// Where they are handed over for a topic, where this process writes to one.
    pub(crate) letters: Option<LetterBox>,
    pub(crate) board: Arc<Board>,
    pub(crate) breaker: Breaker,
    pub(crate) outage: Outage,
    pub(crate) watchdog: Watchdog,
    pub(crate) log: Log,
    /// How often a stopped partition says so again.
    pub(crate) stopped_log_every: Duration,
    pub(crate) start: Start,
    pub(crate) on_gap: RetentionGap,
    /// The Kafka cluster that we are connected to, where it says so.
    pub(crate) cluster: Option<Arc<str>>,
    pub(crate) counts: ListenerCounts,
}

impl Work {
    pub(crate) fn options(&self) -> StoreOptions {
        StoreOptions { isolation: self.isolation, deadline: self.deadline }
    }

    /// How many attempts a record has, for the log; none where it is tried for ever.
    pub(super) fn attempts_at_most(&self) -> Option<u32> {
        self.dead_letters.are_kept().then_some(self.retry.max)
    }

    /// So many were set aside one after another that they wait now.
    pub(super) fn say_that_the_program_is_bad(&self, record: &Record, failure: &Failure, wait: Duration) {
        tracing::error!(
            listener = %self.id, topic = record.topic(), partition = record.partition(), offset = record.offset(),
            error = %Chain(failure),
            "{} records in a row were set aside or parked, and none was handled between them: is it the program? From here on one \
             goes each {wait:.1?}, and the others wait and are tried again (`[dead_letters] breaker` and `breaker_pace`)",
            self.breaker.limit()
        );
    }

    /// The id that the record is deduped by, where it has one and that is wanted.
    pub(super) fn inbox_id(&self, record: &Record) -> Option<InboxId> {
        match self.dedupe {
            Dedupe::MessageId => self.delivery(record, 1).message_id().and_then(InboxId::new),
            Dedupe::Position => None,
        }
    }

    pub(crate) fn delivery<'a>(&'a self, record: &'a Record, attempt: u32) -> Delivery<'a> {
        Delivery { record, attempt, states: &self.states, id_headers: &self.id_headers }
    }
}
