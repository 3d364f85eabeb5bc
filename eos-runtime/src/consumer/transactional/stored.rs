//! One attempt at a record that is in the table: a replay that somebody asked for, or a parked one whose turn it is.
//!
//! It is made between two records of the partition, by its owner, in one transaction that takes the row and its id in the
//! inbox by compare-and-set, so that whoever does it twice, or dies in between, does nothing twice; and it holds the
//! partition's position, so that an owner that was fenced does nothing. What follows is the caller's.

use std::future::Future;
use std::time::Duration;

use super::attempt::Handled;
use super::{Turn, Worker};
use crate::consumer::failure::{Chain, Failure, Next};
use crate::consumer::invoke::handle;
use crate::fault;
use crate::store::{Claimed, CommitFailed, Fault, LetterDialect, Open, Rest, Stored};

/// How often two transactions that met are tried again at once.
const AT_ONCE_AT_MOST: u32 = 10;

/// How an attempt went.
pub(super) enum Tried<D: LetterDialect> {
    /// Its effects are committed, and the row is turned.
    Handled(Rest<D>),
    /// Somebody was quicker, or its id was done meanwhile: nothing is left to do.
    Gone(Rest<D>),
    /// Nothing was committed.
    Failed(Failure, Next, Rest<D>),
    /// It could not be tried now.
    Later(String, Rest<D>),
    Leave(Turn<D::Locator>),
}

/// How one try of an attempt went.
enum Once<D: LetterDialect> {
    Ended(Tried<D>),
    /// Nothing was committed, and what is left of the session.
    Failed(Failure, Rest<D>),
}

impl<D: LetterDialect> Worker<'_, D> {
    /// Tries it, at once again where two transactions met.
    pub(super) async fn try_stored(&mut self, mut rest: Rest<D>, letter: &Stored) -> Tried<D> {
        let (mut met, mut lost) = (0, 0);
        loop {
            let (failure, after) = match self.try_once(rest, letter).await {
                Once::Ended(tried) => return tried,
                Once::Failed(failure, after) => (failure, after),
            };
            let did_not_begin = matches!(failure, Failure::Begin(_));
            match failure.next(&self.work.classify) {
                Next::AtOnce if met < AT_ONCE_AT_MOST => met += 1,
                // A pooled connection that died while it was idle says nothing about the server.
                Next::Outage if did_not_begin && (lost == 0 || self.bound.store.pool.num_idle() > 0) => {
                    self.may_have_lost_its_tail = true;
                    lost += 1;
                }
                Next::Outage => return self.stored_met_outage(&failure, after),
                Next::AtOnce if did_not_begin => return self.stored_met_outage(&failure, after),
                Next::AtOnce | Next::Later => return Tried::Failed(failure, Next::Later, after),
                next @ (Next::SetAside | Next::Stop) => return Tried::Failed(failure, next, after),
            }
            rest = after;
        }
    }

    /// The listener waits, and says so.
    fn stored_met_outage(&mut self, failure: &Failure, rest: Rest<D>) -> Tried<D> {
        self.work.outage.found(&self.work.id, &self.queue.lease, &self.work.retry, failure);
        self.may_have_lost_its_tail |= failure.database_error().is_some();
        Tried::Later(said(failure), rest)
    }

    async fn try_once(&mut self, rest: Rest<D>, letter: &Stored) -> Once<D> {
        let session = match rest.reopen(&self.bound.store, self.work.options()).await {
            Ok(session) => session,
            Err((error, hold)) => return Once::Failed(Failure::Begin(error), Rest::Hold(hold)),
        };
        fault::point("stored_before_claim");
        let offset = letter.record.offset();
        match session.begin_replay(letter).await {
            Ok(Claimed::Fresh(open)) => match self.handle_stored(open, letter).await {
                Ok(open) => self.end_stored(open, offset, Handled::Ran).await,
                Err((failure, rest)) => Once::Failed(failure, rest),
            },
            Ok(Claimed::Duplicate(open)) => self.end_stored(open, offset, Handled::Duplicate).await,
            Ok(Claimed::NotOurs(rest)) => Once::Ended(Tried::Leave(Turn::NotOurs(rest.into_hold().await))),
            // Somebody looks at the row, and holds it.
            Err((error, rest)) if D::fault(&error) == Fault::Overdue => {
                tracing::warn!(
                    listener = %self.work.id, topic = %letter.key.topic, partition = letter.key.partition, offset,
                    dead_letter = letter.id, error = %Chain(&error),
                    "a row of `eos_dead_letter` is held by another session; it is tried again later"
                );
                Once::Ended(Tried::Later(said(&error), rest))
            }
            Err((error, rest)) => Once::Failed(Failure::Begin(error), rest),
        }
    }

    async fn handle_stored(&self, mut open: Open<D>, letter: &Stored) -> Result<Open<D>, (Failure, Rest<D>)> {
        self.work.counts.begun.one();
        let outcome = {
            let delivery = self.work.delivery(&letter.record, letter.attempts + 1);
            let running = self.running.begin(letter.record.offset());
            handle(self.work, self.handler, &mut open, &[delivery], running.allowance(self.work.deadline))
                .await
        };
        fault::point("stored_after_handler");
        match outcome {
            Ok(()) => Ok(open),
            Err(failure) => {
                let rest = self.undo(open, &failure).await;
                Err((failure, rest))
            }
        }
    }

    async fn end_stored(&mut self, open: Open<D>, offset: i64, handled: Handled) -> Once<D> {
        let ended = match open.commit().await {
            Ok(session) if handled != Handled::Ran => Tried::Gone(Rest::Session(session)),
            Ok(session) => {
                fault::point("stored_after_commit");
                self.work.outage.over(&self.work.id);
                self.work.breaker.succeeded();
                Tried::Handled(Rest::Session(session))
            }
            Err((CommitFailed::RolledBack(error), rest)) => {
                return Once::Failed(Failure::Commit(error), rest);
            }
            Err((CommitFailed::InDoubt(error), _)) => Tried::Leave(Turn::InDoubt(error)),
            Err((CommitFailed::Strayed(error), _)) => {
                Tried::Leave(Turn::Stop { offset: Some(offset), why: Failure::Strayed(error).into() })
            }
        };
        Once::Ended(ended)
    }

    /// A small statement of ours beside any attempt: somebody who holds its row, or a host that vanished, keeps us no longer
    /// than this.
    pub(super) async fn beside<T>(
        &self,
        statement: impl Future<Output = sqlx::Result<T>>,
    ) -> sqlx::Result<T> {
        const PATIENCE: Duration = Duration::from_secs(5);
        let patience = PATIENCE.min(self.work.deadline);
        tokio::time::timeout(patience, statement).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }
}

/// In a sentence that outlives the error.
pub(super) fn said(error: &(dyn std::error::Error + 'static)) -> String {
    Chain(error).to_string()
}
