//! The other ways of a record: an outage is waited for, an attempt is tried again, and what no attempt can handle is set
//! aside, in one transaction with the position that moves past it.
//!
//! A record that is given up keeps on its way: its next claim is followed by the dead letter instead of the handler, so
//! that a fence, a lost answer or a crash means for it what it means for any other attempt.

use std::time::Duration;

use super::attempt::Handled;
use super::{Step, Try, Turn, Worker};
use crate::consumer::breaker::Admits;
use crate::consumer::failure::{Chain, Failure, Next};
use crate::fault;
use crate::store::{Begun, DeadLetter, Dialect, Fault, Open, Rest, fault_of};

/// How often two transactions that met are tried again at once before a wait is due, and counted.
const AT_ONCE_AT_MOST: u32 = 10;

impl<D: Dialect> Worker<'_, D> {
    /// The attempt did not begin: its handler did not run.
    pub(super) async fn not_begun(&mut self, error: sqlx::Error, rest: Rest<D>, a_try: Try) -> Step<D> {
        match D::fault(&error) {
            // A pooled connection that died while it was idle says nothing about the server: try the next one at once.
            Fault::Unavailable if self.outages == 0 || self.bound.store.pool.num_idle() > 0 => {
                self.outages += 1;
                Step::Begin(rest, a_try)
            }
            // Who waited this long may wait for one that sleeps with the row. A take ends such a one.
            Fault::Overdue => {
                tracing::warn!(
                    listener = %self.work.id, topic = a_try.record.topic(), partition = a_try.record.partition(),
                    offset = a_try.record.offset(), error = %Chain(&error), "a claim waited too long; taking again"
                );
                Step::Leave(Turn::NotOurs(rest.into_hold().await))
            }
            Fault::Unavailable
            | Fault::ReadOnly
            | Fault::Unready
            | Fault::Refused
            | Fault::Transient
            | Fault::Failed => self.failed(Failure::Begin(error), rest, a_try).await,
        }
    }

    /// Nothing of the attempt was committed.
    pub(super) async fn failed(&mut self, failure: Failure, rest: Rest<D>, a_try: Try) -> Step<D> {
        let next = failure.next(&self.work.classify);
        if next == Next::Outage {
            return self.met_outage(&failure, rest, a_try).await;
        }
        self.work.outage.over(&self.work.id);
        self.outages = 0;
        self.work.counts.failed.one();
        // The dead letter itself could not be written: it is not the record's turn to fail again.
        if a_try.given_up.is_some() {
            return self.again_after(self.work.retry.wait(1), rest, a_try).await;
        }
        let is_last = a_try.attempt >= self.work.retry.max && self.work.dead_letters.are_kept();
        match next {
            Next::AtOnce if self.at_once < AT_ONCE_AT_MOST => {
                self.at_once += 1;
                Step::Begin(rest, a_try)
            }
            Next::AtOnce | Next::Later if is_last => self.give_up(failure, rest, a_try).await,
            Next::AtOnce | Next::Later => self.again_later(&failure, rest, a_try).await,
            Next::SetAside if self.work.dead_letters.are_kept() => self.give_up(failure, rest, a_try).await,
            Next::SetAside | Next::Stop | Next::Outage => {
                rest.into_hold().await;
                Step::Leave(Turn::Stop { offset: Some(a_try.record.offset()), why: failure.into() })
            }
        }
    }

    /// Whether the connection should not be used again, because of what its database said.
    pub(super) fn is_outage_of_the_database(&self, failure: &Failure) -> bool {
        failure.database_error().is_some() && failure.next(&self.work.classify) == Next::Outage
    }

    /// Waits without a connection for what is down, together with the listener's other partitions. The attempt is as if it
    /// had not been: one that the row has counted is taken back, where the database is not what is down.
    async fn met_outage(&mut self, failure: &Failure, rest: Rest<D>, a_try: Try) -> Step<D> {
        self.outages += 1;
        self.work.outage.found(&self.work.id, &self.queue.lease, &self.work.retry, failure);
        let mut rest = self.give_seat_back(rest).await;
        match failure.database_error().map(fault_of) {
            Some(Fault::ReadOnly) => self.bound.store.freshness.renew(),
            None if rest.hold().begun == Begun::Attempts(a_try.attempt) => {
                let counting = rest.note_begun(
                    &self.bound.store,
                    self.work.options(),
                    Begun::Attempts(a_try.attempt - 1),
                );
                match counting.await {
                    Ok(true) => {}
                    Ok(false) => return Step::Leave(Turn::NotOurs(rest.into_hold().await)),
                    Err(error) => tracing::debug!(%error, "an attempt that met an outage stays counted"),
                }
            }
            Some(_) | None => {}
        }
        self.again_after(self.work.retry.wait(1), rest, a_try).await
    }

    async fn again_later(&mut self, failure: &Failure, rest: Rest<D>, a_try: Try) -> Step<D> {
        let wait = self.work.retry.wait(a_try.attempt);
        tracing::warn!(
            listener = %self.work.id, topic = a_try.record.topic(), partition = a_try.record.partition(),
            offset = a_try.record.offset(), attempt = a_try.attempt, of = self.work.attempts_at_most(),
            error = %Chain(failure),
            "the attempt failed and was rolled back; the partition waits and tries again in {wait:.1?}"
        );
        let attempt = a_try.attempt + 1;
        self.again_after(wait, rest, Try { attempt, ..a_try }).await
    }

    /// Sets the record aside with the next claim, unless so many were set aside one after another that it must be the
    /// program that is bad; then it is tried again until it may.
    async fn give_up(&mut self, failure: Failure, rest: Rest<D>, a_try: Try) -> Step<D> {
        match self.work.breaker.admits() {
            Admits::Now => Step::Begin(rest, Try { given_up: Some(failure), ..a_try }),
            Admits::After(wait, is_news) => {
                if is_news {
                    self.work.say_that_the_program_is_bad(&a_try.record, &failure, wait);
                }
                self.again_after(wait.min(self.work.retry.max_backoff), rest, a_try).await
            }
        }
    }

    /// Writes the dead letter in place of what the handler would have written.
    pub(super) async fn set_aside(&mut self, mut open: Open<D>, a_try: Try) -> Step<D> {
        let written = match &a_try.given_up {
            Some(failure) => {
                let topic = self.work.dead_letters.topic();
                let publish_to = topic.map(|topic| topic.of(a_try.record.topic()));
                let letter = DeadLetter {
                    record: &a_try.record,
                    message_id: a_try.message_id(),
                    listener: &self.work.id,
                    attempts: a_try.attempt,
                    reason: failure.reason(failure.next(&self.work.classify)),
                    error: &Chain(failure).to_string(),
                    publish_to: publish_to.as_deref(),
                };
                open.set_aside(letter).await
            }
            None => Ok(()),
        };
        match written {
            Ok(()) => {
                fault::point("after_set_aside");
                self.end(open, Handled::SetAside, a_try).await
            }
            Err(error) => {
                let rest = Rest::Hold(open.discard());
                self.not_begun(error, rest, a_try).await
            }
        }
    }

    /// It is in the table, and the partition goes on.
    pub(super) fn was_set_aside(&self, a_try: &Try) {
        let Some(failure) = &a_try.given_up else { return };
        self.work.counts.set_aside.one();
        tracing::error!(
            listener = %self.work.id, topic = a_try.record.topic(), partition = a_try.record.partition(),
            offset = a_try.record.offset(), attempts = a_try.attempt, error = %Chain(failure),
            reason = failure.reason(failure.next(&self.work.classify)).word(),
            "the record is set aside in `eos_dead_letter`, and its partition goes on"
        );
    }

    /// Waits without a connection, and answers a revocation at once.
    async fn again_after(&mut self, wait: Duration, rest: Rest<D>, a_try: Try) -> Step<D> {
        let rest = self.give_seat_back(rest).await;
        if self.queue.lease.revoked_within(wait).await {
            return Step::Leave(Turn::Revoked);
        }
        Step::Begin(rest, a_try)
    }
}
