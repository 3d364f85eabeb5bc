//! The suite on PostgreSQL, and what only PostgreSQL has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, Postgres};

use super::harness::*;
use super::proxy::Proxy;
use crate::listener::spec::Isolation;
use crate::store::dialect::{Dialect, Fault, Store};
use crate::store::{ChainFailed, CommitFailed, MigrateMode, Standing, StoreOptions, Tx, postgres};

suite!(super::Pg);
server_suite!(super::Pg);

/// A schema of its own; it is also the search path, where `effect` lies.
pub(super) struct Pg {
    options: PgConnectOptions,
    schema: String,
    store: Arc<Store<Postgres>>,
}

/// A name that no other test has.
fn unique() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("eos_t_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

impl Pg {
    fn named(options: PgConnectOptions, schema: &str) -> Self {
        let options = options.options([("search_path", schema)]);
        let store = Arc::new(postgres::connect(options.clone(), schema, 8));
        Pg { options, schema: schema.to_owned(), store }
    }

    /// In a database of its own, where no other test's snapshot keeps dead rows from being cleared away.
    async fn alone() -> Self {
        let name = unique();
        let mut admin = server().connect().await.expect("the test server can be reached");
        for statement in [format!("drop database if exists {name}"), format!("create database {name}")] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut admin).await.expect("it works");
        }
        let h = Self::named(server().database(&name), &name);
        Postgres::migrate(&h.store, MigrateMode::Auto).await.expect("the tables are made");
        h.outside("create table effect (n bigint)").await;
        h
    }

    async fn remove_database(self) {
        self.store.pool.close().await;
        let mut admin = server().connect().await.expect("the test server can be reached");
        let drop = format!("drop database {} with (force)", self.schema);
        sqlx::query(AssertSqlSafe(drop)).execute(&mut admin).await.expect("dropped");
    }

    async fn connection(&self) -> PgConnection {
        self.options.connect().await.expect("the test server can be reached")
    }
}

pub(super) fn server() -> PgConnectOptions {
    std::env::var("EOS_TEST_POSTGRES")
        .expect("EOS_TEST_POSTGRES is the address of a PostgreSQL server for tests; `scripts/services env` prints it")
        .parse::<PgConnectOptions>()
        .expect("EOS_TEST_POSTGRES is an address")
        .disable_statement_logging()
}

impl Harness for Pg {
    type D = Postgres;

    const KEY_COLUMN: &'static str = "key";
    const ESCAPES: bool = false;
    const MAKES_IDS: bool = true;
    const ERROR_ABORTS: bool = true;
    const ROLLBACK_STRAYS: bool = true;
    const DEFERRED: Option<(&'static str, &'static str)> = Some((
        "create table parent (id int primary key); \
         create table child (parent int references parent deferrable initially deferred)",
        "insert into child values (1)",
    ));
    const SETTING: &'static str = "set search_path = pg_catalog";

    fn bytes(bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("'\\x{hex}'::bytea")
    }

    async fn fresh() -> Self {
        let h = Self::empty().await;
        Postgres::migrate(&h.store, MigrateMode::Auto).await.expect("the tables are made");
        h.outside("create table effect (n bigint)").await;
        h
    }

    async fn empty() -> Self {
        let h = Self::named(server(), &unique());
        h.outside(&format!("drop schema if exists {} cascade", h.schema)).await;
        h.outside(&format!("create schema {}", h.schema)).await;
        h
    }

    async fn remove(self) {
        self.store.pool.close().await;
        self.outside(&format!("drop schema if exists {} cascade", self.schema)).await;
    }

    fn store(&self) -> &Arc<Store<Postgres>> {
        &self.store
    }

    fn another_store(&self) -> Arc<Store<Postgres>> {
        Arc::new(postgres::connect(self.options.clone(), &self.schema, 4))
    }

    async fn outside(&self, sql: &str) -> u64 {
        let mut connection = self.connection().await;
        let done =
            sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.expect("the statement works");
        connection.close().await.expect("closed");
        done.rows_affected()
    }

    async fn number(&self, sql: &str) -> i64 {
        let mut connection = self.connection().await;
        let number =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.expect("a number");
        connection.close().await.expect("closed");
        number
    }

    like_any_other!(Postgres);

    async fn age_inbox(&self, by: Duration) {
        let seconds = by.as_secs();
        let inbox = format!("{}eos_inbox", self.store.schema);
        self.outside(&format!("update {inbox} set seen_at = seen_at - interval '{seconds} seconds'")).await;
    }
}

impl Server for Pg {
    const NO_TIMEOUTS: &'static str =
        "set idle_in_transaction_session_timeout = 0; set statement_timeout = 0";
    const LONG: &'static str = "select pg_sleep(30)";
    const RANDOM_TOKEN: &'static str = "gen_random_uuid()";
    type Connection = PgConnection;

    async fn proxied(&self) -> (Proxy, Arc<Store<Postgres>>) {
        let server = (self.options.get_host(), self.options.get_port());
        let address = tokio::net::lookup_host(server).await.expect("it resolves").next().expect("an address");
        let proxy = Proxy::to(address).await;
        let options = self.options.clone().host("127.0.0.1").port(proxy.port);
        (proxy, Arc::new(postgres::connect(options, &self.schema, 4)))
    }

    async fn begin_outside(&self, sql: &str) -> PgConnection {
        let mut connection = self.connection().await;
        connection.execute(sqlx::raw_sql(AssertSqlSafe(format!("begin; {sql}")))).await.expect("it works");
        connection
    }

    async fn commit_outside(&self, mut connection: PgConnection) {
        connection.execute("commit").await.expect("the stranger lives");
    }
}

/// Updates the row until its newest version lies where an owner's locator points.
async fn bring_back_to(h: &Pg, place: &str, change: &str) {
    let mut connection = h.connection().await;
    let table = format!("{}eos_position", h.store.schema);
    let update = format!("update {table} set {change} returning ctid::text");
    for _ in 0..500 {
        let updated = sqlx::query_scalar(AssertSqlSafe(update.clone())).fetch_one(&mut connection);
        let now: String = updated.await.expect("updated");
        if place == now {
            return;
        }
        sqlx::query(AssertSqlSafe(format!("vacuum {table}")))
            .execute(&mut connection)
            .await
            .expect("vacuumed");
    }
    panic!("the row does not come back to {place}");
}

#[tokio::test]
async fn a_newer_owners_row_in_the_very_same_place_is_not_ours() {
    let h = Pg::alone().await;
    let idle = handle::<Pg>(owner(&h, 0).await, at(0)).await;
    let hold = idle.close().await;
    bring_back_to(&h, &hold.locator.to_string(), "owner = gen_random_uuid()").await;
    let hold = not_ours(begin(session(&h, hold).await, at(1)).await).into_hold().await;
    assert_eq!(standing(&h, &hold).await, Standing::Fenced);
    assert_eq!(position(&h).await, 1);
    h.remove_database().await;
}

#[tokio::test]
async fn a_lower_position_in_the_very_same_place_is_not_jumped_over() {
    let h = Pg::alone().await;
    let idle = handle::<Pg>(owner(&h, 0).await, at(7)).await;
    let hold = idle.close().await;
    bring_back_to(&h, &hold.locator.to_string(), "next_offset = 5").await;
    let hold = not_ours(begin(session(&h, hold).await, at(8)).await).into_hold().await;
    assert_eq!(standing(&h, &hold).await, Standing::Ours { next_offset: 5 });
    h.remove_database().await;
}

#[tokio::test]
async fn a_row_that_the_server_moved_is_found_again_by_taking() {
    let h = Pg::fresh().await;
    take(&h, 1).await;
    let idle = handle::<Pg>(owner(&h, 0).await, at(0)).await;
    h.outside(&format!("vacuum full {}eos_position", h.store.schema)).await;
    let hold = not_ours(begin(idle, at(1)).await).into_hold().await;
    assert_eq!(standing(&h, &hold).await, Standing::Ours { next_offset: 1 });
    handle::<Pg>(owner(&h, 0).await, at(1)).await.close().await;
    h.remove().await;
}

#[tokio::test]
async fn a_busy_partitions_row_stays_in_its_page() {
    let h = Pg::alone().await;
    let table = format!("'{}eos_position'", h.store.schema);
    let pages = format!("select pg_relation_size({table}) / current_setting('block_size')::int");
    let mut idle = owner(&h, 0).await;
    let mut offset = 0;
    // Nothing is removed while a snapshot is held, even in another database, and other tests hold some: then the table
    // grows, and it is tried again until they are done. A round is short, so that a moment when nobody does is enough.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(300) {
        let before = h.number(&pages).await;
        for _ in 0..120 {
            idle = handle::<Pg>(idle, at(offset)).await;
            offset += 1;
        }
        if h.number(&pages).await - before <= 1 {
            idle.close().await;
            return h.remove_database().await;
        }
    }
    panic!("a hundred and twenty claims always leave three pages behind");
}

/// The proof is left out only where nothing can have gone wrong unseen.
#[tokio::test]
async fn what_is_said_in_a_transaction_is_watched() {
    let h = Pg::fresh().await;
    let mut open = fresh(begin(owner(&h, 0).await, at(0)).await);
    let tx = open.tx();
    assert!(tx.untouched().is_some());
    sqlx::query("insert into effect (n) values ($1)").bind(0_i64).execute(&mut *tx).await.expect("written");
    sqlx::query("select * from generate_series(1, 1000)").fetch_all(&mut *tx).await.expect("rows");
    sqlx::query("select 1").fetch_one(&mut *tx).await.expect("a row");
    assert!(tx.untouched().is_some());
    let touching: [(&str, AsyncTouch); 6] = [
        ("the connection itself", |tx| {
            Box::pin(async { drop(sqlx::query("select 1").execute(&mut **tx).await) })
        }),
        ("a text", |tx| Box::pin(async { drop(sqlx::raw_sql("select 1").execute(tx).await) })),
        ("a first row with an error behind it", |tx| {
            let rows = sqlx::query("select 1 / (2 - n) from generate_series(1, 3) n");
            Box::pin(async { drop(rows.fetch_one(tx).await.expect_err("the second row's")) })
        }),
        ("a row that nobody waited for", |tx| {
            Box::pin(async { drop(sqlx::query("select 1").fetch_one(tx).now_or_never()) })
        }),
        ("another statement", |tx| {
            Box::pin(async { drop(sqlx::query("set local x.y = 'z'").execute(tx).await) })
        }),
        ("an error", |tx| Box::pin(async { drop(sqlx::query("select 1 / 0").execute(tx).await) })),
    ];
    for (what, touch) in touching {
        tx.watch(7);
        touch(tx).await;
        assert_eq!(tx.untouched(), None, "{what}");
    }
    open.rollback().await.into_hold().await;
    h.remove().await;
}

type AsyncTouch = for<'t> fn(&'t mut Tx<Postgres>) -> BoxFuture<'t, ()>;

#[tokio::test]
async fn an_error_that_the_handler_did_not_wait_for_commits_nothing() {
    let h = Pg::fresh().await;
    let mut open = fresh(begin(owner(&h, 0).await, at(0)).await);
    effect::<Pg>(&mut open, 0).await;
    {
        // The second row fails; the handler takes the first and leaves.
        let mut rows = sqlx::query("select 1 / (2 - n) from generate_series(1, 3) n").fetch(open.tx());
        assert!(rows.try_next().await.is_ok_and(|row| row.is_some()));
    }
    let failed = open.commit().await.map(drop).map_err(|(failed, _)| failed);
    assert!(matches!(failed, Err(CommitFailed::RolledBack(_))), "{failed:?}");
    assert_eq!((effects(&h).await, position(&h).await), (0, 0));
    h.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serialization_failure_belongs_to_the_half_that_it_hit() {
    let h = Pg::fresh().await;
    let serializable = StoreOptions { isolation: Isolation::Serializable, ..options(DEADLINE) };
    let mut opens = vec![];
    for partition in 0..2 {
        let idle = session_with::<Pg>(h.store(), take(&h, partition).await, serializable).await;
        let mut open = fresh(begin(idle, at(0)).await);
        Pg::write(open.tx(), "insert into effect select count(*) from effect").await.expect("written");
        opens.push(open);
    }
    let [first, second] = opens.try_into().map_err(|_| ()).expect("two");
    commit(first).await.close().await;
    // Its COMMIT would make the two see each other's absence.
    let rest = match second.commit_and_begin(at(1)).await {
        Err(ChainFailed::Commit(CommitFailed::RolledBack(error), rest)) => {
            assert_eq!(Postgres::fault(&error), Fault::Transient);
            rest
        }
        Err(ChainFailed::Commit(failed, _)) => panic!("{failed:?}"),
        Err(ChainFailed::Next(error, _)) => panic!("the commit is said to stand: {error:?}"),
        Ok(_) => panic!("the chain went on"),
    };
    assert_eq!(effects(&h).await, 1);

    // And a claim whose id another commits meanwhile: the commit before it stands.
    let mut other = fresh(begin(owner(&h, 0).await, with_id(1, b"a")).await);
    let idle = rest.reopen(h.store(), serializable).await.map_err(|(error, _)| error).expect("it goes on");
    let mut open = fresh(begin(idle, at(0)).await);
    effect::<Pg>(&mut open, 0).await;
    let chained = tokio::spawn(async move { open.commit_and_begin(with_id(1, b"a")).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    effect::<Pg>(&mut other, 0).await;
    commit(other).await.close().await;
    let rest = match chained.await.expect("no panic") {
        Err(ChainFailed::Next(error, rest)) => {
            assert_eq!(Postgres::fault(&error), Fault::Transient);
            rest
        }
        Err(ChainFailed::Commit(failed, _)) => panic!("the commit is said to have failed: {failed:?}"),
        Ok(_) => panic!("the snapshot is older than the id"),
    };
    assert_eq!(effects(&h).await, 3);
    let idle = rest.reopen(h.store(), serializable).await.map_err(|(error, _)| error).expect("it goes on");
    commit(duplicate(begin(idle, with_id(1, b"a")).await)).await.close().await;
    h.remove().await;
}

#[tokio::test]
async fn what_the_handler_deallocated_is_there_again_on_the_next_connection() {
    let h = Pg::fresh().await;
    let mut open = fresh(begin(owner(&h, 0).await, at(0)).await);
    Pg::write(open.tx(), "deallocate all").await.expect("the guard lets it pass");
    let Err(ChainFailed::Commit(CommitFailed::RolledBack(error), rest)) = open.commit_and_begin(at(1)).await
    else {
        panic!("the proof is gone, and nothing is committed without it")
    };
    assert_eq!(Postgres::fault(&error), Fault::Unavailable);
    let idle = rest.reopen(h.store(), options(DEADLINE)).await.map_err(|(error, _)| error).expect("another");
    handle::<Pg>(idle, at(0)).await.close().await;
    assert_eq!(position(&h).await, 1);
    h.remove().await;
}

/// Two partitions are two rows: neither claim reads the other's, however small the table is, and known to be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serializable_claims_of_two_partitions_do_not_meet() {
    let h = Pg::fresh().await;
    let serializable = StoreOptions { isolation: Isolation::Serializable, ..options(DEADLINE) };
    let mut idles = vec![];
    for partition in 0..2 {
        // The plans of a weaker level stay with the connection.
        let mut idle = owner(&h, partition).await;
        for offset in 0..8 {
            idle = handle::<Pg>(idle, at(offset)).await;
        }
        let hold = idle.close().await;
        idles.push(session_with::<Pg>(h.store(), hold, serializable).await);
    }
    h.outside("analyze").await;
    for offset in 8..10 {
        let mut opens = vec![];
        for idle in idles.drain(..) {
            let mut open = fresh(begin(idle, at(offset)).await);
            Pg::write(open.tx(), &format!("insert into effect values ({offset})")).await.expect("written");
            opens.push(open);
        }
        for open in opens {
            idles.push(commit(open).await);
        }
    }
    for idle in idles {
        idle.close().await;
    }
    assert_eq!(effects(&h).await, 20);
    h.remove().await;
}

/// Whatever the database's own default is, the look behind a claim that waited is a later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_was_marked_meanwhile_is_found_whatever_the_databases_own_isolation_is() {
    for level in ["repeatable read", "serializable"] {
        let h = Pg::fresh().await;
        let options = h.options.clone().options([("default_transaction_isolation", level)]);
        let store = Arc::new(postgres::connect(options, &h.schema, 4));
        super::waits::a_claim_waits_for_a_mark(&h, &store).await;
        h.remove().await;
    }
}

#[tokio::test]
async fn what_is_no_outage_of_claims_is_told_apart() {
    let h = Pg::fresh().await;
    let claims = super::ids::process(h.store());
    let mine = super::ids::ours(&claims, b"a").await;
    let table = format!("{}eos_claim", h.store.schema);
    h.outside(&format!("alter table {table} add column meddled integer not null default 0")).await;
    h.outside(&format!("alter table {table} alter column meddled drop default")).await;
    let refused = claims.claim(&mut super::ids::of(&claims, b"b")).await.expect_err("a column has no value");
    assert!(!refused.is_outage(), "{refused:?}");
    assert!(refused.to_string().contains("the database `orders` refuses"), "{refused}");
    h.outside(&format!("alter table {table} rename to elsewhere")).await;
    let away = claims.renew(&mine).await.expect_err("there is no such table");
    assert!(away.is_outage(), "the program is ahead of its migration, perhaps: {away:?}");
    h.remove().await;
}

#[tokio::test]
async fn a_wrong_password_or_database_is_a_persons_to_change() {
    postgres::probe(&server()).await.expect("the server answers");
    let refused = postgres::probe(&server().database("no_such_database")).await.expect_err("there is none");
    assert_eq!(Postgres::fault(&refused), Fault::Refused);
    let away = postgres::probe(&server().host("127.0.0.1").port(1)).await.expect_err("nobody listens");
    assert_eq!(Postgres::fault(&away), Fault::Unavailable);
}
