//! The transaction that handlers and services write in.
//!
//! A [`Tx`] owns its connection. It can be used wherever sqlx takes an executor (`&mut *tx`), and by existing code
//! that takes `&mut PgConnection`, to which it dereferences. It never ends behind its owner's back: statements
//! that would commit it or roll it back are refused, and dropping it rolls it back.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::pool::PoolConnection;
use sqlx::{Acquire, Database, Describe, Either, Execute, Executor, Pool, SqlStr};
use sqlx_core::transaction::TransactionManager;

use super::guard::Admitted;

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
pub trait TxDatabase: Database + sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
    #[cfg(feature = "postgres")]
    impl Sealed for sqlx::Postgres {}
    #[cfg(feature = "mysql")]
    impl Sealed for sqlx::MySql {}
    #[cfg(feature = "sqlite")]
    impl Sealed for sqlx::Sqlite {}
}

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
/// # Errors
/// The pool's and the database's.
///
/// # Cancel safety
/// Nothing is left behind: a transaction that was begun is rolled back.
pub async fn begin<DB: TxDatabase>(pool: &Pool<DB>) -> sqlx::Result<Tx<DB>> {
    Tx::begin_with(pool.acquire().await?, None, OnDrop::RollBack).await
}

impl<DB: TxDatabase> Tx<DB> {
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
        };
        DB::TransactionManager::begin(&mut tx, statement).await?;
        tx.on_drop = on_drop;
        Ok(tx)
    }

    /// Commits what was written.
    ///
    /// # Errors
    /// The database's. One that breaks the connection leaves the outcome unknown: look for what was written.
    ///
    /// # Cancel safety
    /// Not cancel safe: when it is dropped, the outcome is unknown.
    pub async fn commit(mut self) -> sqlx::Result<()> {
        DB::TransactionManager::commit(&mut self).await?;
        self.on_drop = OnDrop::Nothing;
        Ok(())
    }

    /// Rolls back what was written.
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

    /// Begins a savepoint, for errors that a handler means to survive: roll it back, and the transaction goes on.
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")]
    /// # async fn example(tx: &mut eos_runtime::PgTx) -> sqlx::Result<()> {
    /// let mut savepoint = tx.begin().await?;
    /// match sqlx::query("insert into coupon_use (coupon) values ('X1')").execute(&mut *savepoint).await {
    ///     Ok(_) => savepoint.commit().await?,
    ///     Err(_) => savepoint.rollback().await?, // used before; the order goes on without it
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The database's.
    pub async fn begin(&mut self) -> sqlx::Result<sqlx::Transaction<'_, DB>>
    where
        for<'c> &'c mut DB::Connection: Acquire<'c, Database = DB>,
    {
        let connection: &mut DB::Connection = self;
        Acquire::begin(connection).await
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

/// One impl per database, since sqlx's `Executor` cannot be implemented for all of them at once.
macro_rules! executor {
    ($feature:literal, $database:ty) => {
        #[cfg(feature = $feature)]
        impl<'c> Executor<'c> for &'c mut Tx<$database> {
            type Database = $database;

            fn fetch_many<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxStream<
                'e,
                sqlx::Result<Either<<$database as Database>::QueryResult, <$database as Database>::Row>>,
            >
            where
                'c: 'e,
                E: 'q + Execute<'q, $database>,
            {
                match Admitted::admit(query) {
                    Ok(query) if self.untouched.is_some() && query.is_data() => self.watched(query),
                    Ok(query) => (&mut **self).fetch_many(query),
                    Err(refused) => Box::pin(futures_util::stream::once(std::future::ready(Err(refused)))),
                }
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, sqlx::Result<Option<<$database as Database>::Row>>>
            where
                'c: 'e,
                E: 'q + Execute<'q, $database>,
            {
                match Admitted::admit(query) {
                    Ok(query) => (&mut **self).fetch_optional(query),
                    Err(refused) => Box::pin(std::future::ready(Err(refused))),
                }
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                parameters: &'e [<$database as Database>::TypeInfo],
            ) -> BoxFuture<'e, sqlx::Result<<$database as Database>::Statement>>
            where
                'c: 'e,
            {
                (&mut **self).prepare_with(sql, parameters)
            }

            fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<$database>>>
            where
                'c: 'e,
            {
                (&mut **self).describe(sql)
            }
        }
    };
}

impl<DB: TxDatabase> Tx<DB> {
    /// Runs a data statement. The transaction counts as touched until the stream has come to its end without an error:
    /// one that is dropped before leaves an error unread.
    fn watched<'e, 'q: 'e>(
        &'e mut self,
        query: Admitted<DB>,
    ) -> BoxStream<'e, sqlx::Result<Either<DB::QueryResult, DB::Row>>>
    where
        &'e mut DB::Connection: Executor<'e, Database = DB>,
    {
        let watched = self.untouched.take();
        let Tx { connection, untouched, .. } = self;
        let Some(connection) = connection else { return Box::pin(futures_util::stream::empty()) };
        let mut failed = false;
        let mut results = (&mut **connection).fetch_many(query);
        Box::pin(futures_util::stream::poll_fn(move |context| {
            let next = results.as_mut().poll_next(context);
            match &next {
                Poll::Ready(Some(Err(_))) => failed = true,
                Poll::Ready(None) => *untouched = watched.filter(|_| !failed),
                Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
            }
            next
        }))
    }
}

executor!("postgres", sqlx::Postgres);
executor!("mysql", sqlx::MySql);
executor!("sqlite", sqlx::Sqlite);
