//! What follows a failed attempt where no database keeps records that are set aside: the same for plain and exactly-once
//! listeners.

use std::sync::Arc;
use std::time::Duration;

use super::breaker::Admits;
use super::failure::{Chain, Failure, Next};
use super::log::Fate;
use super::queue::Partition;
use super::work::Work;
use crate::record::Record;
use crate::source::LetterToTopic;
use crate::store::Reason;

/// What is to be done, once all that is to be said and counted of the attempt is.
pub(super) enum Aftermath {
    /// What the listener needs is down: it waits, and the attempt does not count.
    Outage,
    /// It goes to its topic of dead letters, which is counted and said where it is there.
    SetAside(LetterToTopic, Reason),
    /// It is tried again after so long, as this attempt.
    Again(Duration, u32),
    /// A person must look.
    Stop,
}

impl Work {
    /// Decides it, and says and counts the attempt.
    pub(super) fn aftermath(
        &self,
        partition: &impl Partition,
        record: &Record,
        attempt: u32,
        failure: &Failure,
    ) -> Aftermath {
        let next = failure.next(&self.classify);
        if next == Next::Outage {
            self.outage.found(&self.id, partition.place(), &self.retry, failure);
            return Aftermath::Outage;
        }
        self.outage.over(&self.id);
        self.counts.failed.one();
        let is_last = next == Next::SetAside || attempt >= self.retry.max;
        let reason = failure.reason(next);
        let letter = if is_last { self.letter(record, reason, || Chain(failure).to_string()) } else { None };
        let (wait, attempt) = match letter {
            Some(letter) => match self.breaker.admits() {
                Admits::Now => return Aftermath::SetAside(letter, reason),
                Admits::After(wait, is_news) => {
                    if is_news {
                        self.say_that_the_program_is_bad(record, failure, wait);
                    }
                    (wait.min(self.retry.max_backoff), attempt)
                }
            },
            None if matches!(next, Next::SetAside | Next::Stop) => return Aftermath::Stop,
            None => {
                let wait = self.retry.wait(attempt);
                self.say(record, attempt, &Chain(failure).to_string(), Fate::Again(wait));
                (wait, attempt + 1)
            }
        };
        self.counts.retried.one();
        partition.post().tries_again(record.offset(), attempt, self.attempts_at_most(), failure);
        Aftermath::Again(wait, attempt)
    }

    /// A record on its way to its topic of dead letters, where it has one.
    pub(super) fn letter(
        &self,
        record: &Record,
        reason: Reason,
        error: impl FnOnce() -> String,
    ) -> Option<LetterToTopic> {
        let topic = self.dead_letters.topic()?;
        Some(LetterToTopic {
            to: topic.of(record.topic()),
            record: record.clone(),
            group: Arc::clone(&self.group),
            reason: reason.word().to_owned(),
            error: error(),
            id: None,
        })
    }
}
