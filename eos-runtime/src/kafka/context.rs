//! What librdkafka calls back: it is written down here, and acted on by the poll loop.
//!
//! Callbacks run inside `poll`, and inside the consumer's `Drop`. A panic there would end consumption in silence, and
//! waiting there would stop polling; so a callback only appends to a list. librdkafka allows the answer to a rebalance
//! to come later: the group waits for our `assign` or `unassign`, and heartbeats go on meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};

use super::failure::Fault;

/// The notes of one client.
#[derive(Debug, Default)]
pub(super) struct Context {
    notes: Mutex<Notes>,
    /// Whether anything was called back since it was last asked: an empty answer of `poll` may mean that.
    called: AtomicBool,
    /// The consumer is being dropped, nobody reads notes any more: a rebalance is answered at once.
    closing: AtomicBool,
}

/// What was called back, in order.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) changes: Vec<Change>,
    pub(super) faults: Vec<Fault>,
}

/// What the group wants of this member; each wants one answer, in order.
#[derive(Debug)]
pub(super) enum Change {
    /// These were added.
    Assigned(Vec<(String, i32)>),
    /// These are to be given up, or are lost already.
    Revoked { partitions: Vec<(String, i32)>, lost: bool },
}

impl Context {
    /// Takes what was called back since last time.
    pub(super) fn take(&self) -> Notes {
        std::mem::take(&mut *self.notes())
    }

    /// Puts notes back that were taken too soon; nothing newer can have come, since callbacks run on the same thread.
    pub(super) fn give_back(&self, notes: Notes) {
        *self.notes() = notes;
    }

    /// Whether something was called back since this was last asked.
    pub(super) fn was_called(&self) -> bool {
        self.called.load(Ordering::Acquire) && self.called.swap(false, Ordering::AcqRel)
    }

    /// From here on rebalances are answered at once.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn note(&self, write: impl FnOnce(&mut Notes)) {
        write(&mut self.notes());
        self.called.store(true, Ordering::Release);
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.called.store(true, Ordering::Release);
        log(level, facility, message);
    }

    fn stats_raw(&self, _statistics: &[u8]) {
        self.called.store(true, Ordering::Release);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        self.note(|notes| notes.faults.push(Fault { code, reason: reason.to_owned() }));
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.closing.load(Ordering::Acquire) {
            // Whatever it is, the member leaves: librdkafka takes any answer as this one while it closes.
            if let Err(error) = consumer.unassign() {
                tracing::debug!(target: "eos::kafka", %error, "leaving the group");
            }
            return;
        }
        let partitions = names(list);
        let change = if kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            Change::Assigned(partitions)
        } else {
            Change::Revoked { partitions, lost: consumer.assignment_lost() }
        };
        self.note(|notes| notes.changes.push(change));
    }
}

/// The context of a client that only asks: whoever asks is told by the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::trace!(target: "eos::kafka", %error, reason, "a question's trouble");
    }
}

impl ConsumerContext for Quiet {}

fn names(list: &TopicPartitionList) -> Vec<(String, i32)> {
    list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}

/// librdkafka's log lines. Lost connections come as errors too, and are reported once an outage from there: here they
/// are details.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    let connection = matches!(facility, "FAIL" | "ERROR");
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "eos::kafka", facility, "{message}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning if !connection => {
            tracing::warn!(target: "eos::kafka", facility, "{message}");
        }
        RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning
        | RDKafkaLogLevel::Notice
        | RDKafkaLogLevel::Info => {
            tracing::debug!(target: "eos::kafka", facility, "{message}");
        }
        RDKafkaLogLevel::Debug => tracing::trace!(target: "eos::kafka", facility, "{message}"),
    }
}
