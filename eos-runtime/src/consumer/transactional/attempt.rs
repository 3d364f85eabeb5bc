//! The way of a record that goes well: waited for, claimed, handled, committed; with the next one's claim in the same
//! move, where one is queued.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Deed, Step, Try, Turn, Worker};
use crate::consumer::failure::Failure;
use crate::consumer::invoke::handle;
use crate::consumer::owner;
use crate::consumer::queue::Queue;
use crate::fault;
use crate::listener::spec::Dedupe;
use crate::record::Record;
use crate::store::{Begun, ChainFailed, Claimed, CommitFailed, Dialect, Open, Rest};

/// How long a session keeps its connection with nothing to do.
const IDLE_SESSION: Duration = Duration::from_secs(1);

/// What a transaction that is about to commit has done about its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handled {
    Ran,
    Duplicate,
    SetAside,
    Parked,
    /// It is another slot's.
    MovedPast,
}

impl<D: Dialect> Worker<'_, D> {
    /// The next record to handle; a session with nothing to do goes back to the pool.
    pub(super) async fn wait(&mut self, mut rest: Rest<D>) -> Step<D> {
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
            if self.let_one_through {
                self.let_one_through = false;
                // What is put back here comes out first below.
                let queued = match self.parking.is_full() {
                    true => None,
                    false => self.backlog.pop_front().or_else(|| self.queue.try_next()),
                };
                match queued {
                    Some(record) => self.backlog.push_front(record),
                    None => continue,
                }
            } else if self.must_look_again() {
                rest.into_hold().await;
                return Step::Leave(Turn::LookAgain);
            } else if std::mem::take(&mut self.replayed_last) && self.parking.is_due() {
                return Step::Unpark(rest);
            } else if self.watch.takes_replay() {
                return Step::Replay(rest);
            } else if self.parking.is_due() {
                return Step::Unpark(rest);
            }
            let has_seat = self.seat.is_some();
            let parked_due = self.parking.next_due();
            let is_full = self.parking.is_full();
            let record = tokio::select! {
                biased;
                record = next(&mut self.backlog, self.queue), if !is_full => record,
                () = revoked.cancelled() => continue,
                () = self.watch.replay() => continue,
                () = until(parked_due), if parked_due.is_some() => continue,
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
                Ok(true) => {
                    return match self.gather(record).await {
                        Ok(group) => Step::Group(rest, group),
                        Err(record) => self.first_attempt(rest, record).await,
                    };
                }
                Ok(false) => {}
                Err(wrong) => {
                    rest.into_hold().await;
                    return Step::Leave(Turn::Stop { offset: Some(record.offset()), why: wrong.into() });
                }
            }
        }
    }

    /// Attempts that an earlier owner began at this record, and never ended, count.
    async fn first_attempt(&mut self, rest: Rest<D>, record: Record) -> Step<D> {
        if self.parking.line_is_due(record.key(), Instant::now()) {
            // Its line moves on, as far as is known: it would only grow if each that comes joined it.
            self.backlog.push_front(record);
            return Step::Unpark(rest);
        }
        match self.deed(&record) {
            Deed::Handle => {}
            // Attempts that are counted are at a record of this slot, and would be forgotten.
            Deed::MovePast if rest.hold().begun != Begun::NOTHING => return Step::Wait(rest),
            deed @ (Deed::MovePast | Deed::SetAside(_)) => {
                return Step::Begin(rest, Try::first(self.work, record, deed));
            }
        }
        let begun = rest.hold().begun.attempts();
        let mut a_try = Try::new(self.work, record, begun + 1);
        if begun >= self.work.retry.max && self.work.dead_letters.are_kept() {
            a_try.attempt = begun;
            return self.give_up_unseen(rest, a_try).await;
        }
        Step::Begin(rest, a_try)
    }

    pub(super) async fn begin(&mut self, mut rest: Rest<D>, a_try: Try) -> Step<D> {
        self.watch.busy();
        rest = self.wait_out_outage(rest).await;
        if self.queue.lease.revoked.is_cancelled() {
            self.take_back(&mut rest).await;
            rest.into_hold().await;
            return Step::Leave(Turn::Revoked);
        }
        if self.must_look_again() {
            self.take_back(&mut rest).await;
            rest.into_hold().await;
            return Step::Leave(Turn::LookAgain);
        }
        if a_try.deed.is_to_handle() {
            let is_alone;
            (rest, is_alone) = self.be_alone(rest).await;
            if !is_alone {
                rest.into_hold().await;
                return Step::Leave(Turn::Revoked);
            }
        }
        if !self.take_seat().await {
            return Step::Leave(Turn::Revoked);
        }
        if self.is_to_be_counted(&rest, &a_try) {
            match rest
                .note_begun(&self.bound.store, self.work.options(), Begun::Attempts(a_try.attempt))
                .await
            {
                Ok(true) => fault::point("after_count"),
                Ok(false) => return Step::Leave(Turn::NotOurs(rest.into_hold().await)),
                // The connection may live, and the database refuse to write: nothing is tried again at once.
                Err(error) => return self.failed(Failure::Begin(error), rest, a_try).await,
            }
        }
        let session = match rest.reopen(&self.bound.store, self.work.options()).await {
            Ok(session) => session,
            Err((error, hold)) => return self.not_begun(error, Rest::Hold(hold), a_try).await,
        };
        fault::point("before_claim");
        match session.begin(a_try.claim()).await {
            Ok(claimed) => Step::Claimed(claimed, a_try),
            Err((error, rest)) => self.not_begun(error, rest, a_try).await,
        }
    }

    /// Whether the row must know of this attempt before it begins, because it may end the process: those that the worker
    /// begins with, since one may have been an earlier owner's last; and every further one, so that a restart does not
    /// forget them. All others are spared the round trip: whoever takes the partition after them begins with a first one.
    fn is_to_be_counted(&self, rest: &Rest<D>, a_try: &Try) -> bool {
        let may_be_its_end = self.counted > 0 || a_try.attempt > 1;
        may_be_its_end && a_try.deed.is_to_handle() && rest.hold().begun != Begun::Attempts(a_try.attempt)
    }

    pub(super) async fn claimed(&mut self, claimed: Claimed<D>, a_try: Try) -> Step<D> {
        match claimed {
            Claimed::NotOurs(rest) => Step::Leave(Turn::NotOurs(rest.into_hold().await)),
            Claimed::Duplicate(open) => {
                tracing::debug!(
                    listener = %self.work.id, topic = a_try.record.topic(), partition = a_try.record.partition(),
                    offset = a_try.record.offset(), "a duplicate: its message id was processed before"
                );
                self.end(open, Handled::Duplicate, a_try).await
            }
            Claimed::Fresh(mut open) => match &a_try.deed {
                Deed::Handle => self.handle(open, a_try).await,
                Deed::SetAside(aside) => {
                    let (written, handled) =
                        (self.write_aside(aside, &mut open, &a_try).await, aside.handled());
                    self.was_written(written, handled, open, a_try).await
                }
                Deed::MovePast => self.end(open, Handled::MovedPast, a_try).await,
            },
        }
    }

    async fn handle(&mut self, mut open: Open<D>, a_try: Try) -> Step<D> {
        fault::point("after_claim");
        self.work.counts.begun.one();
        let outcome = {
            let delivery = self.work.delivery(&a_try.record, a_try.attempt);
            let running = self.running.begin(a_try.record.offset());
            handle(self.work, self.handler, &mut open, &[delivery], running.allowance(self.work.deadline))
                .await
        };
        let failure = match outcome {
            Ok(()) => {
                fault::point("after_handler");
                return self.end(open, Handled::Ran, a_try).await;
            }
            Err(failure) => failure,
        };
        let rest = self.undo(open, &failure).await;
        self.failed(failure, rest, a_try).await
    }

    /// Commits; with the next record's claim in the same move, where one is queued.
    pub(super) async fn end(&mut self, open: Open<D>, handled: Handled, a_try: Try) -> Step<D> {
        let lease = &self.queue.lease;
        let goes_on = !lease.revoked.is_cancelled()
            && !lease.is_orphaned()
            && !self.bound.seats.wanted_now()
            && !self.watch.has_replay()
            && !self.parking.is_due()
            // A claim that travels along is not counted before.
            && self.counted_behind(handled) == 0
            && self.parking.has_room_beside(usize::from(handled == Handled::Parked));
        let Some(next) = goes_on.then(|| self.next_to_chain()).flatten() else {
            return match open.commit().await {
                Ok(session) => {
                    self.committed(handled, &a_try);
                    self.group_went_well();
                    Step::Wait(Rest::Session(session))
                }
                Err((failed, rest)) => self.not_committed(failed, rest, a_try).await,
            };
        };
        let deed = self.deed_behind(&a_try, handled, &next);
        let next = Try::first(self.work, next, deed);
        match open.commit_and_begin(next.claim()).await {
            Ok(claimed) => {
                self.committed(handled, &a_try);
                Step::Claimed(claimed, next)
            }
            Err(ChainFailed::Next(error, rest)) => {
                self.committed(handled, &a_try);
                self.not_begun(error, rest, next).await
            }
            Err(ChainFailed::Commit(failed, rest)) => {
                self.backlog.push_front(next.record);
                self.not_committed(failed, rest, a_try).await
            }
        }
    }

    /// Attempts at so many further records are counted before they begin; one that was only moved past was none.
    fn counted_behind(&self, handled: Handled) -> u32 {
        self.counted.saturating_sub(u32::from(handled != Handled::MovedPast))
    }

    /// The record to claim with the commit of the one before it; none where it may be one of a group.
    fn next_to_chain(&mut self) -> Option<Record> {
        if self.work.group_commit < 2 {
            return self.backlog.pop_front().or_else(|| self.queue.try_next());
        }
        None
    }

    pub(super) fn committed(&mut self, handled: Handled, a_try: &Try) {
        fault::point("after_commit");
        self.counted = self.counted_behind(handled);
        (self.is_inherited, self.alone) = (false, None);
        (self.at_once, self.outages, self.failed, self.moved_on) = (0, 0, 0, true);
        self.work.outage.over(&self.work.id);
        self.queue.post.is_well();
        self.queue.lease.committed(a_try.record.offset() + 1);
        match handled {
            Handled::Ran => {
                self.work.breaker.succeeded();
                self.work.counts.applied.one();
            }
            Handled::Duplicate => self.work.counts.duplicates.one(),
            Handled::SetAside => self.was_set_aside(a_try),
            Handled::Parked => self.was_parked(a_try),
            Handled::MovedPast => {}
        }
        let was_aside = matches!(handled, Handled::SetAside | Handled::Parked | Handled::MovedPast);
        if a_try.id.is_none() && self.work.dedupe == Dedupe::MessageId && !was_aside {
            self.work.counts.without_id.one();
        }
    }

    async fn not_committed(&mut self, failed: CommitFailed, rest: Rest<D>, a_try: Try) -> Step<D> {
        match failed {
            CommitFailed::InDoubt(error) => Step::Leave(Turn::InDoubt(error)),
            CommitFailed::RolledBack(error) => self.failed(Failure::Commit(error), rest, a_try).await,
            CommitFailed::Strayed(error) => self.failed(Failure::Strayed(error), rest, a_try).await,
        }
    }
}

/// Until then; for ever, where there is no such time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// The next record that is not done; `None` once the source is gone.
///
/// # Cancel safety
/// Cancel safe: a record is either returned or still here.
async fn next(backlog: &mut VecDeque<Record>, queue: &mut Queue) -> Option<Record> {
    match backlog.pop_front() {
        Some(record) => Some(record),
        None => queue.next().await,
    }
}
