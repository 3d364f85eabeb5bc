//! PostgreSQL: the position row is found by its ctid, and an attempt's end travels with the next one's begin.
//!
//! Why the ctid: an update makes a new version of the row, and while somebody holds an old snapshot (a long report,
//! a backup) the dead versions cannot be removed; an index finds all of them first. The owner knows where the
//! newest one is, because its own last claim returned it. Under SERIALIZABLE, where a scan of the table would make
//! most attempts fail, the claim forbids one (`attempt.rs`). A row that was moved (VACUUM FULL) is found again by its key.
//!
//! Sources: <https://www.postgresql.org/docs/current/protocol-flow.html> (several statements in a simple query),
//! <https://www.postgresql.org/docs/current/functions-info.html> (`pg_current_xact_id_if_assigned`).

mod attempt;
mod check;
mod claim;
mod dead_letter;
mod group;
mod locator;
mod outbox;
mod pool;
mod relay;
mod schema;
mod split;
mod sweep;
mod take;

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, PgConnection, Postgres};

use super::dialect::{
    Answer, ChainError, Dialect, EndError, Fault, GroupAnswer, Store, StoreOptions, SweepCursor, Swept,
};
use super::migrate::{MigrateError, Mode};
use super::{Begun, Claim, DeadLetter, GroupClaim, Held, Hold, PartitionKey, Standing, Stored, Stream, Tx};

pub(super) use dead_letter::write;
pub(crate) use locator::Ctid;
pub(crate) use pool::{connect, probe, qualifier};
pub(crate) use schema::{MIGRATIONS, VERSIONS};

/// The transaction id that the claim ran in; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Xid(u64);

impl Dialect for Postgres {
    type Locator = Ctid;
    type Proof = Xid;

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
        hold: &Hold<Ctid>,
        claim: Claim<'_>,
    ) -> sqlx::Result<Answer<Self>> {
        attempt::begin(&store.schema, tx, options, hold, claim).await
    }

    async fn begin_group(
        _store: &Store<Self>,
        tx: &mut Tx<Self>,
        options: StoreOptions,
        hold: &Hold<Ctid>,
        claim: GroupClaim<'_>,
    ) -> sqlx::Result<GroupAnswer<Self>> {
        group::begin(tx, options, hold, claim).await
    }

    async fn begin_replay(
        store: &Store<Self>,
        tx: &mut Tx<Self>,
        options: StoreOptions,
        hold: &Hold<Ctid>,
        letter: &Stored,
    ) -> sqlx::Result<Answer<Self>> {
        attempt::begin_replay(store, tx, options, hold, letter).await
    }

    async fn commit(_store: &Store<Self>, tx: &mut Tx<Self>, proof: &Xid) -> Result<(), EndError> {
        attempt::commit(tx, proof).await
    }

    async fn commit_and_begin(
        store: &Store<Self>,
        tx: &mut Tx<Self>,
        options: StoreOptions,
        proof: &Xid,
        hold: &Hold<Ctid>,
        claim: Claim<'_>,
    ) -> Result<Answer<Self>, ChainError> {
        attempt::commit_and_begin(&store.schema, tx, options, proof, hold, claim).await
    }

    async fn rollback(tx: &mut Tx<Self>) -> sqlx::Result<()> {
        run(tx, "rollback".to_owned()).await
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
    ) -> sqlx::Result<Option<Hold<Ctid>>> {
        take::take(store, key, slot, stream, start, cluster, options).await
    }

    async fn split(
        store: &Store<Self>,
        holds: &[Hold<Ctid>],
        slots: i32,
        options: StoreOptions,
    ) -> sqlx::Result<bool> {
        split::split(store, holds, slots, options).await
    }

    async fn note_begun(
        store: &Store<Self>,
        hold: &Hold<Ctid>,
        begun: Begun,
        _options: StoreOptions,
    ) -> sqlx::Result<Option<Ctid>> {
        take::note_begun(store, hold, begun).await
    }

    async fn set_aside(
        store: &Store<Self>,
        tx: &mut Tx<Self>,
        hold: &Hold<Ctid>,
        letter: DeadLetter<'_>,
    ) -> sqlx::Result<i64> {
        dead_letter::set_aside(&store.schema, tx, hold, letter).await
    }

    async fn disown(store: &Store<Self>, hold: &Hold<Ctid>, _options: StoreOptions) -> sqlx::Result<()> {
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

/// Runs statements that return nothing, in one simple-query message.
async fn run(connection: &mut PgConnection, sql: String) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
}
