//! A transaction as sqlx's executor: what is said in it is looked at before, and its outcome noted after.
//!
//! Statements that would end the transaction are refused (`guard.rs`). A statement that only reads and writes rows and
//! ran to its end without an error leaves the transaction *untouched*: it is certainly still open and not aborted. A
//! deadlock or a serialization failure is noted: the transaction is lost, whatever its owner makes of the error.

use std::task::Poll;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::FutureExt;
use sqlx::{Database, Describe, Either, Execute, Executor, SqlStr};

use super::{Tx, TxDatabase};
use crate::store::guard::Admitted;

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
                match self.admit(query) {
                    Ok(query) => self.watched(query),
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
                match self.admit(query) {
                    Ok(query) => self.watched_row(query),
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
    fn admit<'q>(&self, query: impl Execute<'q, DB>) -> sqlx::Result<Admitted<DB>> {
        match self.pending.lost() {
            Some(lost) => Err(lost),
            None => Admitted::admit(query),
        }
    }

    /// Runs a statement. The transaction counts as touched until a data statement has come to its end without an error:
    /// one that is dropped before leaves an error unread.
    fn watched<'e, 'q: 'e>(
        &'e mut self,
        query: Admitted<DB>,
    ) -> BoxStream<'e, sqlx::Result<Either<DB::QueryResult, DB::Row>>>
    where
        &'e mut DB::Connection: Executor<'e, Database = DB>,
    {
        let watched = self.untouched.take().filter(|_| query.is_data());
        let Tx { connection, untouched, pending, .. } = self;
        let Some(connection) = connection else { return Box::pin(futures_util::stream::empty()) };
        let mut failed = false;
        let mut results = (&mut **connection).fetch_many(query);
        Box::pin(futures_util::stream::poll_fn(move |context| {
            let next = results.as_mut().poll_next(context);
            match &next {
                Poll::Ready(Some(Err(error))) => {
                    failed = true;
                    pending.note::<DB>(error);
                }
                Poll::Ready(None) => *untouched = watched.filter(|_| !failed),
                Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
            }
            next
        }))
    }

    /// The same for one row; sqlx reads on to the statement's end behind it.
    fn watched_row<'e, 'q: 'e>(&'e mut self, query: Admitted<DB>) -> BoxFuture<'e, sqlx::Result<Option<DB::Row>>>
    where
        &'e mut DB::Connection: Executor<'e, Database = DB>,
    {
        let watched = self.untouched.take().filter(|_| query.is_data());
        let Tx { connection, untouched, pending, .. } = self;
        let Some(connection) = connection else { return Box::pin(std::future::ready(Ok(None))) };
        let row = (&mut **connection).fetch_optional(query);
        Box::pin(row.inspect(move |outcome| match outcome {
            Ok(_) => *untouched = watched,
            Err(error) => pending.note::<DB>(error),
        }))
    }
}

executor!("postgres", sqlx::Postgres);
executor!("mysql", sqlx::MySql);
executor!("sqlite", sqlx::Sqlite);
