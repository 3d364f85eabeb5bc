//! Records that were set aside, and that somebody wants handled after all: one at a time, between two records of the
//! partition, as `stored.rs` has it.
//!
//! Each replay is one attempt, but for outages and transactions that met. It is counted before, because it may end the
//! process.

use super::stored::{Tried, said};
use super::{Step, Turn, Worker};
use crate::consumer::failure::Failure;
use crate::consumer::log::Fate;
use crate::fault;
use crate::store::{Filter, Hold, LetterDialect, Rest, State, Stored, Verdict, WantedRow};

impl<D: LetterDialect> Worker<'_, D> {
    /// Handles the oldest that is wanted in this partition. A record that is queued comes before the next one.
    pub(super) async fn replay(&mut self, mut rest: Rest<D>) -> Step<D> {
        self.watch.busy();
        rest = self.wait_out_outage(rest).await;
        if self.queue.lease.revoked.is_cancelled() {
            return Step::Wait(rest);
        }
        if !self.take_seat().await {
            return Step::Leave(Turn::Revoked);
        }
        let letter = match self.next_wanted(rest.hold()).await {
            Ok(Some(letter)) => letter,
            Ok(None) => return Step::Wait(rest),
            Err(error) => {
                tracing::debug!(listener = %self.work.id, %error, "what is to be replayed could not be read; later");
                return Step::Wait(self.give_seat_back(rest).await);
            }
        };
        self.replay_one(rest, &letter).await
    }

    async fn next_wanted(&mut self, hold: &Hold<D::Locator>) -> sqlx::Result<Option<Stored>> {
        self.hear_who_is_urged(hold).await?;
        let mut filter = Filter { limit: Some(1), ..Filter::of_partition(&hold.key, State::Wanted) };
        if !hold.slot.is_whole() {
            let Some(ours) = self.next_of_slot(hold).await? else { return Ok(None) };
            filter.ids = Some(vec![ours]);
        }
        Ok(self.beside(D::letters(&self.bound.store, &filter)).await?.pop())
    }

    /// The next that is of this slot; the others are replayed by theirs. It goes on where it was, and from the beginning once it has
    /// come to the end.
    async fn next_of_slot(&mut self, hold: &Hold<D::Locator>) -> sqlx::Result<Option<i64>> {
        loop {
            let wanted = self.beside(D::wanted_in(&self.bound.store, &hold.key, self.replayed_up_to)).await?;
            let is_ours = |(_, key, offset): &&WantedRow| hold.slot.has_key(key.as_deref(), *offset);
            if let Some((ours, ..)) = wanted.iter().find(is_ours) {
                self.replayed_up_to = ours - 1;
                return Ok(Some(*ours));
            }
            match wanted.last() {
                Some((last, ..)) => self.replayed_up_to = *last,
                None => {
                    self.replayed_up_to = 0;
                    return Ok(None);
                }
            }
        }
    }

    async fn replay_one(&mut self, rest: Rest<D>, letter: &Stored) -> Step<D> {
        if letter.tries >= self.work.retry.max {
            let killed = Failure::Killed { attempts: letter.tries };
            let attempts = letter.attempts;
            return self.replay_failed(&killed, attempts, rest, letter).await;
        }
        match self.beside(D::begin_try(&self.bound.store, rest.hold(), letter)).await {
            Ok(true) => fault::point("replay_after_count"),
            Ok(false) => return self.replay_is_done(rest),
            Err(error) => return self.replay_later(&said(&error), rest, letter).await,
        }
        match self.try_stored(rest, letter).await {
            Tried::Handled(rest) => {
                self.work.counts.replayed.one();
                tracing::info!(
                    listener = %self.work.id, topic = %letter.key.topic, partition = letter.key.partition,
                    offset = letter.record.offset(), dead_letter = letter.id, "a dead letter was replayed"
                );
                self.replay_is_done(rest)
            }
            Tried::Gone(rest) => self.replay_is_done(rest),
            Tried::Failed(failure, _, rest) => {
                let attempts = letter.attempts + 1;
                self.replay_failed(&failure, attempts, rest, letter).await
            }
            Tried::Later(why, rest) => self.replay_later(&why, rest, letter).await,
            Tried::Leave(turn) => Step::Leave(turn),
        }
    }

    /// There may be more.
    fn replay_is_done(&mut self, rest: Rest<D>) -> Step<D> {
        self.watch.want_replay();
        (self.let_one_through, self.replayed_last) = (true, true);
        Step::Wait(rest)
    }

    /// It stays wanted, uncounted, until the vigil looks again.
    async fn replay_later(&mut self, why: &str, rest: Rest<D>, letter: &Stored) -> Step<D> {
        tracing::debug!(listener = %self.work.id, dead_letter = letter.id, why, "a replay waits");
        let forgetting = D::forget_try(&self.bound.store, rest.hold(), letter);
        if let Err(error) = self.beside(forgetting).await {
            tracing::debug!(%error, "an attempt that met an outage stays counted");
        }
        Step::Wait(self.give_seat_back(rest).await)
    }

    /// Dead again, until somebody wants it once more.
    async fn replay_failed(
        &mut self,
        failure: &Failure,
        attempts: u32,
        rest: Rest<D>,
        letter: &Stored,
    ) -> Step<D> {
        let chain = said(failure);
        let reason = failure.reason(failure.next(&self.work.classify));
        let verdict = Verdict { to: State::Dead, attempts, reason, error: &chain, publish_to: None };
        match self.beside(D::end_try(&self.bound.store, rest.hold(), letter, verdict)).await {
            Ok(_) => {
                self.work.say(&letter.record, attempts, &chain, Fate::DeadAgain(reason));
                self.replay_is_done(rest)
            }
            Err(error) => self.replay_later(&said(&error), rest, letter).await,
        }
    }
}
