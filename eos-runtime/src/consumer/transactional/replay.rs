//! Records that somebody wants handled again: between two records of the partition, by its owner, one at a time and one
//! transaction each.
//!
//! That transaction turns the row of the dead letter and the id in the inbox by compare-and-set, so that whoever replays
//! twice, or dies in between, does nothing twice; and it holds the partition's position, so that an owner that was fenced
//! replays nothing. Each replay is one attempt, but for outages and transactions that met. It is counted before, because
//! it may end the process.

use super::attempt::Handled;
use super::{Step, Turn, Worker};
use crate::consumer::failure::{Chain, Failure, Next};
use crate::consumer::invoke::handle;
use crate::fault;
use crate::store::{
    Claimed, CommitFailed, Filter, LetterDialect, Open, PartitionKey, Reason, Rest, State, Stored,
};

/// How often two transactions that met are tried again at once.
const AT_ONCE_AT_MOST: u32 = 10;

/// What became of one.
enum Replayed<D: LetterDialect> {
    /// Handled, given up or gone.
    Done(Rest<D>),
    /// Not now.
    Later(Rest<D>),
    Leave(Turn<D::Locator>),
}

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
        let letter = match self.next_wanted(rest.hold().key.clone()).await {
            Ok(Some(letter)) => letter,
            Ok(None) => return Step::Wait(rest),
            Err(error) => {
                tracing::debug!(listener = %self.work.id, %error, "what is to be replayed could not be read; later");
                return Step::Wait(self.give_seat_back(rest).await);
            }
        };
        match self.replay_one(rest, &letter).await {
            Replayed::Done(rest) => {
                self.watch.want_replay();
                self.let_one_through = true;
                Step::Wait(rest)
            }
            Replayed::Later(rest) => Step::Wait(self.give_seat_back(rest).await),
            Replayed::Leave(turn) => Step::Leave(turn),
        }
    }

    async fn next_wanted(&self, key: PartitionKey) -> sqlx::Result<Option<Stored>> {
        let filter = Filter {
            group: Some(key.group.to_string()),
            topic: Some(key.topic.to_string()),
            partition: Some(key.partition),
            states: vec![State::Wanted],
            limit: Some(1),
            ..Filter::default()
        };
        Ok(D::letters(&self.bound.store, &filter).await?.pop())
    }

    async fn replay_one(&mut self, mut rest: Rest<D>, letter: &Stored) -> Replayed<D> {
        if letter.tries >= self.work.retry.max {
            let killed = Failure::Killed { attempts: letter.tries };
            return self.replay_failed(&killed, Reason::Killed, rest, letter).await;
        }
        match D::begin_try(&self.bound.store, letter).await {
            Ok(true) => fault::point("replay_after_count"),
            Ok(false) => return Replayed::Done(rest),
            Err(error) => return self.replay_later(said(&error), rest, letter).await,
        }
        for _ in 0..AT_ONCE_AT_MOST {
            let session = match rest.reopen(&self.bound.store, self.work.options()).await {
                Ok(session) => session,
                Err((error, hold)) => {
                    return self.replay_later(said(&error), Rest::Hold(hold), letter).await;
                }
            };
            let open = match session.begin_replay(letter).await {
                Ok(Claimed::Fresh(open)) => open,
                // Its id was done meanwhile: what remains is to write down that nothing is left to do.
                Ok(Claimed::Duplicate(open)) => {
                    return self.end_replay(open, letter, Handled::Duplicate).await;
                }
                Ok(Claimed::NotOurs(rest)) => {
                    return Replayed::Leave(Turn::NotOurs(rest.into_hold().await));
                }
                Err((error, rest)) => {
                    return self.replay_later(said(&error), rest, letter).await;
                }
            };
            let (failure, after) = match self.handle_replay(open, letter).await {
                Ok(open) => return self.end_replay(open, letter, Handled::Ran).await,
                Err(failed) => failed,
            };
            match failure.next(&self.work.classify) {
                Next::AtOnce => rest = after,
                Next::Outage => {
                    self.work.outage.found(&self.work.id, &self.queue.lease, &self.work.retry, &failure);
                    return self.replay_later(said(&failure), after, letter).await;
                }
                next @ (Next::Later | Next::SetAside | Next::Stop) => {
                    return self.replay_failed(&failure, failure.reason(next), after, letter).await;
                }
            }
        }
        self.replay_later("two transactions met again and again".to_owned(), rest, letter).await
    }

    async fn handle_replay(&self, mut open: Open<D>, letter: &Stored) -> Result<Open<D>, (Failure, Rest<D>)> {
        self.work.counts.begun.one();
        let outcome = {
            let delivery = self.work.delivery(&letter.record, letter.attempts + 1);
            let _running = self.running.begin(letter.record.offset());
            handle(self.handler, &mut open, &[delivery], self.work.deadline).await
        };
        fault::point("replay_after_handler");
        match outcome {
            Ok(()) => Ok(open),
            Err(failure @ Failure::Overran(_)) => Err((failure, Rest::Hold(open.abandon().await))),
            Err(failure) => Err((failure, open.rollback().await)),
        }
    }

    async fn end_replay(&mut self, open: Open<D>, letter: &Stored, handled: Handled) -> Replayed<D> {
        match open.commit().await {
            Ok(session) if handled != Handled::Ran => Replayed::Done(Rest::Session(session)),
            Ok(session) => {
                self.work.outage.over(&self.work.id);
                self.work.counts.replayed.one();
                tracing::info!(
                    listener = %self.work.id, topic = %letter.key.topic, partition = letter.key.partition,
                    offset = letter.record.offset(), dead_letter = letter.id, "a dead letter was replayed"
                );
                Replayed::Done(Rest::Session(session))
            }
            Err((CommitFailed::InDoubt(error), _)) => Replayed::Leave(Turn::InDoubt(error)),
            Err((CommitFailed::RolledBack(error), rest)) => {
                let failure = Failure::Commit(error);
                match failure.next(&self.work.classify) {
                    Next::AtOnce | Next::Outage => self.replay_later(said(&failure), rest, letter).await,
                    next @ (Next::Later | Next::SetAside | Next::Stop) => {
                        self.replay_failed(&failure, failure.reason(next), rest, letter).await
                    }
                }
            }
            Err((CommitFailed::Strayed(error), _)) => Replayed::Leave(Turn::Stop {
                offset: Some(letter.record.offset()),
                why: Failure::Strayed(error).into(),
            }),
        }
    }

    /// It stays wanted, uncounted, until the vigil looks again.
    async fn replay_later(&self, why: String, rest: Rest<D>, letter: &Stored) -> Replayed<D> {
        tracing::debug!(listener = %self.work.id, dead_letter = letter.id, why, "a replay waits");
        if let Err(error) = D::forget_try(&self.bound.store, letter).await {
            tracing::debug!(%error, "an attempt that met an outage stays counted");
        }
        Replayed::Later(rest)
    }

    /// Dead again, until somebody wants it once more.
    async fn replay_failed(
        &self,
        failure: &Failure,
        reason: Reason,
        rest: Rest<D>,
        letter: &Stored,
    ) -> Replayed<D> {
        let chain = said(failure);
        match D::replay_failed(&self.bound.store, letter, reason.word(), &chain).await {
            Ok(()) => {
                tracing::error!(
                    listener = %self.work.id, topic = %letter.key.topic, partition = letter.key.partition,
                    offset = letter.record.offset(), dead_letter = letter.id, error = chain,
                    "a dead letter was replayed, and failed again"
                );
                Replayed::Done(rest)
            }
            Err(error) => self.replay_later(said(&error), rest, letter).await,
        }
    }
}

/// In a sentence that outlives the error.
fn said(error: &(dyn std::error::Error + 'static)) -> String {
    Chain(error).to_string()
}
