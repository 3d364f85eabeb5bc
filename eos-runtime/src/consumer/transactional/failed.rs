//! The other ways of a record: an outage is waited for, an attempt is tried again, and what no attempt can handle is set
//! aside, in one transaction with the position that moves past it.
//!
//! A record that is given up, or parked, keeps on its way: its next claim is followed by its row instead of the handler,
//! so that a fence, a lost answer or a crash means for it what it means for any other attempt.

use std::time::Duration;

use super::attempt::Handled;
use super::{Aside, Deed, Step, Try, Turn, Worker};
use crate::consumer::breaker::Admits;
use crate::consumer::failure::{Chain, Failure, Next};
use crate::consumer::log::Fate;
use crate::fault;
use crate::store::{Begun, DeadLetter, Dialect, Fault, Open, Reason, Rest, State, fault_of};

/// How often two transactions that met are tried again at once before a wait is due, and counted.
const AT_ONCE_AT_MOST: u32 = 10;

impl<D: Dialect> Worker<'_, D> {
    /// The attempt did not begin: its handler did not run.
    pub(super) async fn not_begun(&mut self, error: sqlx::Error, rest: Rest<D>, a_try: Try) -> Step<D> {
        match D::fault(&error) {
            // A pooled connection that died while it was idle says nothing about the server: try the next one at once.
            Fault::Unavailable if self.outages == 0 || self.bound.store.pool.num_idle() > 0 => {
                self.outages += 1;
                self.may_have_lost_its_tail = true;
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
        (self.is_inherited, self.alone) = (false, None);
        self.work.counts.failed.one();
        // The dead letter itself could not be written: it is not the record's turn to fail again.
        if !a_try.deed.is_to_handle() {
            return self.again_after(self.work.retry.wait(1), rest, a_try).await;
        }
        let is_last = a_try.attempt >= self.work.retry.max && self.work.dead_letters.are_kept();
        match next {
            Next::AtOnce if self.at_once < AT_ONCE_AT_MOST => {
                self.at_once += 1;
                self.work.counts.retried.one();
                Step::Begin(rest, a_try)
            }
            // Its handler did not run: it is not the record's fault.
            Next::AtOnce if matches!(failure, Failure::Begin(_)) => {
                self.met_outage(&failure, rest, a_try).await
            }
            Next::AtOnce | Next::Later if is_last => self.give_up(failure, rest, a_try).await,
            Next::AtOnce | Next::Later if self.parks() => self.park(failure, rest, a_try).await,
            Next::AtOnce | Next::Later => self.again_later(&failure, rest, a_try).await,
            Next::SetAside if self.work.dead_letters.are_kept() => self.give_up(failure, rest, a_try).await,
            Next::SetAside | Next::Stop | Next::Outage => {
                rest.into_hold().await;
                Step::Leave(Turn::Stop { offset: Some(a_try.record.offset()), why: failure.into() })
            }
        }
    }

    /// Nothing of a failed attempt stays, and its connection only where it can be relied on.
    pub(super) async fn undo(&self, open: Open<D>, failure: &Failure) -> Rest<D> {
        if matches!(failure, Failure::Overran(_)) {
            Rest::Hold(open.abandon().await)
        } else if self.is_outage_of_the_database(failure) {
            Rest::Hold(open.discard())
        } else {
            open.rollback().await
        }
    }

    /// Whether the connection should not be used again, because of what its database said.
    fn is_outage_of_the_database(&self, failure: &Failure) -> bool {
        failure.database_error().is_some() && failure.next(&self.work.classify) == Next::Outage
    }

    /// Waits without a connection for what is down, together with the listener's other partitions. The attempt is as if it
    /// had not been.
    async fn met_outage(&mut self, failure: &Failure, rest: Rest<D>, a_try: Try) -> Step<D> {
        self.outages += 1;
        self.alone = None;
        self.may_have_lost_its_tail |= failure.database_error().is_some();
        self.work.outage.found(&self.work.id, &self.queue.lease, &self.work.retry, failure);
        if failure.database_error().map(fault_of) == Some(Fault::ReadOnly) {
            self.bound.store.freshness.renew();
        }
        let mut rest = self.give_seat_back(rest).await;
        self.take_back(&mut rest).await;
        self.again_after(self.work.retry.wait(1), rest, a_try).await
    }

    /// What the row counts and has not failed is taken back, where the database lets us: an owner that comes after us would
    /// take it for an attempt that ended its process.
    pub(super) async fn take_back(&mut self, rest: &mut Rest<D>) {
        const PATIENCE: Duration = Duration::from_secs(2);
        let counted = match rest.hold().begun {
            Begun::Attempts(count) => count > self.failed,
            Begun::Group => true,
        };
        if !counted {
            return;
        }
        let (store, options) = (&self.bound.store, self.work.options());
        let noting = rest.note_begun(store, options, Begun::Attempts(self.failed));
        match tokio::time::timeout(PATIENCE, noting).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "an attempt that has not failed stays counted for now"),
            Err(_elapsed) => tracing::debug!("an attempt that has not failed stays counted for now"),
        }
    }

    pub(super) async fn again_later(&mut self, failure: &Failure, rest: Rest<D>, a_try: Try) -> Step<D> {
        let wait = self.work.retry.wait(a_try.attempt);
        self.work.say(&a_try.record, a_try.attempt, &Chain(failure).to_string(), Fate::Again(wait));
        self.failed = a_try.attempt;
        let attempt = a_try.attempt + 1;
        self.work.counts.retried.one();
        self.queue.post.tries_again(a_try.record.offset(), attempt, self.work.attempts_at_most(), failure);
        self.again_after(wait, rest, Try { attempt, ..a_try }).await
    }

    /// Sets the record aside with the next claim, unless so many were set aside one after another that it must be the
    /// program that is bad; then it is tried again until it may.
    async fn give_up(&mut self, failure: Failure, rest: Rest<D>, a_try: Try) -> Step<D> {
        match self.work.breaker.admits() {
            Admits::Now => Step::Begin(rest, Try { deed: Deed::SetAside(Aside::Dead(failure)), ..a_try }),
            Admits::After(wait, is_news) => {
                if is_news {
                    self.work.say_that_the_program_is_bad(&a_try.record, &failure, wait);
                }
                // Whoever takes the partition meanwhile may run a better program.
                self.failed = a_try.attempt - 1;
                self.work.counts.retried.one();
                self.queue.post.tries_again(a_try.record.offset(), a_try.attempt, None, &failure);
                let mut rest = self.give_seat_back(rest).await;
                self.take_back(&mut rest).await;
                self.again_after(wait.min(self.work.retry.max_backoff), rest, a_try).await
            }
        }
    }

    /// Sets a record aside whose attempts nobody saw the end of: it is not tried once more, however long it has to wait.
    pub(super) async fn give_up_unseen(&mut self, rest: Rest<D>, a_try: Try) -> Step<D> {
        let killed = Failure::Killed { attempts: a_try.attempt };
        let mut rest = rest;
        loop {
            let Admits::After(wait, is_news) = self.work.breaker.admits() else {
                return Step::Begin(rest, Try { deed: Deed::SetAside(Aside::Dead(killed)), ..a_try });
            };
            if is_news {
                self.work.say_that_the_program_is_bad(&a_try.record, &killed, wait);
            }
            rest = self.give_seat_back(rest).await;
            if self.queue.lease.revoked_within(wait.min(self.work.retry.max_backoff)).await {
                return Step::Leave(Turn::Revoked);
            }
        }
    }

    /// Goes on behind its row, which was written in place of what the handler would have written.
    pub(super) async fn was_written(
        &mut self,
        written: sqlx::Result<i64>,
        handled: Handled,
        open: Open<D>,
        a_try: Try,
    ) -> Step<D> {
        match written {
            Ok(row) => {
                fault::point("after_set_aside");
                self.end(open, handled, Try { row: Some(row), ..a_try }).await
            }
            Err(error) => {
                let rest = Rest::Hold(open.discard());
                self.not_begun(error, rest, a_try).await
            }
        }
    }

    /// Writes the row of one that is set aside; its number.
    pub(super) async fn write_aside(
        &self,
        aside: &Aside,
        open: &mut Open<D>,
        a_try: &Try,
    ) -> sqlx::Result<i64> {
        let (state, reason, error) = match aside {
            Aside::Dead(failure) => (State::Dead, self.reason(failure), Chain(failure).to_string()),
            Aside::Parked(failure) => (State::Parked, self.reason(failure), Chain(failure).to_string()),
            Aside::Behind => {
                (State::Parked, Reason::Behind, "an earlier record of its key is parked".to_owned())
            }
        };
        // What is parked may still be handled.
        let topic = self.work.dead_letters.topic().filter(|_| state == State::Dead);
        let publish_to = topic.map(|topic| topic.of(a_try.record.topic()));
        let letter = DeadLetter {
            state,
            record: &a_try.record,
            message_id: a_try.message_id(),
            listener: &self.work.id,
            attempts: a_try.attempt,
            reason,
            error: &error,
            publish_to: publish_to.as_deref(),
        };
        open.set_aside(letter).await
    }

    fn reason(&self, failure: &Failure) -> Reason {
        failure.reason(failure.next(&self.work.classify))
    }

    /// It is in the table, and the partition goes on.
    pub(super) fn was_set_aside(&self, a_try: &Try) {
        let Deed::SetAside(Aside::Dead(failure)) = &a_try.deed else { return };
        self.work.counts.set_aside.one();
        let fate = Fate::Dead(self.reason(failure));
        self.work.say(&a_try.record, a_try.attempt, &Chain(failure).to_string(), fate);
    }

    /// Waits without a connection, and answers a revocation at once.
    async fn again_after(&mut self, wait: Duration, rest: Rest<D>, a_try: Try) -> Step<D> {
        let mut rest = self.give_seat_back(rest).await;
        if self.queue.lease.revoked_within(wait).await {
            self.take_back(&mut rest).await;
            return Step::Leave(Turn::Revoked);
        }
        Step::Begin(rest, a_try)
    }
}
