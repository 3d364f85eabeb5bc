//! SQLite: one file, one machine, one writer at a time.
//!
//! Every attempt is the file's only writer from its claim to its end (BEGIN IMMEDIATE), in this process and all
//! others. That makes the fence simple, and two things hard: a process that is stopped in an attempt holds the whole
//! file (see `holder.rs`), and whoever waits must get a turn (see `lock.rs`).
//!
//! The file is kept in WAL mode with `synchronous = full`: in WAL mode anything less can lose the last commits when
//! the power fails. Source: <https://www.sqlite.org/pragma.html#pragma_synchronous>.

mod attempt;
mod check;
mod claim;
mod dead_letter;
mod group;
mod holder;
mod lock;
mod outbox;
mod pool;
mod relay;
mod schema;
mod split;
mod sweep;
mod take;

use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Either, Sqlite, SqliteConnection};

use super::dialect::{
    Answer, ChainError, Dialect, EndError, Fault, GroupAnswer, Store, StoreOptions, SweepCursor, Swept,
};
use super::migrate::{MigrateError, Mode};
use super::{Begun, Claim, DeadLetter, GroupClaim, Held, Hold, PartitionKey, Standing, Stored, Stream, Tx};

pub(super) use dead_letter::write;
use lock::Turn;
pub(crate) use pool::{connect, probe, qualifier};
pub(crate) use schema::{MIGRATIONS, VERSIONS};

/// The position's row, by its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowId(i64);

impl Dialect for Sqlite {
    type Locator = RowId;
    /// The savepoint `eos_alive` proves the transaction; what is kept here is the turn at writing.
    type Proof = Turn;

    fn fault(error: &sqlx::Error) -> Fault {
        pool::fault(error)
    }

    async fn open(
        _store: &Store<Self>,
        connection: PoolConnection<Self>,
        _options: StoreOptions,
    ) -> sqlx::Result<Tx<Self>> {
        attempt::open(connection).await
    }

    async fn close(tx: Tx<Self>) -> sqlx::Result<()> {
        attempt::close(tx).await
    }

    async fn begin(
        store: &Store<Self>,
        tx: &mut Tx<Self>,
        options: StoreOptions,
        hold: &Hold<RowId>,
        claim: Claim<'_>,
    ) -> sqlx::Result<Answer<Self>> {
        attempt::begin(store, tx, options, hold, claim).await
    }

    async fn begin_group(
        store: &Store<Self>,
        tx: &mut Tx<Self>,
        options: StoreOptions,
        hold: &Hold<RowId>,
        claim: GroupClaim<'_>,
    ) -> sqlx::Result<GroupAnswer<Self>> {
        group::begin(store, tx, options, hold, claim).await
    }

    async fn begin_replay(
        store: &Store<Self>,
        tx: &mut Tx<Self>,
        options: StoreOptions,
        hold: &Hold<RowId>,
        letter: &Stored,
    ) -> sqlx::Result<Answer<Self>> {
        attempt::begin_replay(store, tx, options, hold, letter).await
    }

    async fn commit(_store: &Store<Self>, tx: &mut Tx<Self>, _proof: &Turn) -> Result<(), EndError> {
        attempt::commit(tx).await
    }

    async fn commit_and_begin(
        store: &Store<Self>,
        tx: &mut Tx<Self>,
        options: StoreOptions,
        proof: &Turn,
        hold: &Hold<RowId>,
        claim: Claim<'_>,
    ) -> Result<Answer<Self>, ChainError> {
        attempt::commit_and_begin(store, tx, options, proof, hold, claim).await
    }

    async fn rollback(tx: &mut Tx<Self>) -> sqlx::Result<()> {
        attempt::rollback(tx).await
    }

    async fn abandon(_store: &Store<Self>, tx: Tx<Self>) {
        // Dropping it interrupts the statement that still runs, and closing the connection rolls back.
        drop(tx);
    }

    async fn stream(
        store: &Store<Self>,
        group: &str,
        topic: &str,
        partitions: Option<i32>,
        options: StoreOptions,
    ) -> sqlx::Result<Stream> {
        take::stream(store, group, topic, partitions, options).await
    }

    async fn take(
        store: &Store<Self>,
        key: &PartitionKey,
        slot: i32,
        stream: Stream,
        start: i64,
        cluster: Option<&str>,
        options: StoreOptions,
    ) -> sqlx::Result<Option<Hold<RowId>>> {
        take::take(store, key, slot, stream, start, cluster, options).await
    }

    async fn split(
        store: &Store<Self>,
        holds: &[Hold<RowId>],
        slots: i32,
        options: StoreOptions,
    ) -> sqlx::Result<bool> {
        split::split(store, holds, slots, options).await
    }

    async fn note_begun(
        store: &Store<Self>,
        hold: &Hold<RowId>,
        begun: Begun,
        options: StoreOptions,
    ) -> sqlx::Result<Option<RowId>> {
        take::note_begun(store, hold, begun, options).await
    }

    async fn set_aside(
        store: &Store<Self>,
        tx: &mut Tx<Self>,
        hold: &Hold<RowId>,
        letter: DeadLetter<'_>,
    ) -> sqlx::Result<i64> {
        dead_letter::set_aside(&store.schema, tx, hold, letter).await
    }

    async fn disown(store: &Store<Self>, hold: &Hold<RowId>, options: StoreOptions) -> sqlx::Result<()> {
        take::disown(store, hold.token, options).await
    }

    async fn standings(store: &Store<Self>, holds: &[Held]) -> sqlx::Result<Vec<Standing>> {
        take::standings(store, holds).await
    }

    async fn sweep(store: &Store<Self>, from: SweepCursor, retention: Duration) -> sqlx::Result<Swept> {
        sweep::sweep(store, from, retention).await
    }

    async fn migrate(store: &Store<Self>, mode: Mode) -> Result<(), MigrateError> {
        schema::migrate(store, mode).await
    }
}

/// Milliseconds since 1970.
const NOW_MS: &str = "cast((julianday('now') - 2440587.5) * 86400000 as integer)";

/// Runs statements one after another in one visit to the connection's thread, and counts the rows that each changed.
/// An error comes with the number of statements before it.
async fn statements(
    connection: &mut SqliteConnection,
    sql: String,
) -> Result<Vec<u64>, (usize, sqlx::Error)> {
    let mut changed = Vec::with_capacity(8);
    let mut stream = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_many(connection);
    loop {
        match stream.try_next().await {
            Ok(Some(Either::Left(done))) => changed.push(done.rows_affected()),
            Ok(Some(Either::Right(_))) => {}
            Ok(None) => return Ok(changed),
            Err(error) => return Err((changed.len(), error)),
        }
    }
}

/// SQLite's result code without its extension.
/// Source: <https://www.sqlite.org/rescode.html>.
fn code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?.parse::<i32>().ok()?;
    Some(code & 0xff)
}
