//! One try at one record: begin, claim, handle, commit.
//!
//! Each move consumes the attempt and returns the next state, so committing twice, or before claiming, does not
//! compile. An [`Idle`] session owns a connection between attempts; [`Open`] has claimed a record and holds the
//! partition's row until it ends. Dropping an `Open` closes its connection, and the database rolls back; dropping
//! one while its closing message is on the way leaves it in doubt, and whoever goes on takes the partition again.
//!
//! The server bounds each statement by the deadline. A host that vanished bounds nothing, and no packet ever says so:
//! every move therefore has a limit of its own, beyond what a server that lives would take.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::dialect::{Answer, ChainError, Dialect, EndError, Fault, GroupAnswer, Store, StoreOptions};
use super::{Begun, Claim, DeadLetter, GroupClaim, Hold, LastRecord, Origin, Stored, Tx};
use crate::record::Record;

/// A connection between attempts: outside a transaction on the server.
pub(crate) struct Idle<D: Dialect> {
    store: Arc<Store<D>>,
    options: StoreOptions,
    hold: Hold<D::Locator>,
    tx: Tx<D>,
}

/// A record claimed in a transaction that is open.
pub(crate) struct Open<D: Dialect> {
    idle: Idle<D>,
    /// What the hold becomes when this commits; a replay leaves it where it is.
    after: (D::Locator, Option<LastRecord>),
    proof: D::Proof,
}

/// What a claim found.
pub(crate) enum Claimed<D: Dialect> {
    /// Position and inbox were written: handle it.
    Fresh(Open<D>),
    /// The position only: the id was processed before. Commit without the handler.
    Duplicate(Open<D>),
    /// No row of ours at the position we know: someone else took it, or it moved. Nothing is open any more.
    NotOurs(Rest<D>),
}

/// What the claim of a group found.
pub(crate) enum ClaimedGroup<D: Dialect> {
    /// Handle those whose ids are not among these, which were processed before.
    Open(Open<D>, Vec<Vec<u8>>),
    /// See [`Claimed::NotOurs`].
    NotOurs(Rest<D>),
}

/// What is left when a move failed: the session, where its connection can still be used, or the hold alone.
pub(crate) enum Rest<D: Dialect> {
    /// Go on with it.
    Session(Idle<D>),
    /// The connection is gone; open another session.
    Hold(Hold<D::Locator>),
}

/// Why an attempt could not be brought to its end.
#[derive(Debug)]
pub(crate) enum CommitFailed {
    /// Nothing was committed.
    RolledBack(sqlx::Error),
    /// The handler ended the transaction itself; what it wrote afterwards stands alone.
    Strayed(sqlx::Error),
    /// Nobody knows; take the partition again.
    InDoubt(sqlx::Error),
}

/// Why a commit with the next claim behind it failed.
pub(crate) enum ChainFailed<D: Dialect> {
    /// The commit failed; the next record was not claimed.
    Commit(CommitFailed, Rest<D>),
    /// The commit stands; claiming the next record failed.
    Next(sqlx::Error, Rest<D>),
}

impl<D: Dialect> Idle<D> {
    /// A session for attempts at `hold`'s partition.
    pub(crate) async fn open(
        store: Arc<Store<D>>,
        options: StoreOptions,
        hold: Hold<D::Locator>,
    ) -> Result<Self, (sqlx::Error, Hold<D::Locator>)> {
        let opened = match store.pool.acquire().await {
            Ok(connection) => within(options.limit(), D::open(&store, connection, options)).await,
            Err(error) => Err(error),
        };
        match opened {
            Ok(tx) => Ok(Idle { store, options, hold, tx }),
            Err(error) => Err((error, hold)),
        }
    }

    /// BEGIN and claim.
    pub(crate) async fn begin(mut self, claim: Claim<'_>) -> Result<Claimed<D>, (sqlx::Error, Rest<D>)> {
        let limit = self.options.limit();
        match within(limit, D::begin(&self.store, &mut self.tx, self.options, &self.hold, claim)).await {
            Ok(answer) => Ok(self.claimed(answer, Some(claim.record)).await),
            Err(error) => {
                let rest = self.not_begun(&error).await;
                Err((error, rest))
            }
        }
    }

    /// BEGIN, and the claim of a record that was set aside.
    pub(crate) async fn begin_replay(
        mut self,
        letter: &Stored,
    ) -> Result<Claimed<D>, (sqlx::Error, Rest<D>)> {
        let limit = self.options.limit();
        match within(limit, D::begin_replay(&self.store, &mut self.tx, self.options, &self.hold, letter))
            .await
        {
            Ok(answer) => Ok(self.claimed(answer, None).await),
            Err(error) => {
                let rest = self.not_begun(&error).await;
                Err((error, rest))
            }
        }
    }

    /// BEGIN, and the claim of a group of records.
    pub(crate) async fn begin_group(
        mut self,
        claim: GroupClaim<'_>,
    ) -> Result<ClaimedGroup<D>, (sqlx::Error, Rest<D>)> {
        let limit = self.options.limit();
        let claiming = D::begin_group(&self.store, &mut self.tx, self.options, &self.hold, claim);
        match within(limit, claiming).await {
            Ok(GroupAnswer { position, seen, proof }) => {
                self.tx.pending.start(None);
                Ok(match position {
                    Some(locator) => ClaimedGroup::Open(
                        Open { idle: self, after: (locator, Some(claim.last)), proof },
                        seen,
                    ),
                    None => ClaimedGroup::NotOurs(self.rolled_back().await),
                })
            }
            Err(error) => {
                let rest = self.not_begun(&error).await;
                Err((error, rest))
            }
        }
    }

    /// Gives the connection back and keeps the hold.
    pub(crate) async fn close(self) -> Hold<D::Locator> {
        if let Err(error) = within(self.options.limit(), D::close(self.tx)).await {
            tracing::debug!(%error, "a connection could not be given back and is closed");
        }
        self.hold
    }

    async fn claimed(mut self, answer: Answer<D>, record: Option<LastRecord>) -> Claimed<D> {
        self.tx.pending.start(None);
        let Some(locator) = answer.position else {
            return Claimed::NotOurs(self.rolled_back().await);
        };
        let open = Open { idle: self, after: (locator, record), proof: answer.proof };
        if answer.inbox_fresh { Claimed::Fresh(open) } else { Claimed::Duplicate(open) }
    }

    /// After a claim that failed. Unless two transactions met, the reason may lie in what a handler left on this
    /// connection (a claim deallocated, a plan gone stale, a role set), so that a new one is the better start.
    async fn not_begun(self, error: &sqlx::Error) -> Rest<D> {
        if D::fault(error) == Fault::Transient { self.rolled_back().await } else { Rest::Hold(self.hold) }
    }

    /// Rolls back whatever the server may still have open.
    async fn rolled_back(mut self) -> Rest<D> {
        match within(self.options.limit(), D::rollback(&mut self.tx)).await {
            Ok(()) => Rest::Session(self),
            Err(_) => Rest::Hold(self.hold),
        }
    }
}

impl<D: Dialect> Open<D> {
    /// The transaction, of no record.
    #[cfg(test)]
    pub(crate) fn tx(&mut self) -> &mut Tx<D> {
        &mut self.idle.tx
    }

    /// The transaction for the handler of this record: what it publishes has ids that are made of the record, and stands
    /// behind what was published for earlier records of the same transaction.
    pub(crate) fn tx_to_handle(&mut self, record: &Record) -> &mut Tx<D> {
        let Idle { tx, hold, options, .. } = &mut self.idle;
        tx.set_isolation(options.isolation);
        tx.pending.turn_to(Origin { group: Arc::clone(&hold.key.group), record: record.clone() });
        tx
    }

    /// Sets its record aside instead of handling it, dead or parked: the caller commits next. Nothing was said in the
    /// transaction before. The number of its row.
    ///
    /// # Errors
    /// The database's; the caller rolls back.
    pub(crate) async fn set_aside(&mut self, letter: DeadLetter<'_>) -> sqlx::Result<i64> {
        let Idle { store, options, hold, tx } = &mut self.idle;
        within(options.limit(), D::set_aside(store, tx, hold, letter)).await
    }

    /// What was published, proof of life and COMMIT.
    pub(crate) async fn commit(mut self) -> Result<Idle<D>, (CommitFailed, Rest<D>)> {
        let limit = self.idle.options.limit();
        let published = match self.idle.write_outbox().await {
            Ok(published) => published,
            Err(error) => return Err(self.idle.failed(error).await),
        };
        let ending = D::commit(&self.idle.store, &mut self.idle.tx, &self.proof);
        match within(limit, ending).await {
            Ok(()) => {
                self.idle.hold.advance(self.after);
                self.idle.committed(published);
                Ok(self.idle)
            }
            Err(error) => Err(self.idle.failed(error).await),
        }
    }

    /// Proof of life, COMMIT, BEGIN and the next claim, in one message where the database can.
    pub(crate) async fn commit_and_begin(self, claim: Claim<'_>) -> Result<Claimed<D>, ChainFailed<D>> {
        let Open { mut idle, after, proof } = self;
        let published = match idle.write_outbox().await {
            Ok(published) => published,
            Err(error) => {
                let (failed, rest) = idle.failed(error).await;
                return Err(ChainFailed::Commit(failed, rest));
            }
        };
        let before = (idle.hold.locator.clone(), idle.hold.next_offset, idle.hold.last, idle.hold.begun);
        idle.hold.advance(after);
        let chained = D::commit_and_begin(&idle.store, &mut idle.tx, idle.options, &proof, &idle.hold, claim);
        match within(idle.options.limit(), chained).await {
            Ok(answer) => {
                idle.committed(published);
                Ok(idle.claimed(answer, Some(claim.record)).await)
            }
            Err(ChainError::Next(error)) => {
                idle.committed(published);
                let rest = idle.not_begun(&error).await;
                Err(ChainFailed::Next(error, rest))
            }
            Err(ChainError::End(error)) => {
                (idle.hold.locator, idle.hold.next_offset, idle.hold.last, idle.hold.begun) = before;
                let (failed, rest) = idle.failed(error).await;
                Err(ChainFailed::Commit(failed, rest))
            }
        }
    }

    /// ROLLBACK; the session can go on, unless the connection is gone.
    pub(crate) async fn rollback(self) -> Rest<D> {
        self.idle.rolled_back().await
    }

    /// Closes the connection, whose database or whose own state cannot be relied on; the server rolls back.
    pub(crate) fn discard(self) -> Hold<D::Locator> {
        self.idle.hold
    }

    /// Ends the backend although a statement may still be running in it: the handler overran, or was dropped.
    pub(crate) async fn abandon(self) -> Hold<D::Locator> {
        D::abandon(&self.idle.store, self.idle.tx).await;
        self.idle.hold
    }
}

impl<D: Dialect> Idle<D> {
    /// Writes what the handler published, behind all its row locks; says whether there was anything. Nothing is committed
    /// where a method that the handler called has failed and the handler went on.
    async fn write_outbox(&mut self) -> Result<bool, EndError> {
        if let Some(refused) = self.tx.pending.refusal() {
            return Err(EndError::RolledBack(sqlx::Error::Encode(refused.into())));
        }
        if self.tx.pending.is_empty() {
            return Ok(false);
        }
        let writing = async {
            self.tx.write_outbox(&self.store.schema).await.map_err(EndError::RolledBack)?;
            Ok(true)
        };
        within(self.options.limit(), writing).await
    }

    /// Whoever publishes is woken.
    fn committed(&self, published: bool) {
        if published {
            self.store.home.published(&self.store.pool);
        }
    }

    /// After an end that failed: what it means, and what is left.
    async fn failed(self, error: EndError) -> (CommitFailed, Rest<D>) {
        match error {
            EndError::RolledBack(error)
                if matches!(D::fault(&error), Fault::Unavailable | Fault::ReadOnly) =>
            {
                (CommitFailed::RolledBack(error), Rest::Hold(self.hold))
            }
            EndError::RolledBack(error) => (CommitFailed::RolledBack(error), self.rolled_back().await),
            EndError::Strayed(error) => (CommitFailed::Strayed(error), Rest::Hold(self.hold)),
            EndError::InDoubt(error) => (CommitFailed::InDoubt(error), Rest::Hold(self.hold)),
        }
    }
}

impl<D: Dialect> Rest<D> {
    /// The session, or a new one.
    pub(crate) async fn reopen(
        self,
        store: &Arc<Store<D>>,
        options: StoreOptions,
    ) -> Result<Idle<D>, (sqlx::Error, Hold<D::Locator>)> {
        match self {
            Rest::Session(idle) => Ok(idle),
            Rest::Hold(hold) => Idle::open(Arc::clone(store), options, hold).await,
        }
    }

    /// Writes down what begins now, so that whoever takes the partition next knows, whatever became of this process. Not a
    /// part of any attempt. `false` where the row is not this hold's any more.
    pub(crate) async fn note_begun(
        &mut self,
        store: &Store<D>,
        options: StoreOptions,
        begun: Begun,
    ) -> sqlx::Result<bool> {
        let hold = match self {
            Rest::Session(idle) => &mut idle.hold,
            Rest::Hold(hold) => hold,
        };
        let Some(locator) = within(options.limit(), D::note_begun(store, hold, begun, options)).await? else {
            return Ok(false);
        };
        (hold.locator, hold.begun) = (locator, begun);
        Ok(true)
    }

    /// What is counted on.
    pub(crate) fn hold(&self) -> &Hold<D::Locator> {
        match self {
            Rest::Session(idle) => &idle.hold,
            Rest::Hold(hold) => hold,
        }
    }

    /// The hold; the connection goes back to the pool.
    pub(crate) async fn into_hold(self) -> Hold<D::Locator> {
        match self {
            Rest::Session(idle) => idle.close().await,
            Rest::Hold(hold) => hold,
        }
    }
}

impl<L> Hold<L> {
    fn advance(&mut self, (locator, record): (L, Option<LastRecord>)) {
        self.locator = locator;
        let Some(record) = record else { return };
        self.next_offset = record.offset + 1;
        self.last = Some(record);
        self.begun = Begun::NOTHING;
    }
}

/// Waits for a move no longer than `limit`. A move that is given up leaves its connection in a state that nobody knows:
/// the error says so, and the connection is not used again.
async fn within<T, E: Elapsed>(limit: Duration, moving: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    tokio::time::timeout(limit, moving).await.unwrap_or_else(|_| Err(E::elapsed(limit)))
}

/// The error of a move that had no answer.
trait Elapsed {
    fn elapsed(limit: Duration) -> Self;
}

impl Elapsed for sqlx::Error {
    fn elapsed(limit: Duration) -> Self {
        let silence = format!("the database has not answered for {}", humantime::format_duration(limit));
        sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, silence))
    }
}

impl Elapsed for EndError {
    fn elapsed(limit: Duration) -> Self {
        EndError::InDoubt(sqlx::Error::elapsed(limit))
    }
}

impl Elapsed for ChainError {
    fn elapsed(limit: Duration) -> Self {
        ChainError::End(EndError::elapsed(limit))
    }
}
