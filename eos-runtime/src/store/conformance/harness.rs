//! What the suite needs of a database, and the short words that its tests are written in.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use crate::listener::spec::Isolation;
use crate::store::dialect::{Dialect, Store, StoreOptions};
use crate::store::{
    Claim, ClaimDialect, Claimed, CommitFailed, Hold, Idle, LastRecord, LetterDialect, MoveDialect, Open,
    PartitionKey, PositionDialect, RelayDialect, Rest, Standing, Tx,
};

/// One database's way of being set up and disturbed.
///
/// `effect (n bigint)` is the handlers' table, without any key, so that a second application would show.
pub(super) trait Harness: Sized + Send + Sync + 'static {
    type D: LetterDialect<Locator: 'static, Proof: 'static>
        + PositionDialect
        + RelayDialect
        + MoveDialect
        + ClaimDialect;

    /// Whether a backslash in a text is written twice.
    const ESCAPES: bool;
    /// The column `key`, as this database has it quoted.
    const KEY_COLUMN: &'static str;
    /// Whether an entry that is written without an id gets one.
    const MAKES_IDS: bool;
    /// Whether an error in one statement makes the whole transaction fail.
    const ERROR_ABORTS: bool;
    /// What a stray ROLLBACK leaves behind: nothing, or also statements that ran on their own.
    const ROLLBACK_STRAYS: bool;
    /// Makes a table whose row is refused at COMMIT, and the statement that writes such a row.
    const DEFERRED: Option<(&'static str, &'static str)>;
    /// A statement that changes the session in ways that must not matter to the end of an attempt.
    const SETTING: &'static str;

    /// Bytes, in SQL.
    fn bytes(bytes: &[u8]) -> String;

    /// A database of its own with the tables of eos and `effect`.
    fn fresh() -> impl Future<Output = Self> + Send;
    /// The same without the tables of eos.
    fn empty() -> impl Future<Output = Self> + Send;
    /// Removes it again.
    fn remove(self) -> impl Future<Output = ()> + Send;
    fn store(&self) -> &Arc<Store<Self::D>>;
    /// Another process's store on the same database.
    fn another_store(&self) -> Arc<Store<Self::D>>;
    /// Runs a statement from outside, on a connection that eos does not know.
    fn outside(&self, sql: &str) -> impl Future<Output = u64> + Send;
    /// The number that a query from outside returns.
    fn number(&self, sql: &str) -> impl Future<Output = i64> + Send;
    /// A handler's statement, as text.
    fn write(tx: &mut Tx<Self::D>, sql: &str) -> impl Future<Output = sqlx::Result<u64>> + Send;
    /// The same past the guard, on the connection itself.
    fn past_guard(tx: &mut Tx<Self::D>, sql: &str) -> impl Future<Output = sqlx::Result<u64>> + Send;
    /// Makes inbox rows older.
    fn age_inbox(&self, by: Duration) -> impl Future<Output = ()> + Send;
    /// `tx.begin()`, one row in it, and its end.
    fn in_savepoint(tx: &mut Tx<Self::D>, end: SavepointEnd)
    -> impl Future<Output = sqlx::Result<()>> + Send;
    /// sqlx's count of open transactions on a connection of the pool that nobody uses.
    fn pooled_depth(&self) -> impl Future<Output = usize> + Send;
}

/// A database that is a server of its own, beyond a wire.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) trait Server: Harness {
    /// Turns off what the server itself would do about a session that sleeps.
    const NO_TIMEOUTS: &'static str;
    /// A statement that takes half a minute.
    const LONG: &'static str;
    /// A connection that eos does not know.
    type Connection: Send;

    /// A store whose connections pass through a proxy that can lose what they say.
    fn proxied(&self) -> impl Future<Output = (super::proxy::Proxy, Arc<Store<Self::D>>)> + Send;
    /// A token that nobody has, in SQL.
    const RANDOM_TOKEN: &'static str;

    /// What a person with a console might do: begins, runs the statement, and leaves the transaction open.
    fn begin_outside(&self, sql: &str) -> impl Future<Output = Self::Connection> + Send;
    /// Commits that; the connection must still live.
    fn commit_outside(&self, connection: Self::Connection) -> impl Future<Output = ()> + Send;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SavepointEnd {
    RolledBack,
    Dropped,
}

/// Runs a test in a database of its own, which goes away however it ends.
pub(super) async fn with<H: Harness, F: AsyncFnOnce(&H)>(test: F) {
    let harness = H::fresh().await;
    let outcome = AssertUnwindSafe(test(&harness)).catch_unwind().await;
    harness.remove().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Long enough for a healthy machine under load.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

pub(super) fn options(deadline: Duration) -> StoreOptions {
    StoreOptions { isolation: Isolation::ReadCommitted, deadline }
}

pub(super) fn key(partition: i32) -> PartitionKey {
    PartitionKey { group: "billing".into(), topic: "event.order".into(), partition }
}

pub(super) fn record(offset: i64) -> LastRecord {
    LastRecord { offset, timestamp_ms: 1_700_000_000_000 + offset, checksum: u32::MAX - 7 }
}

pub(super) fn at(offset: i64) -> Claim<'static> {
    Claim { record: record(offset), message_id: None }
}

pub(super) fn with_id(offset: i64, id: &[u8]) -> Claim<'_> {
    Claim { record: record(offset), message_id: Some(id) }
}

pub(super) type HoldOf<H> = Hold<<<H as Harness>::D as Dialect>::Locator>;

/// Takes a partition, at 0 where it is new.
pub(super) async fn take<H: Harness>(h: &H, partition: i32) -> HoldOf<H> {
    take_within::<H>(h.store(), partition, DEADLINE).await
}

pub(super) async fn take_within<H: Harness>(
    store: &Store<H::D>,
    partition: i32,
    deadline: Duration,
) -> HoldOf<H> {
    take_as::<H>(store, &key(partition), 0, None, deadline).await.expect("a take succeeds")
}

/// Takes as a worker does: the stream first, which every take of the group and topic finds again.
pub(super) async fn take_as<H: Harness>(
    store: &Store<H::D>,
    key: &PartitionKey,
    start: i64,
    cluster: Option<&str>,
    deadline: Duration,
) -> sqlx::Result<HoldOf<H>> {
    let options = options(deadline);
    let taking = async {
        let stream = H::D::stream(store, &key.group, &key.topic, None, options).await?;
        Ok(H::D::take(store, key, 0, stream, start, cluster, options).await?.expect("slot 0 is always there"))
    };
    tokio::time::timeout(Duration::from_secs(60), taking).await.expect("a take comes to its end")
}

pub(super) async fn session<H: Harness>(h: &H, hold: HoldOf<H>) -> Idle<H::D> {
    session_with::<H>(h.store(), hold, options(DEADLINE)).await
}

pub(super) async fn session_with<H: Harness>(
    store: &Arc<Store<H::D>>,
    hold: HoldOf<H>,
    options: StoreOptions,
) -> Idle<H::D> {
    Idle::open(Arc::clone(store), options, hold).await.map_err(|(error, _)| error).expect("a session opens")
}

/// Takes the partition and opens a session.
pub(super) async fn owner<H: Harness>(h: &H, partition: i32) -> Idle<H::D> {
    session(h, take(h, partition).await).await
}

pub(super) async fn begin<D: Dialect>(idle: Idle<D>, claim: Claim<'_>) -> Claimed<D> {
    idle.begin(claim).await.map_err(|(error, _)| error).expect("the claim is answered")
}

pub(super) fn fresh<D: Dialect>(claimed: Claimed<D>) -> Open<D> {
    match claimed {
        Claimed::Fresh(open) => open,
        Claimed::Duplicate(_) => panic!("the claim found a duplicate; it should be fresh"),
        Claimed::NotOurs(_) => panic!("the claim found no row of ours; it should be fresh"),
    }
}

pub(super) fn duplicate<D: Dialect>(claimed: Claimed<D>) -> Open<D> {
    match claimed {
        Claimed::Duplicate(open) => open,
        Claimed::Fresh(_) => panic!("the claim was fresh; it should be a duplicate"),
        Claimed::NotOurs(_) => panic!("the claim found no row of ours; it should be a duplicate"),
    }
}

pub(super) fn not_ours<D: Dialect>(claimed: Claimed<D>) -> Rest<D> {
    match claimed {
        Claimed::NotOurs(rest) => rest,
        Claimed::Fresh(_) => panic!("the claim was fresh; the row should not be ours"),
        Claimed::Duplicate(_) => panic!("the claim found a duplicate; the row should not be ours"),
    }
}

/// A transaction whose handler rolled it back past our guard commits nothing, and says so.
pub(super) async fn stray_rollback_is_found_out<D: Dialect>(open: Open<D>) {
    match open.commit().await {
        Err((CommitFailed::Strayed(_) | CommitFailed::RolledBack(_), _)) => {}
        Err((CommitFailed::InDoubt(error), _)) => panic!("{error}"),
        Ok(_) => panic!("a stray ROLLBACK was not found out"),
    }
}

pub(super) async fn commit<D: Dialect>(open: Open<D>) -> Idle<D> {
    open.commit().await.map_err(|(failed, _)| failed).expect("the attempt commits")
}

pub(super) async fn effect<H: Harness>(open: &mut Open<H::D>, n: i64) {
    H::write(open.tx(), &format!("insert into effect (n) values ({n})")).await.expect("the handler writes");
}

/// Claims, writes `n = offset`, commits.
pub(super) async fn handle<H: Harness>(idle: Idle<H::D>, claim: Claim<'_>) -> Idle<H::D> {
    let mut open = fresh(begin(idle, claim).await);
    effect::<H>(&mut open, claim.record.offset).await;
    commit(open).await
}

pub(super) async fn effects<H: Harness>(h: &H) -> i64 {
    h.number("select count(*) from effect").await
}

pub(super) async fn inbox<H: Harness>(h: &H) -> i64 {
    h.number(&format!("select count(*) from {}eos_inbox", h.store().schema)).await
}

pub(super) async fn position<H: Harness>(h: &H) -> i64 {
    h.number(&format!("select next_offset from {}eos_position", h.store().schema)).await
}

pub(super) async fn standing<H: Harness>(h: &H, hold: &HoldOf<H>) -> Standing {
    let standings = H::D::standings(h.store(), &[hold.held()]).await.expect("standings answer");
    assert_eq!(standings.len(), 1);
    standings[0]
}

/// The methods of [`Harness`] that only differ in sqlx's types.
macro_rules! like_any_other {
    ($database:ty) => {
        async fn write(tx: &mut Tx<$database>, sql: &str) -> sqlx::Result<u64> {
            Ok(tx.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await?.rows_affected())
        }

        async fn past_guard(tx: &mut Tx<$database>, sql: &str) -> sqlx::Result<u64> {
            Ok((&mut **tx).execute(sqlx::raw_sql(AssertSqlSafe(sql))).await?.rows_affected())
        }

        async fn in_savepoint(tx: &mut Tx<$database>, end: SavepointEnd) -> sqlx::Result<()> {
            let mut savepoint = tx.begin().await?;
            (&mut *savepoint).execute("insert into effect values (99)").await?;
            (&mut *savepoint)
                .execute("insert into no_such_table values (1)")
                .await
                .expect_err("there is no such table");
            match end {
                SavepointEnd::RolledBack => savepoint.rollback().await,
                SavepointEnd::Dropped => Ok(()),
            }
        }

        async fn pooled_depth(&self) -> usize {
            let connection = self.store.pool.acquire().await.expect("a connection");
            type Manager = <$database as sqlx::Database>::TransactionManager;
            <Manager as sqlx_core::transaction::TransactionManager>::get_transaction_depth(&connection)
        }
    };
}
pub(super) use like_any_other;
