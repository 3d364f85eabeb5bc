//! The suite on PostgreSQL, and what only PostgreSQL has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, Postgres};

use super::harness::{Harness, SavepointEnd, Server, like_any_other};
use super::proxy::Proxy;
use crate::store::dialect::{Dialect, Store};
use crate::store::{MigrateMode, Tx, postgres};

suite!(super::Pg);
server_suite!(super::Pg);

/// A schema of its own; it is also the search path, where `effect` lies.
pub(super) struct Pg {
    options: PgConnectOptions,
    schema: String,
    store: Arc<Store<Postgres>>,
}

impl Pg {
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

    const ERROR_ABORTS: bool = true;
    const ROLLBACK_STRAYS: bool = true;
    const DEFERRED: Option<(&'static str, &'static str)> = Some((
        "create table parent (id int primary key); \
         create table child (parent int references parent deferrable initially deferred)",
        "insert into child values (1)",
    ));
    const SETTING: &'static str = "set search_path = pg_catalog";

    async fn fresh() -> Self {
        let h = Self::empty().await;
        Postgres::migrate(&h.store, MigrateMode::Auto).await.expect("the tables are made");
        h.outside("create table effect (n bigint)").await;
        h
    }

    async fn empty() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let schema = format!("eos_t_{}_{number}", std::process::id());
        let options = server().options([("search_path", &schema)]);
        let store = Arc::new(postgres::connect(options.clone(), &schema, 8));
        let h = Pg { options, schema, store };
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
    type Connection = PgConnection;

    async fn proxied(&self) -> (Proxy, Arc<Store<Postgres>>) {
        let server = (self.options.get_host(), self.options.get_port());
        let address = tokio::net::lookup_host(server).await.expect("it resolves").next().expect("an address");
        let proxy = Proxy::to(address).await;
        let options = self.options.clone().host("127.0.0.1").port(proxy.port);
        (proxy, Arc::new(postgres::connect(options, &self.schema, 4)))
    }

    async fn lock_rows_from_outside(&self) -> PgConnection {
        let mut connection = self.connection().await;
        let lock = format!("begin; select from {}eos_position for update", self.store.schema);
        connection.execute(sqlx::raw_sql(AssertSqlSafe(lock))).await.expect("locked");
        connection
    }

    async fn unlock(&self, mut connection: PgConnection) {
        connection.execute("rollback").await.expect("the stranger lives");
    }
}
