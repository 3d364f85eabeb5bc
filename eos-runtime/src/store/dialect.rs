//! What a database must be able to do for eos, and the store that is built on it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::{
    Begun, Claim, DeadLetter, Freshness, GroupClaim, Held, Hold, Home, PartitionKey, Standing, Stored,
    Stream, Tx, TxDatabase,
};
use crate::listener::spec::Isolation;
use sqlx::pool::PoolConnection;

/// What a database's error means, by SQLSTATE or error number, never by its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Unreachable, starting, stopping, out of connections or of disk: wait and try again on a new connection.
    Unavailable,
    /// It can only be read, as after a failover: every connection to it is of no use.
    ReadOnly,
    /// A table, a column or a right is missing: the program is ahead of its migration or its grant.
    #[cfg_attr(
        not(any(feature = "postgres", feature = "mysql")),
        expect(dead_code, reason = "SQLite has one code for these and for much else")
    )]
    Unready,
    /// A serialization failure or a deadlock: again at once.
    Transient,
    /// A statement or its wait for a lock took longer than it may.
    Overdue,
    /// The address, the user or the password is wrong: a person must change a setting.
    Refused,
    /// Anything else: the statement itself failed.
    Failed,
}

impl Fault {
    /// What an error means that the database did not send: the driver's own.
    pub(crate) fn of_driver(error: &sqlx::Error) -> Self {
        use sqlx::Error as E;
        if matches!(error, E::Configuration(_) | E::InvalidArgument(_)) {
            Fault::Refused
        } else if matches!(
            error,
            E::Encode(_)
                | E::Decode(_)
                | E::RowNotFound
                | E::TypeNotFound { .. }
                | E::ColumnDecode { .. }
                | E::ColumnNotFound(_)
                | E::ColumnIndexOutOfBounds { .. }
        ) {
            Fault::Failed
        } else {
            // I/O, a protocol that ended early, a pool that timed out or closed, a thread that ended: the connection
            // is of no use.
            Fault::Unavailable
        }
    }
}

/// How a store works for one listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreOptions {
    pub(crate) isolation: Isolation,
    /// How long an attempt may take; a holder that exceeds it by [`StoreOptions::MARGIN`] is ended.
    pub(crate) deadline: Duration,
}

impl StoreOptions {
    /// What a holder is given beyond its deadline before someone ends it.
    pub(crate) const MARGIN: Duration = Duration::from_secs(1);

    /// When a server that has not answered is taken for gone: its own bounds are over, those of two statements.
    pub(crate) fn limit(&self) -> Duration {
        self.patience() * 2 + Duration::from_secs(5)
    }

    /// When a waiting taker or claimer ends whoever holds the row.
    pub(crate) fn patience(&self) -> Duration {
        self.deadline + Self::MARGIN
    }
}

/// Why a statement that ends an attempt failed.
#[derive(Debug)]
pub(crate) enum EndError {
    /// The server said no and nothing was committed.
    RolledBack(sqlx::Error),
    /// The transaction was no longer the one that was claimed: the handler ended it. What it wrote after that has
    /// been committed on its own and cannot be undone.
    Strayed(sqlx::Error),
    /// Nobody knows: the message was on its way.
    InDoubt(sqlx::Error),
}

/// Why a chained message (commit, begin, claim) failed.
#[derive(Debug)]
pub(crate) enum ChainError {
    /// In its first half; the next claim was not reached.
    End(EndError),
    /// The commit stands; the next claim failed.
    Next(sqlx::Error),
}

/// A claim's answer.
#[derive(Debug)]
pub(crate) struct Answer<D: Dialect> {
    /// The position was mine to move and was moved; where its row is now.
    pub(crate) position: Option<D::Locator>,
    /// The message id was not in the inbox before (or none was asked for).
    pub(crate) inbox_fresh: bool,
    /// What the end of this attempt proves itself with.
    pub(crate) proof: D::Proof,
}

/// A group claim's answer.
#[derive(Debug)]
pub(crate) struct GroupAnswer<D: Dialect> {
    /// The position was mine to move and was moved; where its row is now.
    pub(crate) position: Option<D::Locator>,
    /// Those of the ids that were in the inbox before.
    pub(crate) seen: Vec<Vec<u8>>,
    /// What the end of this attempt proves itself with.
    pub(crate) proof: D::Proof,
}

/// One database's way of doing it. Connections come out of eos's own pool, made by [`Dialect::pool`].
///
/// All SQL names its schema. Between attempts a session's connection is outside a transaction on the server while
/// sqlx's own count stays at one, so that begin, claim and commit travel as they like ([`Dialect::open`] sets that
/// up, [`Dialect::close`] undoes it).
pub(crate) trait Dialect: TxDatabase {
    /// Where a position row is found again without an index; `()` where a key is as good.
    type Locator: Clone + fmt::Debug + Send + Sync;
    /// What proves that the transaction at the end is the one that was claimed.
    type Proof: fmt::Debug + Send + Sync;

    /// What an error means.
    fn fault(error: &sqlx::Error) -> Fault;

    /// Makes a fresh connection a session's: timeouts, and sqlx's depth at one with the server outside a transaction.
    fn open(
        store: &Store<Self>,
        connection: PoolConnection<Self>,
        options: StoreOptions,
    ) -> impl Future<Output = sqlx::Result<Tx<Self>>> + Send;

    /// Brings a session that is between attempts back to a connection that any user of the pool can have.
    fn close(tx: Tx<Self>) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// BEGIN and claim, in as few round trips as the database allows.
    fn begin(
        store: &Store<Self>,
        tx: &mut Tx<Self>,
        options: StoreOptions,
        hold: &Hold<Self::Locator>,
        claim: Claim<'_>,
    ) -> impl Future<Output = sqlx::Result<Answer<Self>>> + Send;

    /// BEGIN, and the claim of a record that was set aside: the position is held where it is, the row becomes replayed, or
    /// goes where it was parked, and its id is done. An answer without a fresh inbox says that somebody was quicker.
    fn begin_replay(
        store: &Store<Self>,
        tx: &mut Tx<Self>,
        options: StoreOptions,
        hold: &Hold<Self::Locator>,
        letter: &Stored,
    ) -> impl Future<Output = sqlx::Result<Answer<Self>>> + Send;

    /// BEGIN, and the claim of a group of records.
    fn begin_group(
        store: &Store<Self>,
        tx: &mut Tx<Self>,
        options: StoreOptions,
        hold: &Hold<Self::Locator>,
        claim: GroupClaim<'_>,
    ) -> impl Future<Output = sqlx::Result<GroupAnswer<Self>>> + Send;

    /// Proof of life and COMMIT, in one message where the database allows.
    fn commit(
        store: &Store<Self>,
        tx: &mut Tx<Self>,
        proof: &Self::Proof,
    ) -> impl Future<Output = Result<(), EndError>> + Send;

    /// [`Dialect::commit`] and [`Dialect::begin`] of the next record; one message where the database allows.
    fn commit_and_begin(
        store: &Store<Self>,
        tx: &mut Tx<Self>,
        options: StoreOptions,
        proof: &Self::Proof,
        hold: &Hold<Self::Locator>,
        claim: Claim<'_>,
    ) -> impl Future<Output = Result<Answer<Self>, ChainError>> + Send {
        async move {
            Self::commit(store, tx, proof).await.map_err(ChainError::End)?;
            Self::begin(store, tx, options, hold, claim).await.map_err(ChainError::Next)
        }
    }

    /// ROLLBACK of whatever is open.
    fn rollback(tx: &mut Tx<Self>) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Ends the backend of a session whose handler overran, from another connection, so that its locks are free.
    fn abandon(store: &Store<Self>, tx: Tx<Self>) -> impl Future<Output = ()> + Send;

    /// The group's stream of a topic; made where there is none, with `partitions` as its first ones.
    fn stream(
        store: &Store<Self>,
        group: &str,
        topic: &str,
        partitions: Option<i32>,
        options: StoreOptions,
    ) -> impl Future<Output = sqlx::Result<Stream>> + Send;

    /// Takes a slot of the partition: a new epoch and token in its row. That of slot 0 is made, at `start` and as that of the
    /// only one, where the partition has none; of another, where the partition has fewer slots, there is nothing to take.
    /// Waits for the attempt in flight, and ends its holder once it has waited past the deadline.
    fn take(
        store: &Store<Self>,
        key: &PartitionKey,
        slot: i32,
        stream: Stream,
        start: i64,
        cluster: Option<&str>,
        options: StoreOptions,
    ) -> impl Future<Output = sqlx::Result<Option<Hold<Self::Locator>>>> + Send;

    /// Splits the partition anew, into so many slots that all stand at the highest of these positions: nothing is done again,
    /// and what a slot had not done below that is passed over. False, and nothing is done, where these are not all of
    /// the partition's rows as they are now.
    fn split(
        store: &Store<Self>,
        holds: &[Hold<Self::Locator>],
        slots: i32,
        options: StoreOptions,
    ) -> impl Future<Output = sqlx::Result<bool>> + Send;

    /// Writes down, outside of any attempt, what begins behind the position; where the row is now, or `None` where it is
    /// not this hold's at this position.
    fn note_begun(
        store: &Store<Self>,
        hold: &Hold<Self::Locator>,
        begun: Begun,
        options: StoreOptions,
    ) -> impl Future<Output = sqlx::Result<Option<Self::Locator>>> + Send;

    /// Writes a record, dead or parked, in the transaction that has claimed it, and marks its id in the inbox as set aside;
    /// the row's number.
    fn set_aside(
        store: &Store<Self>,
        tx: &mut Tx<Self>,
        hold: &Hold<Self::Locator>,
        letter: DeadLetter<'_>,
    ) -> impl Future<Output = sqlx::Result<i64>> + Send;

    /// Makes the row, if it is still this hold's, one whose last record no log has.
    fn disown(
        store: &Store<Self>,
        hold: &Hold<Self::Locator>,
        options: StoreOptions,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// What the rows say about these holds, in one query.
    fn standings(
        store: &Store<Self>,
        holds: &[Held],
    ) -> impl Future<Output = sqlx::Result<Vec<Standing>>> + Send;

    /// Deletes inbox rows older than `retention` among the next small stretch of the table, and says how far it got.
    fn sweep(
        store: &Store<Self>,
        from: SweepCursor,
        retention: Duration,
    ) -> impl Future<Output = sqlx::Result<Swept>> + Send;

    /// Creates or brings up to date the tables, or only checks them.
    fn migrate(
        store: &Store<Self>,
        mode: super::migrate::Mode,
    ) -> impl Future<Output = Result<(), super::migrate::MigrateError>> + Send;
}

/// How far the sweep of the inbox got; opaque to all but the dialect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SweepCursor(pub(crate) Vec<u8>);

/// One step of the inbox's sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Swept {
    pub(crate) deleted: u64,
    /// Where to go on; `None` when the end of the table was reached.
    pub(crate) next: Option<SweepCursor>,
}

/// A database that eos keeps positions in: its own pool, and the names of its tables.
#[derive(Debug)]
pub(crate) struct Store<D: Dialect> {
    pub(crate) pool: sqlx::Pool<D>,
    /// The schema that every statement names, quoted and with its dot; empty where the database has none.
    pub(crate) schema: String,
    /// The outbox of this database, as the process knows it.
    pub(crate) home: Arc<Home>,
    /// Which of the pool's connections are good.
    pub(crate) freshness: Arc<Freshness>,
}

impl<D: Dialect> Store<D> {
    /// On a pool of eos's own; the schema as SQL says it.
    pub(crate) fn new(pool: sqlx::Pool<D>, schema: String) -> Self {
        Store::with(pool, schema, Arc::new(Freshness::new()))
    }

    /// The same, where the pool asks `freshness` before it lends a connection.
    pub(crate) fn with(pool: sqlx::Pool<D>, schema: String, freshness: Arc<Freshness>) -> Self {
        let home = Home::at(&pool, &schema);
        Store { pool, schema, home, freshness }
    }

    /// On another pool of the same database.
    pub(crate) fn of(pool: sqlx::Pool<D>, home: Arc<Home>) -> Self {
        let schema = home.schema().to_owned();
        Store { pool, schema, home, freshness: Arc::new(Freshness::new()) }
    }
}
