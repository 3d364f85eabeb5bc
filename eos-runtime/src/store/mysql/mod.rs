//! MySQL and MariaDB: several statements in one message, and a savepoint as the proof of life.
//!
//! A session runs with `autocommit = 0`. A deadlock rolls the whole transaction back; a handler that ignores the
//! error goes on, and with autocommit its next statements would stand alone, outside the fence. So they begin a
//! transaction of their own instead, and the end of the attempt, which releases a savepoint that the claim made,
//! finds the savepoint gone and rolls that back too.
//!
//! What only one of the two servers knows stands in comments that the other skips: `/*M!100301 … */` is MariaDB's,
//! `/*!50708 … */` MySQL's. Source: <https://mariadb.com/docs/server/reference/sql-statements/comment-syntax>.

mod attempt;
mod check;
mod claim;
mod dead_letter;
mod group;
mod outbox;
mod pool;
mod relay;
mod schema;
mod split;
mod sweep;
mod take;

use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::mysql::{MySqlDatabaseError, MySqlQueryResult, MySqlRow};
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Either, MySql, MySqlConnection};

use super::dialect::{
    Answer, ChainError, Dialect, EndError, Fault, GroupAnswer, Store, StoreOptions, SweepCursor, Swept,
};
use super::migrate::{MigrateError, Mode};
use super::{Begun, Claim, DeadLetter, GroupClaim, Held, Hold, PartitionKey, Standing, Stored, Stream, Tx};

use attempt::Claimed;
pub(super) use dead_letter::write;
pub(crate) use pool::{connect, probe, qualifier};
pub(crate) use schema::{MIGRATIONS, VERSIONS};

/// The position's row, by its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowId(i64);

impl Dialect for MySql {
    type Locator = RowId;
    type Proof = Claimed;

    fn fault(error: &sqlx::Error) -> Fault {
        pool::fault(error)
    }

    async fn open(
        _store: &Store<Self>,
        connection: PoolConnection<Self>,
        options: StoreOptions,
    ) -> sqlx::Result<Tx<Self>> {
        attempt::open(connection, options).await
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

    async fn commit(store: &Store<Self>, tx: &mut Tx<Self>, proof: &Claimed) -> Result<(), EndError> {
        attempt::commit(store, tx, proof).await
    }

    async fn commit_and_begin(
        store: &Store<Self>,
        tx: &mut Tx<Self>,
        options: StoreOptions,
        proof: &Claimed,
        hold: &Hold<RowId>,
        claim: Claim<'_>,
    ) -> Result<Answer<Self>, ChainError> {
        attempt::commit_and_begin(store, tx, options, proof, hold, claim).await
    }

    async fn rollback(tx: &mut Tx<Self>) -> sqlx::Result<()> {
        run(tx, "rollback").await
    }

    async fn abandon(store: &Store<Self>, tx: Tx<Self>) {
        attempt::abandon(store, tx).await;
    }

    async fn stream(
        store: &Store<Self>,
        group: &str,
        topic: &str,
        partitions: Option<i32>,
        _options: StoreOptions,
    ) -> sqlx::Result<Stream> {
        take::stream(store, group, topic, partitions).await
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
        _options: StoreOptions,
    ) -> sqlx::Result<Option<RowId>> {
        take::note_begun(store, hold, begun).await
    }

    async fn set_aside(
        store: &Store<Self>,
        tx: &mut Tx<Self>,
        hold: &Hold<RowId>,
        letter: DeadLetter<'_>,
    ) -> sqlx::Result<i64> {
        dead_letter::set_aside(&store.schema, tx, hold, letter).await
    }

    async fn disown(store: &Store<Self>, hold: &Hold<RowId>, _options: StoreOptions) -> sqlx::Result<()> {
        take::disown(store, hold.token).await
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

/// What a message came back with: each statement's result, and all rows.
#[derive(Debug, Default)]
struct Answers {
    results: Vec<MySqlQueryResult>,
    rows: Vec<MySqlRow>,
}

/// Sends several statements in one message. The server stops at the first that fails; its error comes with the
/// number of statements before it.
async fn message(connection: &mut MySqlConnection, sql: String) -> Result<Answers, (usize, sqlx::Error)> {
    let mut answers = Answers::default();
    let mut stream = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_many(connection);
    loop {
        match stream.try_next().await {
            Ok(Some(Either::Left(result))) => answers.results.push(result),
            Ok(Some(Either::Right(row))) => answers.rows.push(row),
            Ok(None) => return Ok(answers),
            Err(error) => return Err((answers.results.len(), error)),
        }
    }
}

async fn run(connection: &mut MySqlConnection, sql: impl Into<String>) -> sqlx::Result<()> {
    message(connection, sql.into()).await.map(drop).map_err(|(_, error)| error)
}

/// The server's error number.
fn number(error: &sqlx::Error) -> Option<u16> {
    Some(error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?.number())
}
