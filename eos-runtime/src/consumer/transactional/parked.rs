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
use super::{Aside, Step, Try, Turn, Worker};
use crate::consumer::breaker::Admits;
use crate::consumer::failure::{Chain, Failure, Next};
use crate::consumer::log::Fate;
use crate::consumer::parking::Head;
use crate::fault;
use crate::listener::spec::OnFailure;
use crate::record::Record;
use crate::store::{Dialect, Filter, LetterDialect, PartitionKey, Rest, State, Stored, Verdict};

impl<D: Dialect> Worker<'_, D> {
    /// A record whose key waits goes behind it.
    pub(super) fn behind_its_key(&self, record: &Record) -> Option<Aside> {
        self.parking.holds(record.key()).then_some(Aside::Behind)
    }

    /// The same for one that is claimed while the record before it is on its way to be parked.
    pub(super) fn stands_behind(&self, before: &Try, handled: Handled, record: &Record) -> Option<Aside> {
        let is_of_its_key = record.key().is_some() && record.key() == before.record.key();
        if handled == Handled::Parked && is_of_its_key {
            return Some(Aside::Behind);
        }
        self.behind_its_key(record)
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
        Step::Begin(rest, Try { aside: Some(Aside::Parked(failure)), ..a_try })
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
        self.queue.post.has_parked(self.parking.len());
        if let Some(Aside::Parked(failure)) = &a_try.aside {
            self.work.say(record, a_try.attempt, &Chain(failure).to_string(), Fate::Parked(wait));
        }
        if self.parking.is_full() {
            tracing::warn!(
                listener = %self.work.id, topic = record.topic(), partition = record.partition(),
                parked = self.parking.len(),
                "so many records are parked that the whole partition waits (`[dead_letters] parked_at_most`)"
            );
        }
    }
}

impl<D: LetterDialect> Worker<'_, D> {
    /// Tries the parked record whose turn it is. A record that is queued comes before the next one.
    pub(super) async fn unpark(&mut self, mut rest: Rest<D>) -> Step<D> {
        self.watch.busy();
        rest = self.wait_out_outage(rest).await;
        let Some(head) = self.parking.head(Instant::now()) else { return Step::Wait(rest) };
        if self.queue.lease.revoked.is_cancelled() {
            return Step::Wait(rest);
        }
        if !self.take_seat().await {
            return Step::Leave(Turn::Revoked);
        }
        self.let_one_through = true;
        match self.read_parked(head).await {
            Ok(Some(letter)) => self.unpark_one(rest, head, &letter).await,
            // Somebody took it out.
            Ok(None) => self.has_left(head, rest),
            Err(error) => self.unpark_later(&said(&error), rest, head, None).await,
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

    async fn unpark_one(&mut self, rest: Rest<D>, head: Head, letter: &Stored) -> Step<D> {
        if letter.attempts >= self.work.retry.max && self.work.dead_letters.are_kept() {
            let killed = Failure::Killed { attempts: letter.attempts };
            return self.not_unparked(&killed, Next::SetAside, letter.attempts, rest, head, letter).await;
        }
        let is_counted = letter.attempts > 0 || self.parking.is_inherited(head.row);
        if is_counted {
            match D::begin_try(&self.bound.store, rest.hold(), letter).await {
                Ok(true) => fault::point("unpark_after_count"),
                Ok(false) => return self.has_left(head, rest),
                Err(error) => return self.unpark_later(&said(&error), rest, head, None).await,
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
                let attempts = letter.attempts + 1;
                self.not_unparked(&failure, next, attempts, rest, head, letter).await
            }
            Tried::Later(why, rest) => {
                self.unpark_later(&why, rest, head, is_counted.then_some(letter)).await
            }
            Tried::Leave(turn) => Step::Leave(turn),
        }
    }

    /// The next of its key is due.
    fn has_left(&mut self, head: Head, rest: Rest<D>) -> Step<D> {
        let is_last = self.parking.leaves(head, Instant::now());
        self.queue.post.has_parked(self.parking.len());
        if is_last {
            tracing::info!(
                listener = %self.work.id, topic = %self.queue.lease.topic, partition = self.queue.lease.partition,
                parked = self.parking.len(), "a key has nothing parked any more, and its records flow again"
            );
        }
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
        let is_last = next == Next::SetAside || attempts >= self.work.retry.max;
        let dies =
            is_last && self.work.dead_letters.are_kept() && self.may_be_set_aside(&letter.record, failure);
        let chain = said(failure);
        let topic = self.work.dead_letters.topic().map(|topic| topic.of(&letter.key.topic));
        let verdict = Verdict {
            to: if dies { State::Dead } else { State::Parked },
            attempts,
            reason: failure.reason(next),
            error: &chain,
            publish_to: topic.as_deref().filter(|_| dies),
        };
        match D::end_try(&self.bound.store, rest.hold(), letter, verdict).await {
            // Somebody took it out, or has the partition: the next look at the row tells which.
            Ok(false) => self.has_left(head, rest),
            Ok(true) if dies => {
                self.work.counts.set_aside.one();
                self.work.say(&letter.record, attempts, &chain, Fate::DeadOfParked(verdict.reason));
                self.has_left(head, rest)
            }
            Ok(true) => {
                let wait = self.work.retry.wait(attempts);
                self.parking.waits(head, Instant::now() + wait);
                self.work.say(&letter.record, attempts, &chain, Fate::StaysParked(wait));
                Step::Wait(rest)
            }
            Err(error) => self.unpark_later(&said(&error), rest, head, None).await,
        }
    }

    /// Not now: what an outage ended is not counted.
    async fn unpark_later(
        &mut self,
        why: &str,
        rest: Rest<D>,
        head: Head,
        counted: Option<&Stored>,
    ) -> Step<D> {
        tracing::debug!(listener = %self.work.id, row = head.row, why, "a parked record waits");
        if let Some(letter) = counted
            && let Err(error) = D::forget_try(&self.bound.store, rest.hold(), letter).await
        {
            tracing::debug!(%error, "an attempt that met an outage stays counted");
        }
        self.parking.waits(head, Instant::now() + self.work.retry.wait(1));
        Step::Wait(self.give_seat_back(rest).await)
    }

    /// Those that somebody wants tried now are due.
    pub(super) async fn hear_who_is_urged(&mut self, key: &PartitionKey) -> sqlx::Result<()> {
        if self.parking.is_empty() {
            return Ok(());
        }
        let urged = D::letters(&self.bound.store, &Filter::of_partition(key, State::Urged)).await?;
        if urged.is_empty() {
            return Ok(());
        }
        let heard = Filter {
            ids: Some(urged.iter().map(|letter| letter.id).collect()),
            ..Filter::of_partition(key, State::Urged)
        };
        D::turn_to(&self.bound.store, &heard, State::Parked).await?;
        let now = Instant::now();
        for letter in &urged {
            self.parking.urge(letter.record.key(), letter.id, now);
        }
        Ok(())
    }
}
