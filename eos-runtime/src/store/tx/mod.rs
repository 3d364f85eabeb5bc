//! The transaction that handlers and services write in.
//!
//! A [`Tx`] owns its connection. It can be used wherever sqlx takes an executor (`&mut *tx`), and by existing code
//! that takes `&mut PgConnection`, to which it dereferences. It never ends behind its owner's back: statements
//! that would commit it or roll it back are refused, and dropping it rolls it back. What is published in it is written
//! to the outbox just before it commits (`pending.rs`), so that rows and events are there together or not at all.

mod executor;
mod pending;
mod savepoint;

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool, SqlStr};
use sqlx_core::transaction::TransactionManager;

use super::outbox::{Home, OutboxDialect};
use crate::error::TxError;
use crate::listener::spec::Isolation;

pub(crate) use pending::{Origin, Pending, TRACE_HEADER, repeatable_id};
pub use savepoint::Savepoint;

/// A PostgreSQL transaction.
#[cfg(feature = "postgres")]
pub type PgTx = Tx<sqlx::Postgres>;
/// A MySQL or MariaDB transaction.
#[cfg(feature = "mysql")]
pub type MySqlTx = Tx<sqlx::MySql>;
/// A SQLite transaction.
#[cfg(feature = "sqlite")]
pub type SqliteTx = Tx<sqlx::Sqlite>;

/// A database that eos can keep its promise on.
pub trait TxDatabase: Database + OutboxDialect {}

#[cfg(feature = "postgres")]
impl TxDatabase for sqlx::Postgres {}
#[cfg(feature = "mysql")]
impl TxDatabase for sqlx::MySql {}
#[cfg(feature = "sqlite")]
impl TxDatabase for sqlx::Sqlite {}

/// An open transaction: a listener's, which eos commits, or a service's own from [`begin`].
///
/// ```no_run
/// # #[cfg(feature = "postgres")]
/// # async fn example(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
/// let mut tx = eos_runtime::begin(&pool).await?;
/// sqlx::query("insert into audit (what) values ($1)").bind("started").execute(&mut tx).await?;
/// tx.commit().await?;
/// # Ok(()) }
/// ```
///
/// # Cancel safety
/// Dropping it, at any await, rolls it back.
pub struct Tx<DB: TxDatabase> {
    /// `None` only while it is being dropped.
    connection: Option<PoolConnection<DB>>,
    /// What dropping it does to the connection.
    on_drop: OnDrop,
    /// The server's number for the connection, where a dialect has asked for it: what another connection ends.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    backend: Option<i64>,
    /// Set when it is dropped, where the database runs in this process and must be told to stop.
    interrupt: Option<Arc<AtomicBool>>,
    /// See [`Tx::untouched`].
    untouched: Option<u64>,
    /// What it publishes when it commits; in a box, because transactions are moved from state to state.
    pub(crate) pending: Box<Pending>,
    /// Where it was begun by a service: the pool of the service's own.
    pool: Option<Pool<DB>>,
    /// Its outbox, where that is known; otherwise it is that of the pool.
    home: Option<Arc<Home>>,
    /// The level that it was begun with, where one was asked for.
    isolation: Option<Isolation>,
}

/// What becomes of the connection of a transaction that is dropped before it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDrop {
    /// Roll back and keep the connection: a service's transaction.
    RollBack,
    /// Close the connection: an attempt's, whose state on the wire is not known.
    Discard,
    /// It has ended.
    Nothing,
}

/// Begins a transaction on a pool of the caller's.
///
/// What is [published](Tx::publish) in it reaches Kafka if it commits, and only then.
///
/// # Errors
/// [`TxError::Begin`], with the pool's or the database's reason.
///
/// # Cancel safety
/// Nothing is left behind: a transaction that was begun is rolled back.
pub async fn begin<DB: TxDatabase>(pool: &Pool<DB>) -> Result<Tx<DB>, TxError> {
    Tx::begin_on(pool, None).await
}

impl<DB: TxDatabase> Tx<DB> {
    /// Begins a service's transaction, at a level where one is asked for.
    pub(crate) async fn begin_on(pool: &Pool<DB>, isolation: Option<Isolation>) -> Result<Self, TxError> {
        let begin = async {
            let mut connection = pool.acquire().await?;
            let statement = match isolation {
                Some(isolation) => Some(DB::begin_at(&mut connection, isolation).await?),
                None => None,
            };
            Tx::begin_with(connection, statement, OnDrop::RollBack).await
        };
        let mut tx = begin.await.map_err(TxError::Begin)?;
        tx.pool = Some(pool.clone());
        tx.isolation = isolation;
        // No number is needed: that nothing failed is all that its COMMIT asks.
        tx.untouched = Some(0);
        Ok(tx)
    }

    /// Begins on a connection, with the database's plain BEGIN or a statement that does it.
    pub(crate) async fn begin_with(
        connection: PoolConnection<DB>,
        statement: Option<SqlStr>,
        on_drop: OnDrop,
    ) -> sqlx::Result<Self> {
        // Until BEGIN is answered sqlx's depth does not tell whether there is a transaction: a connection that is dropped
        // meanwhile must not go back to anybody.
        let mut tx = Tx {
            connection: Some(connection),
            on_drop: OnDrop::Discard,
            #[cfg(any(feature = "postgres", feature = "mysql"))]
            backend: None,
            interrupt: None,
            untouched: None,
            pending: Box::default(),
            pool: None,
            home: None,
            isolation: None,
        };
        DB::TransactionManager::begin(&mut tx, statement).await?;
        tx.on_drop = on_drop;
        Ok(tx)
    }

    /// Writes what was published to the outbox, and commits.
    ///
    /// # Errors
    /// [`TxError::Commit`]: nothing was committed, as after an SQL error that nobody reported;
    /// [`TxError::RollbackOnly`]: an `#[outbox]` method that joined this transaction had failed;
    /// [`TxError::CommitUnknown`]: the answer was lost, so look for what was written.
    ///
    /// # Cancel safety
    /// Not cancel safe: when it is dropped, the outcome is unknown.
    pub async fn commit(mut self) -> Result<(), TxError> {
        if let Some(refused) = self.pending.refusal() {
            self.rollback().await.map_err(TxError::Commit)?;
            return Err(refused);
        }
        // PostgreSQL answers COMMIT with success where an error was swallowed before, and rolls back.
        if self.untouched.is_none() {
            DB::prove_alive(&mut self).await.map_err(TxError::Commit)?;
        }
        let home = match &self.pool {
            Some(pool) if !self.pending.is_empty() => {
                Some(self.home.take().unwrap_or_else(|| Home::of(pool)))
            }
            Some(_) | None => None,
        };
        if let Some(home) = &home {
            self.write_outbox(home.schema()).await.map_err(TxError::Outbox)?;
        }
        DB::TransactionManager::commit(&mut self).await.map_err(|error| {
            if DB::rolled_back(&error) { TxError::Commit(error) } else { TxError::CommitUnknown(error) }
        })?;
        self.on_drop = OnDrop::Nothing;
        if let (Some(home), Some(pool)) = (home, &self.pool) {
            home.published(pool);
        }
        Ok(())
    }

    /// COMMIT of a transaction of eos's own, in which nothing is published and no error is swallowed.
    #[cfg(feature = "postgres")]
    pub(crate) async fn commit_plainly(mut self) -> sqlx::Result<()> {
        DB::TransactionManager::commit(&mut self).await?;
        self.on_drop = OnDrop::Nothing;
        Ok(())
    }

    /// [`Tx::commit`], which says of an error whether trying the whole transaction again may help.
    pub(crate) async fn commit_or_say(self) -> Result<(), (bool, TxError)> {
        let gave_way = self.pending.gave_way();
        self.commit().await.map_err(|error| {
            let met =
                matches!(&error, TxError::Commit(error) | TxError::Outbox(error) if DB::gave_way(error));
            (gave_way || met, error)
        })
    }

    /// Rolls back what was written; nothing that was published in it leaves.
    ///
    /// # Errors
    /// The database's; nothing was committed then either.
    ///
    /// # Cancel safety
    /// Dropping it rolls back as well.
    pub async fn rollback(mut self) -> sqlx::Result<()> {
        DB::TransactionManager::rollback(&mut self).await?;
        self.on_drop = OnDrop::Nothing;
        Ok(())
    }

    /// Writes what was published in it. The caller commits next.
    pub(crate) async fn write_outbox(&mut self, schema: &str) -> sqlx::Result<()> {
        let entries = self.pending.take();
        DB::write_entries(self, schema, &entries).await
    }

    /// Publishes in this outbox, whatever the settings say of the pool.
    #[cfg(test)]
    pub(crate) fn set_home(&mut self, home: Arc<Home>) {
        self.home = Some(home);
    }

    /// The level that was asked for when it was begun.
    pub(crate) fn isolation(&self) -> Option<Isolation> {
        self.isolation
    }

    /// Remembers the level of a listener's attempts.
    pub(crate) fn set_isolation(&mut self, isolation: Isolation) {
        self.isolation = Some(isolation);
    }

    /// From here on what is said in the transaction of this number is watched.
    #[cfg(feature = "postgres")]
    pub(crate) fn watch(&mut self, transaction: u64) {
        self.untouched = Some(transaction);
    }

    /// The transaction that is certainly still open here, and not aborted: the one of [`Tx::watch`], where nothing but
    /// [data statements](Admitted::is_data) was said in it since, each of them ran to its end, and none failed.
    #[cfg(feature = "postgres")]
    pub(crate) fn untouched(&self) -> Option<u64> {
        self.untouched
    }

    /// The server's number for this connection, where it was asked for.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(crate) fn backend(&self) -> Option<i64> {
        self.backend
    }

    /// Has `dropped` set when this transaction is dropped before it ended.
    #[cfg(feature = "sqlite")]
    pub(crate) fn interrupt_on_drop(&mut self, dropped: Arc<AtomicBool>) {
        self.interrupt = Some(dropped);
    }

    /// Remembers the server's number for this connection.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(crate) fn set_backend(&mut self, backend: i64) {
        self.backend = Some(backend);
    }
}

impl<DB: TxDatabase> Drop for Tx<DB> {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        match self.on_drop {
            OnDrop::RollBack => DB::TransactionManager::start_rollback(&mut connection),
            OnDrop::Discard => {
                if let Some(dropped) = &self.interrupt {
                    dropped.store(true, Ordering::Relaxed);
                }
                connection.close_on_drop();
            }
            OnDrop::Nothing => {}
        }
    }
}

impl<DB: TxDatabase> fmt::Debug for Tx<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("database", &DB::NAME).finish_non_exhaustive()
    }
}

#[expect(clippy::expect_used, reason = "the connection is taken out in `drop` alone")]
impl<DB: TxDatabase> Deref for Tx<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &Self::Target {
        self.connection.as_deref().expect("a transaction that lives has its connection")
    }
}

/// Nobody sees what is said to the connection itself.
#[expect(clippy::expect_used, reason = "the connection is taken out in `drop` alone")]
impl<DB: TxDatabase> DerefMut for Tx<DB> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.untouched = None;
        self.connection.as_deref_mut().expect("a transaction that lives has its connection")
    }
}
