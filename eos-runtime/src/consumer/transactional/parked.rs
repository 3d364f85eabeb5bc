//! Keys that wait: a record that fails is parked with every later one of its key, and they are tried again in order, while
//! other keys go on.
//!
//! A record is parked as it is set aside: by its claim, in the transaction that moves the position past it. So the row is
//! there before any later record of the key is looked at, and whoever takes the partition finds it. A parked record is tried
//! between two others, as `stored.rs` has it, and its row is gone when it is handled. One that no attempt can handle becomes
//! dead, and the next of its key is tried.
//!
//! What is parked when the listener parks no more still drains in order.

use std::time::Instant;

use super::attempt::Handled;
use super::stored::{Tried, said};
use super::{Aside, Deed, Step, Try, Turn, Worker};
use crate::consumer::breaker::Admits;
use crate::consumer::failure::{Chain, Failure, Next};
use crate::consumer::log::Fate;
use crate::consumer::owner;
use crate::consumer::parking::Head;
use crate::fault;
use crate::listener::spec::OnFailure;
use crate::record::Record;
use crate::store::{Dialect, Filter, Hold, LetterDialect, Rest, State, Stored, Verdict};

impl<D: Dialect> Worker<'_, D> {
    /// A record whose key waits goes behind it, and one of another slot is not ours to handle.
    pub(super) fn deed(&self, record: &Record) -> Deed {
        if !self.slot.has(record) {
            Deed::MovePast
        } else if self.parking.holds(record.key()) {
            Deed::SetAside(Aside::Behind)
        } else {
            Deed::Handle
        }
    }

    /// The same for one that is claimed while the record before it is on its way to be parked.
    pub(super) fn deed_behind(&self, before: &Try, handled: Handled, record: &Record) -> Deed {
        let is_of_its_key = record.key().is_some() && record.key() == before.record.key();
        if handled == Handled::Parked && is_of_its_key {
            return Deed::SetAside(Aside::Behind);
        }
        self.deed(record)
    }

    /// Whether a record that failed waits by itself, and its partition goes on.
    pub(super) fn parks(&self) -> bool {
        self.work.on_failure == OnFailure::Park && !self.parking.is_full()
    }

    /// Parks it with the next claim, unless so many failed one after another that it must be the program that is bad.
    pub(super) async fn park(&mut self, failure: Failure, rest: Rest<D>, a_try: Try) -> Step<D> {
        if !self.may_be_set_aside(&a_try.record, &failure) {
            return self.again_later(&failure, rest, a_try).await;
        }
        self.failed = a_try.attempt;
        Step::Begin(rest, Try { deed: Deed::SetAside(Aside::Parked(failure)), ..a_try })
    }

    fn may_be_set_aside(&self, record: &Record, failure: &Failure) -> bool {
        match self.work.breaker.admits() {
            Admits::Now => true,
            Admits::After(wait, is_news) => {
                if is_news {
                    self.work.say_that_the_program_is_bad(record, failure, wait);
                }
                false
            }
        }
    }

    /// It is in the table, and other keys go on.
    pub(super) fn was_parked(&mut self, a_try: &Try) {
        let Some(row) = a_try.row else { return };
        let record = &a_try.record;
        self.work.counts.parked.one();
        let wait = self.work.retry.wait(a_try.attempt);
        self.parking.add(record.key(), row, Instant::now() + wait);
        self.parked_changed();
        if let Deed::SetAside(Aside::Parked(failure)) = &a_try.deed {
            self.work.say(record, a_try.attempt, &Chain(failure).to_string(), Fate::Parked(wait));
        }
    }

    /// Others see how many there are; once it is said where there are too many.
    pub(super) fn parked_changed(&mut self) {
        self.queue.post.has_parked(self.parking.len(), self.parking.is_full());
        self.watch.has_parked(self.parking.len());
        let was_full = std::mem::replace(&mut self.is_full, self.parking.is_full());
        if self.is_full && !was_full {
            tracing::warn!(
                listener = %self.work.id, topic = %self.queue.lease.topic, partition = self.queue.lease.partition,
                parked = self.parking.len(),
                "so many records are parked that the whole partition waits (`[dead_letters] parked_at_most`)"
            );
        }
    }

    /// Whether what is remembered of parked rows may be newer than what the database has by now: a connection was lost, and a
    /// failover may have taken back what no position tells.
    pub(super) fn must_look_again(&self) -> bool {
        self.may_have_lost_its_tail && (self.has_unparked || !self.parking.is_empty())
    }
}

impl<D: LetterDialect> Worker<'_, D> {
    /// Tries the parked record whose turn it is. A record that is queued comes before the next one.
    pub(super) async fn unpark(&mut self, mut rest: Rest<D>) -> Step<D> {
        self.watch.busy();
        rest = self.wait_out_outage(rest).await;
        let first = self.backlog.front().and_then(Record::key);
        let Some(head) = self.parking.head(first, Instant::now()) else { return Step::Wait(rest) };
        if self.queue.lease.revoked.is_cancelled() {
            return Step::Wait(rest);
        }
        if !self.take_seat().await {
            return Step::Leave(Turn::Revoked);
        }
        self.let_one_through = true;
        if let Err(error) = self.forget_the_last(rest.hold()).await {
            return self.unpark_later(&said(&error), rest, head).await;
        }
        match self.beside(self.read_parked(head)).await {
            Ok(Some(letter)) => self.unpark_one(rest, head, &letter).await,
            Ok(None) => self.has_been_taken_out(head, rest),
            Err(error) => self.unpark_later(&said(&error), rest, head).await,
        }
    }

    async fn read_parked(&self, head: Head) -> sqlx::Result<Option<Stored>> {
        let filter = Filter {
            ids: Some(vec![head.row]),
            states: vec![State::Parked, State::Urged],
            limit: Some(1),
            ..Filter::default()
        };
        Ok(D::letters(&self.bound.store, &filter).await?.pop())
    }

    /// An attempt that was counted, and neither succeeded nor failed: an outage ended it, or its COMMIT is in doubt.
    async fn forget_the_last(&mut self, hold: &Hold<D::Locator>) -> sqlx::Result<()> {
        if let Some(letter) = &self.trying {
            self.beside(D::forget_try(&self.bound.store, hold, letter)).await?;
            self.trying = None;
        }
        Ok(())
    }

    async fn unpark_one(&mut self, rest: Rest<D>, head: Head, letter: &Stored) -> Step<D> {
        // More are counted than have ended: the last one ended its process.
        if letter.tries > 0 && letter.attempts >= self.work.retry.max && self.work.dead_letters.are_kept() {
            let killed = Failure::Killed { attempts: letter.attempts };
            return self.not_unparked(&killed, Next::SetAside, letter.attempts, rest, head, letter).await;
        }
        if letter.attempts > 0 || self.parking.is_inherited(head.row) {
            self.trying = Some(letter.clone());
            match self.beside(D::begin_try(&self.bound.store, rest.hold(), letter)).await {
                Ok(true) => fault::point("unpark_after_count"),
                Ok(false) => {
                    self.trying = None;
                    return self.has_been_taken_out(head, rest);
                }
                Err(error) => return self.unpark_later(&said(&error), rest, head).await,
            }
        }
        match self.try_stored(rest, letter).await {
            Tried::Handled(rest) => {
                self.work.counts.applied.one();
                self.work.counts.unparked.one();
                self.has_left(head, rest)
            }
            Tried::Gone(rest) => self.has_left(head, rest),
            Tried::Failed(failure, next, rest) => {
                self.work.counts.failed.one();
                self.work.outage.over(&self.work.id);
                let attempts = letter.attempts + 1;
                self.not_unparked(&failure, next, attempts, rest, head, letter).await
            }
            Tried::Later(why, rest) => self.unpark_later(&why, rest, head).await,
            Tried::Leave(turn) => Step::Leave(turn),
        }
    }

    /// It is done, or dead: the next of its key is due.
    fn has_left(&mut self, head: Head, rest: Rest<D>) -> Step<D> {
        (self.trying, self.has_unparked) = (None, true);
        if self.parking.leaves(head, Instant::now()) {
            tracing::debug!(
                listener = %self.work.id, topic = %self.queue.lease.topic, partition = self.queue.lease.partition,
                parked = self.parking.len(), "a key has nothing parked any more, and its records flow again"
            );
        }
        self.parked_changed();
        Step::Wait(rest)
    }

    /// Somebody took it out, or has the partition: the next claim tells which.
    fn has_been_taken_out(&mut self, head: Head, rest: Rest<D>) -> Step<D> {
        self.parking.leaves(head, Instant::now());
        self.parked_changed();
        Step::Wait(rest)
    }

    /// It is tried again later, or becomes dead where no attempt is left.
    async fn not_unparked(
        &mut self,
        failure: &Failure,
        next: Next,
        attempts: u32,
        rest: Rest<D>,
        head: Head,
        letter: &Stored,
    ) -> Step<D> {
        // It was parked behind another, and fails for the first time: is it the program? Then it waits as it was.
        if letter.attempts == 0 && !self.may_be_set_aside(&letter.record, failure) {
            self.parking.waits(head, Instant::now() + self.work.retry.max_backoff);
            return Step::Wait(self.give_seat_back(rest).await);
        }
        let is_last = next == Next::SetAside || attempts >= self.work.retry.max;
        let dies = is_last && self.work.dead_letters.are_kept();
        let chain = said(failure);
        let topic = self.work.dead_letters.topic().map(|topic| topic.of(&letter.key.topic));
        let verdict = Verdict {
            to: if dies { State::Dead } else { State::Parked },
            attempts,
            reason: failure.reason(next),
            error: &chain,
            publish_to: topic.as_deref().filter(|_| dies),
        };
        match self.beside(D::end_try(&self.bound.store, rest.hold(), letter, verdict)).await {
            Ok(false) => self.has_been_taken_out(head, rest),
            Ok(true) if dies => {
                self.work.counts.set_aside.one();
                self.work.say(&letter.record, attempts, &chain, Fate::DeadOfParked(verdict.reason));
                self.has_left(head, rest)
            }
            Ok(true) => {
                self.trying = None;
                let wait = self.work.retry.wait(attempts);
                self.parking.waits(head, Instant::now() + wait);
                self.work.counts.retried.one();
                self.work.say(&letter.record, attempts, &chain, Fate::StaysParked(wait));
                Step::Wait(rest)
            }
            Err(error) => self.unpark_later(&said(&error), rest, head).await,
        }
    }

    /// Not now: what was counted is taken back before the next one.
    async fn unpark_later(&mut self, why: &str, rest: Rest<D>, head: Head) -> Step<D> {
        tracing::debug!(listener = %self.work.id, row = head.row, why, "a parked record waits");
        self.parking.waits(head, Instant::now() + self.work.retry.wait(2));
        Step::Wait(self.give_seat_back(rest).await)
    }

    /// Those that somebody wants tried now are due.
    pub(super) async fn hear_who_is_urged(&mut self, hold: &Hold<D::Locator>) -> sqlx::Result<()> {
        if self.parking.is_empty() {
            return Ok(());
        }
        let mut urged = self.beside(owner::parked(&self.bound.store, hold)).await?;
        urged.retain(|row| row.urged);
        if urged.is_empty() {
            return Ok(());
        }
        let rows: Vec<i64> = urged.iter().map(|row| row.id).collect();
        self.beside(D::heard(&self.bound.store, hold, &rows)).await?;
        let now = Instant::now();
        for row in &urged {
            self.parking.urge(row.key.as_deref(), row.id, now);
        }
        Ok(())
    }
}
