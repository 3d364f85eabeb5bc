//! A transactional listener's partition: position, inbox and the handler's rows in one commit, record after record.
//!
//! The loop is a small machine. Each [`Step`] holds what the next one needs, so that a session, a claimed record or
//! an open transaction cannot be used twice. While the next record is already queued, committing one and claiming
//! the next are one move (and on PostgreSQL one message).
//!
//! Revocation cancels the lease's token: the attempt in flight goes on to its commit or rollback, no other begins.

use std::sync::Arc;
use std::time::Duration;

use super::failure::{Chain, Failure, Next};
use super::invoke::invoke;
use super::log_identity::StartAt;
use super::message_id::InboxId;
use super::owner::{self, Halt, Owned, Trouble};
use super::queue::Queue;
use super::seats::{Seat, Seats};
use super::standing::second_look;
use super::stopped::stopped;
use super::vigil::{Vigil, Watch};
use super::work::Work;
use crate::error::BoxError;
use crate::fault;
use crate::listener::spec::{Dedupe, TxHandler};
use crate::record::Record;
use crate::source::Lease;
use crate::store::{ChainFailed, Claim, Claimed, CommitFailed, Dialect, Fault, Hold, Open, Rest, Store, Tx};

/// How long a session keeps its connection with nothing to do.
const IDLE_SESSION: Duration = Duration::from_secs(1);

/// How often two transactions that met are tried again at once before a wait is due.
const AT_ONCE_AT_MOST: u32 = 10;

/// A listener's database, with what its workers share.
#[derive(Debug)]
pub(crate) struct Bound<D: Dialect> {
    pub(crate) store: Arc<Store<D>>,
    pub(crate) seats: Seats,
    pub(crate) vigil: Vigil,
}

impl<D: Dialect> Clone for Bound<D> {
    fn clone(&self) -> Self {
        Bound { store: Arc::clone(&self.store), seats: self.seats.clone(), vigil: self.vigil.clone() }
    }
}

/// Works on a lease until it is revoked.
pub(crate) async fn run<D: Dialect>(
    lease: Lease,
    work: Arc<Work>,
    bound: Bound<D>,
    handler: TxHandler<Tx<D>>,
) {
    let mut queue = Queue::new(lease);
    let mut took_again = 0;
    let mut doubts = 0;
    let mut suspicions = 0;
    loop {
        let owned = match owner::take(&work, &bound.store, &mut queue).await {
            Ok(owned) => owned,
            Err(Halt::Revoked) => return,
            Err(Halt::Stop(why)) => return stopped(&work, &queue.lease, None, &*why).await,
        };
        let watch = bound.vigil.watch(&owned.hold.key, owned.hold.token, owned.hold.next_offset);
        let mut worker = Worker {
            work: &work,
            bound: &bound,
            handler,
            queue: &mut queue,
            watch,
            start: owned.start,
            seat: None,
            at_once: 0,
            moved_on: false,
            trouble: Trouble::default(),
        };
        let turn = worker.until_halt(owned).await;
        if worker.moved_on {
            (took_again, doubts, suspicions) = (0, 0, 0);
        }
        match turn {
            Turn::Revoked => return,
            Turn::Stop { offset, why } => return stopped(&work, &queue.lease, offset, &*why).await,
            Turn::InDoubt(error) => {
                doubts += 1;
                tracing::warn!(
                    listener = %work.id, topic = %queue.lease.topic, partition = queue.lease.partition,
                    error = %Chain(&error),
                    "the answer to COMMIT was lost; taking the partition again to learn what it was"
                );
                if queue.lease.revoked_within(work.retry.wait(doubts)).await {
                    return;
                }
            }
            // Once it is looked at again at once; a log that stays unreadable is asked for ever more rarely.
            Turn::Suspicion => {
                let wait = if suspicions == 0 { Duration::ZERO } else { work.retry.wait(suspicions) };
                suspicions += 1;
                if queue.lease.revoked_within(wait).await {
                    return;
                }
            }
            Turn::NotOurs(hold) => {
                took_again += 1;
                if !second_look(&work, &bound.store, &queue.lease, &hold, took_again).await {
                    return;
                }
            }
        }
    }
}

/// Why the worker left its loop.
enum Turn<L> {
    Revoked,
    /// Nobody knows whether the last attempt was committed.
    InDoubt(sqlx::Error),
    /// The row is not where this assignment left it.
    NotOurs(Hold<L>),
    /// The source cannot go on reading: is it still our log?
    Suspicion,
    /// The partition stops.
    Stop {
        offset: Option<i64>,
        why: BoxError,
    },
}

/// Whether an attempt that is about to commit has run its handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handled {
    Ran,
    Duplicate,
}

/// What to do next, with all that it needs.
enum Step<D: Dialect> {
    /// Wait for a record.
    Wait(Rest<D>),
    /// Begin an attempt at this record.
    Begin(Rest<D>, Record, u32),
    /// It is claimed.
    Claimed(Claimed<D>, Record, u32),
    /// Leave.
    Leave(Turn<D::Locator>),
}

struct Worker<'a, D: Dialect> {
    work: &'a Work,
    bound: &'a Bound<D>,
    handler: TxHandler<Tx<D>>,
    queue: &'a mut Queue,
    watch: Watch,
    start: StartAt,
    /// Held as long as a session is.
    seat: Option<Seat>,
    /// Attempts that were tried again at once, in a row.
    at_once: u32,
    /// Whether anything was committed.
    moved_on: bool,
    trouble: Trouble,
}

impl<D: Dialect> Worker<'_, D> {
    async fn until_halt(&mut self, owned: Owned<D::Locator>) -> Turn<D::Locator> {
        let mut step = Step::Wait(Rest::Hold(owned.hold));
        loop {
            step = match step {
                Step::Wait(rest) => self.wait(rest).await,
                Step::Begin(rest, record, attempt) => self.begin(rest, record, attempt).await,
                Step::Claimed(claimed, record, attempt) => self.claimed(claimed, record, attempt).await,
                Step::Leave(turn) => return turn,
            };
        }
    }

    /// The next record to handle; a session with nothing to do goes back to the pool.
    async fn wait(&mut self, mut rest: Rest<D>) -> Step<D> {
        let revoked = self.queue.lease.revoked.clone();
        let suspicion = self.queue.lease.suspicion();
        self.watch.idle_at(rest.hold().next_offset);
        loop {
            if revoked.is_cancelled() {
                rest.into_hold().await;
                return Step::Leave(Turn::Revoked);
            }
            if self.queue.lease.is_orphaned() {
                let hold = rest.into_hold().await;
                let why = owner::disown(self.work, &self.bound.store, &hold).await.into();
                return Step::Leave(Turn::Stop { offset: None, why });
            }
            if self.bound.seats.wanted_now() {
                rest = self.give_seat_back(rest).await;
            }
            let has_seat = self.seat.is_some();
            let record = tokio::select! {
                biased;
                record = self.queue.next() => record,
                () = revoked.cancelled() => continue,
                () = self.watch.suspect() => return Step::Leave(Turn::NotOurs(rest.into_hold().await)),
                () = suspicion.notified() => {
                    if self.queue.lease.is_orphaned() {
                        continue;
                    }
                    rest.into_hold().await;
                    return Step::Leave(Turn::Suspicion);
                }
                () = self.bound.seats.wanted(), if has_seat => continue,
                () = tokio::time::sleep(IDLE_SESSION), if has_seat => {
                    rest = self.give_seat_back(rest).await;
                    continue;
                }
            };
            let Some(record) = record else {
                rest.into_hold().await;
                return Step::Leave(Turn::Revoked);
            };
            match self.start.admit(&record, rest.hold().next_offset) {
                Ok(true) => return Step::Begin(rest, record, 1),
                Ok(false) => {}
                Err(wrong) => {
                    rest.into_hold().await;
                    return Step::Leave(Turn::Stop { offset: Some(record.offset()), why: wrong.into() });
                }
            }
        }
    }

    async fn give_seat_back(&mut self, rest: Rest<D>) -> Rest<D> {
        let hold = rest.into_hold().await;
        self.seat = None;
        Rest::Hold(hold)
    }

    async fn begin(&mut self, rest: Rest<D>, record: Record, attempt: u32) -> Step<D> {
        self.watch.busy();
        let revoked = self.queue.lease.revoked.clone();
        if revoked.is_cancelled() {
            rest.into_hold().await;
            return Step::Leave(Turn::Revoked);
        }
        if self.seat.is_none() {
            self.seat = tokio::select! {
                biased;
                () = revoked.cancelled() => return Step::Leave(Turn::Revoked),
                seat = self.bound.seats.take() => Some(seat),
            };
        }
        let session = match rest.reopen(&self.bound.store, self.work.options()).await {
            Ok(session) => session,
            Err((error, hold)) => return self.not_begun(error, Rest::Hold(hold), record, attempt).await,
        };
        fault::point("before_claim");
        let id = self.inbox_id(&record);
        match session.begin(claim(&record, &id)).await {
            Ok(claimed) => Step::Claimed(claimed, record, attempt),
            Err((error, rest)) => self.not_begun(error, rest, record, attempt).await,
        }
    }

    async fn claimed(&mut self, claimed: Claimed<D>, record: Record, attempt: u32) -> Step<D> {
        self.trouble.over(self.work, &self.queue.lease, "attempts go on");
        let (open, handled) = match claimed {
            Claimed::NotOurs(rest) => return Step::Leave(Turn::NotOurs(rest.into_hold().await)),
            Claimed::Duplicate(open) => {
                tracing::debug!(
                    listener = %self.work.id, topic = record.topic(), partition = record.partition(),
                    offset = record.offset(), "a duplicate: its message id was processed before"
                );
                (open, Handled::Duplicate)
            }
            Claimed::Fresh(mut open) => {
                fault::point("after_claim");
                let outcome = {
                    let delivery = self.work.delivery(&record, attempt);
                    invoke((self.handler)(open.tx_to_handle(&record), &delivery), self.work.deadline).await
                };
                match outcome {
                    Ok(()) => (open, Handled::Ran),
                    Err(failure @ Failure::Overran(_)) => {
                        let rest = Rest::Hold(open.abandon().await);
                        return self.failed(failure, rest, record, attempt).await;
                    }
                    Err(failure) => {
                        return self.failed(failure, open.rollback().await, record, attempt).await;
                    }
                }
            }
        };
        fault::point("after_handler");
        self.end(open, handled, record, attempt).await
    }

    /// Commits; with the next record's claim in the same move, where one is queued.
    async fn end(&mut self, open: Open<D>, handled: Handled, record: Record, attempt: u32) -> Step<D> {
        let lease = &self.queue.lease;
        let goes_on = !lease.revoked.is_cancelled() && !lease.is_orphaned() && !self.bound.seats.wanted_now();
        let Some(next) = goes_on.then(|| self.queue.try_next()).flatten() else {
            return match open.commit().await {
                Ok(session) => {
                    self.committed(handled, &record);
                    Step::Wait(Rest::Session(session))
                }
                Err((failed, rest)) => self.not_committed(failed, rest, record, attempt).await,
            };
        };
        let id = self.inbox_id(&next);
        match open.commit_and_begin(claim(&next, &id)).await {
            Ok(claimed) => {
                self.committed(handled, &record);
                Step::Claimed(claimed, next, 1)
            }
            Err(ChainFailed::Next(error, rest)) => {
                self.committed(handled, &record);
                self.not_begun(error, rest, next, 1).await
            }
            Err(ChainFailed::Commit(failed, rest)) => {
                self.queue.give_back(next);
                self.not_committed(failed, rest, record, attempt).await
            }
        }
    }

    fn committed(&mut self, handled: Handled, record: &Record) {
        fault::point("after_commit");
        self.at_once = 0;
        self.moved_on = true;
        self.queue.lease.committed(record.offset() + 1);
        match handled {
            Handled::Ran => self.work.counts.applied.one(),
            Handled::Duplicate => self.work.counts.duplicates.one(),
        }
        if self.work.dedupe == Dedupe::MessageId && self.inbox_id(record).is_none() {
            self.work.counts.without_id.one();
        }
    }

    async fn not_committed(
        &mut self,
        failed: CommitFailed,
        rest: Rest<D>,
        record: Record,
        attempt: u32,
    ) -> Step<D> {
        match failed {
            CommitFailed::InDoubt(error) => Step::Leave(Turn::InDoubt(error)),
            CommitFailed::RolledBack(error) => {
                self.failed(Failure::Commit(error), rest, record, attempt).await
            }
            CommitFailed::Strayed(error) => self.failed(Failure::Strayed(error), rest, record, attempt).await,
        }
    }

    /// The attempt did not begin: its handler did not run. An unreachable database is waited for, uncounted.
    async fn not_begun(
        &mut self,
        error: sqlx::Error,
        rest: Rest<D>,
        record: Record,
        attempt: u32,
    ) -> Step<D> {
        match D::fault(&error) {
            Fault::Unavailable | Fault::Refused => {
                self.trouble.say(self.work, &self.queue.lease, "the database cannot be used", &error);
                // A pooled connection that died while it was idle says nothing about the server: try the next one at once.
                let wait = match self.trouble.failures {
                    1 => Duration::ZERO,
                    _ if self.bound.store.pool.num_idle() > 0 => Duration::ZERO,
                    failures => self.work.retry.wait(failures),
                };
                self.again_after(wait, rest, record, attempt).await
            }
            // Who waited this long may wait for one that sleeps with the row. A take ends such a one.
            Fault::Overdue => {
                self.trouble.say(
                    self.work,
                    &self.queue.lease,
                    "a claim waited too long; taking again",
                    &error,
                );
                Step::Leave(Turn::NotOurs(rest.into_hold().await))
            }
            Fault::Transient | Fault::Failed => {
                self.failed(Failure::Begin(error), rest, record, attempt).await
            }
        }
    }

    async fn failed(&mut self, failure: Failure, rest: Rest<D>, record: Record, attempt: u32) -> Step<D> {
        self.work.counts.failed.one();
        let mut next = failure.next::<D>(&self.work.classify);
        if next == Next::AtOnce {
            self.at_once += 1;
            if self.at_once <= AT_ONCE_AT_MOST {
                return Step::Begin(rest, record, attempt);
            }
            next = Next::Later;
        }
        if next == Next::Stop {
            rest.into_hold().await;
            return Step::Leave(Turn::Stop { offset: Some(record.offset()), why: failure.into() });
        }
        let wait = self.work.retry.wait(attempt);
        tracing::warn!(
            listener = %self.work.id, topic = record.topic(), partition = record.partition(), offset = record.offset(),
            attempt, error = %Chain(&failure),
            "the attempt failed and was rolled back; the partition waits and tries again in {wait:.1?}"
        );
        self.again_after(wait, rest, record, attempt + 1).await
    }

    /// Waits without a connection, and answers a revocation at once.
    async fn again_after(&mut self, wait: Duration, rest: Rest<D>, record: Record, attempt: u32) -> Step<D> {
        let rest = self.give_seat_back(rest).await;
        if self.queue.lease.revoked_within(wait).await {
            return Step::Leave(Turn::Revoked);
        }
        Step::Begin(rest, record, attempt)
    }

    fn inbox_id(&self, record: &Record) -> Option<InboxId> {
        if self.work.dedupe == Dedupe::Position {
            return None;
        }
        self.work.delivery(record, 1).message_id().and_then(InboxId::new)
    }
}

fn claim<'a>(record: &Record, id: &'a Option<InboxId>) -> Claim<'a> {
    Claim { record: record.as_last(), message_id: id.as_ref().map(InboxId::as_bytes) }
}
