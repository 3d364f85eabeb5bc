//! The suite on MySQL or MariaDB, and what only they have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::mysql::MySqlConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, MySql, MySqlConnection};

use super::harness::*;
use super::proxy::Proxy;
use crate::store::dialect::{Dialect, Store};
use crate::store::{CommitFailed, MigrateMode, Tx, mysql};

suite!(super::My);
server_suite!(super::My);

/// A database of its own; half of the stores name it, the other half mean the connection's.
pub(super) struct My {
    options: MySqlConnectOptions,
    database: String,
    store: Arc<Store<MySql>>,
}

fn server() -> MySqlConnectOptions {
    std::env::var("EOS_TEST_MYSQL")
        .expect("EOS_TEST_MYSQL is the address of a MySQL or MariaDB server for tests; `scripts/services env` prints it")
        .parse::<MySqlConnectOptions>()
        .expect("EOS_TEST_MYSQL is an address")
        .disable_statement_logging()
}

impl My {
    async fn connection(&self) -> MySqlConnection {
        self.options.connect().await.expect("the test server can be reached")
    }
}

impl Harness for My {
    type D = MySql;

    const KEY_COLUMN: &'static str = "`key`";
    const ESCAPES: bool = true;
    const MAKES_IDS: bool = false;
    const ERROR_ABORTS: bool = false;
    const ROLLBACK_STRAYS: bool = false;
    const DEFERRED: Option<(&'static str, &'static str)> = None;
    const SETTING: &'static str =
        "set time_zone = '-11:00', sql_mode = 'ANSI', insert_id = 7, @@session.sql_auto_is_null = 1";

    fn bytes(bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("x'{hex}'")
    }

    async fn fresh() -> Self {
        let h = Self::empty().await;
        MySql::migrate(&h.store, MigrateMode::Auto).await.expect("the tables are made");
        h.outside("create table effect (n bigint)").await;
        h
    }

    async fn empty() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let database = format!("eos_t_{}_{number}", std::process::id());
        let mut admin = server().connect().await.expect("the test server can be reached");
        let make = format!("drop database if exists {database}; create database {database}");
        admin.execute(sqlx::raw_sql(AssertSqlSafe(make))).await.expect("made");
        admin.close().await.expect("closed");
        let options = server().database(&database);
        let schema = if number.is_multiple_of(2) { "" } else { &database };
        let store = Arc::new(mysql::connect(options.clone(), schema, 8));
        My { options, database, store }
    }

    async fn remove(self) {
        self.store.pool.close().await;
        self.outside(&format!("drop database {}", self.database)).await;
    }

    fn store(&self) -> &Arc<Store<MySql>> {
        &self.store
    }

    fn another_store(&self) -> Arc<Store<MySql>> {
        Arc::new(mysql::connect(self.options.clone(), &self.database, 4))
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

    like_any_other!(MySql);

    async fn age_inbox(&self, by: Duration) {
        self.outside(&format!("update eos_inbox set seen_at = seen_at - {}", by.as_secs())).await;
    }
}

impl Server for My {
    const NO_TIMEOUTS: &'static str =
        "set lock_wait_timeout = 1000 /*M!100301 , idle_transaction_timeout = 0, max_statement_time = 0 */";
    const LONG: &'static str = "select sleep(30) from effect";
    const RANDOM_TOKEN: &'static str = "unhex(replace(uuid(), '-', ''))";
    type Connection = MySqlConnection;

    async fn proxied(&self) -> (Proxy, Arc<Store<MySql>>) {
        let server = (self.options.get_host(), self.options.get_port());
        let address = tokio::net::lookup_host(server).await.expect("it resolves").next().expect("an address");
        let proxy = Proxy::to(address).await;
        let options = self.options.clone().host("127.0.0.1").port(proxy.port);
        (proxy, Arc::new(mysql::connect(options, "", 4)))
    }

    async fn begin_outside(&self, sql: &str) -> MySqlConnection {
        let mut connection = self.connection().await;
        connection.execute(sqlx::raw_sql(AssertSqlSafe(format!("begin; {sql}")))).await.expect("it works");
        connection
    }

    async fn commit_outside(&self, mut connection: MySqlConnection) {
        connection.execute(sqlx::raw_sql("commit")).await.expect("the stranger lives");
    }
}

/// What an ignored deadlock is said through: the transaction, which notes it and refuses to go on, or the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    InTheTransaction,
    PastIt,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_that_the_handler_ignored_rolls_the_attempt_back() {
    an_ignored_deadlock(Said::InTheTransaction).await;
    an_ignored_deadlock(Said::PastIt).await;
}

/// Two attempts write two rows in opposite order; the one that the server gives up ignores the error and goes on.
async fn an_ignored_deadlock(said: Said) {
    let h = My::fresh().await;
    h.outside("create table pair (id int primary key, n int)").await;
    h.outside("insert into pair values (1, 0), (2, 0)").await;
    let run = |partition: i32, first: i32, second: i32| {
        let store = Arc::clone(h.store());
        async move {
            let hold = take_within::<My>(&store, partition, DEADLINE).await;
            let id = [u8::try_from(partition).expect("small")];
            let mut open = fresh(
                begin(session_with::<My>(&store, hold, options(DEADLINE)).await, with_id(0, &id)).await,
            );
            effect::<My>(&mut open, 1).await;
            My::write(open.tx(), &format!("update pair set n = n + 1 where id = {first}"))
                .await
                .expect("free");
            tokio::time::sleep(Duration::from_millis(300)).await;
            let update = format!("update pair set n = n + 1 where id = {second}");
            let swallowed = match said {
                Said::InTheTransaction => My::write(open.tx(), &update).await,
                Said::PastIt => My::past_guard(open.tx(), &update).await,
            };
            let on = My::write(open.tx(), "insert into effect (n) values (2)").await;
            assert_eq!(on.is_err(), swallowed.is_err() && said == Said::InTheTransaction, "{on:?}");
            (swallowed.is_err(), open.commit().await.map(drop).map_err(|(failed, _)| failed))
        }
    };
    let (one, two) = tokio::join!(tokio::spawn(run(0, 1, 2)), tokio::spawn(run(1, 2, 1)));
    let mut outcomes = [one.expect("no panic"), two.expect("no panic")];
    outcomes.sort_by_key(|(victim, _)| *victim);
    let [survivor, victim] = outcomes;
    assert!(!survivor.0 && survivor.1.is_ok(), "{survivor:?}");
    assert!(victim.0 && matches!(victim.1, Err(CommitFailed::RolledBack(_))), "{victim:?}");
    assert_eq!((effects(&h).await, inbox(&h).await), (2, 1), "one attempt whole, of the other nothing");
    assert_eq!(h.number("select cast(sum(next_offset) as signed) from eos_position").await, 1);
    assert_eq!(h.number("select cast(sum(n) as signed) from pair").await, 2);
    h.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_commits_by_itself_is_found_out() {
    let h = My::fresh().await;
    for (offset, statement) in ["create table other (n int)", "set autocommit = 1"].into_iter().enumerate() {
        let offset = i64::try_from(offset).expect("small");
        let mut open = fresh(begin(owner(&h, 0).await, at(offset)).await);
        My::write(open.tx(), statement).await.expect("the guard does not know it");
        effect::<My>(&mut open, 1).await;
        let Err((failed, rest)) = open.commit().await else { panic!("it committed") };
        rest.into_hold().await;
        assert!(matches!(failed, CommitFailed::Strayed(_)), "{failed:?}");
        assert_eq!(position(&h).await, offset + 1, "the claim stands with it");
    }
    h.remove().await;
}

#[tokio::test]
async fn a_connection_given_back_has_its_settings_back() {
    let h = My::fresh().await;
    owner(&h, 0).await.close().await;
    let mut connection = h.store().pool.acquire().await.expect("a connection");
    for (setting, expected) in
        [("@@autocommit", 1), ("@@innodb_lock_wait_timeout = @@global.innodb_lock_wait_timeout", 1)]
    {
        let sql = format!("select {setting}");
        let value: i64 =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *connection).await.expect("told");
        assert_eq!(value, expected, "{setting}");
    }
    drop(connection);
    h.remove().await;
}

#[tokio::test]
async fn names_that_the_columns_would_confuse_are_refused() {
    let h = My::fresh().await;
    for group in ["billing ".to_owned(), "g".repeat(256)] {
        let key = crate::store::PartitionKey { group: group.into(), ..key(0) };
        let refused = take_as::<My>(h.store(), &key, 0, None, DEADLINE).await.expect_err("refused");
        assert_eq!(MySql::fault(&refused), crate::store::Fault::Refused);
    }
    let key = crate::store::PartitionKey {
        group: "g".repeat(255).into(),
        topic: "t".repeat(249).into(),
        partition: 0,
    };
    take_as::<My>(h.store(), &key, 0, None, DEADLINE).await.expect("as long as may be");
    h.remove().await;
}

#[tokio::test]
async fn a_server_that_is_reached_is_no_cluster() {
    mysql::probe(&server()).await.expect("one server writes");
    let refused = mysql::probe(&server().database("no_such_database")).await.expect_err("there is none");
    assert_eq!(MySql::fault(&refused), crate::store::Fault::Refused);
}
