//! One attempt at a record that is in the table: a replay that somebody asked for, or a parked one whose turn it is.
//!
//! It is made between two records of the partition, by its owner, in one transaction that takes the row and its id in the
//! inbox by compare-and-set, so that whoever does it twice, or dies in between, does nothing twice; and it holds the
//! partition's position, so that an owner that was fenced does nothing. What follows is the caller's.

use super::attempt::Handled;
use super::{Turn, Worker};
use crate::consumer::failure::{Failure, Next};
use crate::consumer::invoke::handle;
use crate::fault;
use crate::store::{Claimed, CommitFailed, LetterDialect, Open, Rest, Stored};

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

impl<D: LetterDialect> Worker<'_, D> {
    /// Tries it, at once again where two transactions met.
    pub(super) async fn try_stored(&mut self, mut rest: Rest<D>, letter: &Stored) -> Tried<D> {
        for _ in 0..AT_ONCE_AT_MOST {
            let session = match rest.reopen(&self.bound.store, self.work.options()).await {
                Ok(session) => session,
                Err((error, hold)) => return Tried::Later(said(&error), Rest::Hold(hold)),
            };
            fault::point("stored_before_claim");
            let open = match session.begin_replay(letter).await {
                Ok(Claimed::Fresh(open)) => open,
                Ok(Claimed::Duplicate(open)) => {
                    return self.end_stored(open, letter.record.offset(), Handled::Duplicate).await;
                }
                Ok(Claimed::NotOurs(rest)) => {
                    return Tried::Leave(Turn::NotOurs(rest.into_hold().await));
                }
                Err((error, rest)) => return Tried::Later(said(&error), rest),
            };
            let (failure, after) = match self.handle_stored(open, letter).await {
                Ok(open) => return self.end_stored(open, letter.record.offset(), Handled::Ran).await,
                Err(failed) => failed,
            };
            match failure.next(&self.work.classify) {
                Next::AtOnce => rest = after,
                Next::Outage => {
                    self.work.outage.found(&self.work.id, &self.queue.lease, &self.work.retry, &failure);
                    return Tried::Later(said(&failure), after);
                }
                next @ (Next::Later | Next::SetAside | Next::Stop) => {
                    return Tried::Failed(failure, next, after);
                }
            }
        }
        Tried::Later("two transactions met again and again".to_owned(), rest)
    }

    async fn handle_stored(&self, mut open: Open<D>, letter: &Stored) -> Result<Open<D>, (Failure, Rest<D>)> {
        self.work.counts.begun.one();
        let outcome = {
            let delivery = self.work.delivery(&letter.record, letter.attempts + 1);
            let _running = self.running.begin(letter.record.offset());
            handle(self.work, self.handler, &mut open, &[delivery], self.work.deadline).await
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

    async fn end_stored(&mut self, open: Open<D>, offset: i64, handled: Handled) -> Tried<D> {
        match open.commit().await {
            Ok(session) if handled != Handled::Ran => Tried::Gone(Rest::Session(session)),
            Ok(session) => {
                fault::point("stored_after_commit");
                self.work.outage.over(&self.work.id);
                self.work.breaker.succeeded();
                Tried::Handled(Rest::Session(session))
            }
            Err((CommitFailed::InDoubt(error), _)) => Tried::Leave(Turn::InDoubt(error)),
            Err((CommitFailed::RolledBack(error), rest)) => {
                let failure = Failure::Commit(error);
                match failure.next(&self.work.classify) {
                    Next::AtOnce | Next::Outage => Tried::Later(said(&failure), rest),
                    next @ (Next::Later | Next::SetAside | Next::Stop) => Tried::Failed(failure, next, rest),
                }
            }
            Err((CommitFailed::Strayed(error), _)) => {
                Tried::Leave(Turn::Stop { offset: Some(offset), why: Failure::Strayed(error).into() })
            }
        }
    }
}

/// In a sentence that outlives the error.
pub(super) fn said(error: &(dyn std::error::Error + 'static)) -> String {
    crate::consumer::failure::Chain(error).to_string()
}
