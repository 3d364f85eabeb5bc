//! The outbox's table: what stands in it, and how a transaction writes to it.
//!
//! | file | what it promises |
//! |---|---|
//! | `entry.rs` | one event as the table holds it; headers as text that people can read and any bytes fit in |
//! | `relay.rs` | what a relay asks: what waits, what left, what was refused, and who publishes which slots |
//! | `words.rs` | the statements of that, said once for three databases |
//! | `home.rs` | the outbox of one database as this process knows it: its schema, and who is woken by a commit |
//!
//! Columns and their reasons are in each database's `outbox.sql`.

mod entry;
mod headers;
mod home;
mod relay;
mod words;

use std::future::Future;

use sqlx::{Database, Pool, SqlStr};

use super::Tx;
use crate::error::BoxError;
use crate::listener::spec::Isolation;

pub(crate) use entry::Entry;
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(crate) use entry::insert_by_values;
pub(crate) use headers::{read as read_headers, write as write_headers};
pub(crate) use home::{Home, Serving};
pub(crate) use relay::*;
pub(crate) use words::*;

/// What a database does for the transactions that services begin, and for what is published in them.
pub trait OutboxDialect: Database {
    /// Whether one connection can wake another.
    const ANNOUNCES: bool;

    /// A name by which pools of the same database are known to be that: its address.
    fn identity(options: &<Self::Connection as sqlx::Connection>::Options) -> String;

    /// Whether this address is the one of that name.
    fn is_at(url: &str, identity: &str) -> bool {
        url.parse().is_ok_and(|options| Self::identity(&options) == identity)
    }

    /// Makes the next transaction of a connection one of this level, and says the statement that begins it.
    fn begin_at(
        connection: &mut Self::Connection,
        isolation: Isolation,
    ) -> impl Future<Output = sqlx::Result<SqlStr>> + Send;

    /// Errors where COMMIT would roll back and say nothing.
    fn prove_alive(tx: &mut Tx<Self>) -> impl Future<Output = sqlx::Result<()>> + Send
    where
        Self: super::TxDatabase;

    /// Whether an error of COMMIT says for certain that nothing was committed.
    fn rolled_back(error: &sqlx::Error) -> bool;

    /// Whether an error says that two transactions met and this one gave way: again from its beginning, it may succeed.
    fn gave_way(error: &sqlx::Error) -> bool;

    /// Whether a statement's error has ended the whole transaction, so that the next statement would stand alone.
    fn ends_transaction(error: &sqlx::Error) -> bool;

    /// Writes entries in their order.
    fn write_entries(
        tx: &mut Tx<Self>,
        schema: &str,
        entries: &[Entry],
    ) -> impl Future<Output = sqlx::Result<()>> + Send
    where
        Self: super::TxDatabase;

    /// Makes the tables of eos, or brings them up to date; the schema as SQL says it.
    fn migrate_outbox(pool: &Pool<Self>, schema: &str) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Wakes the relays of other processes, outside of any transaction.
    fn announce(pool: &Pool<Self>) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Where the table is when the settings do not say.
    fn usual_schema() -> &'static str;

    /// A schema's name as SQL says it, with its dot.
    fn qualified(schema: &str) -> String;
}
