//! The suite on SQLite, and what only SQLite has: a stopped process that holds the whole file.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Sqlite, SqliteConnection};

use super::harness::{Harness, SavepointEnd, like_any_other};
use crate::store::dialect::{Dialect, Store};
use crate::store::{MigrateMode, Tx, sqlite};

suite!(super::File);

/// A file of its own in the system's folder for such.
pub(super) struct File {
    path: PathBuf,
    store: Arc<Store<Sqlite>>,
}

impl File {
    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new().filename(&self.path).create_if_missing(true)
    }

    async fn connection(&self) -> SqliteConnection {
        let options = self.options().journal_mode(SqliteJournalMode::Wal).disable_statement_logging();
        options.connect().await.expect("the file opens")
    }

    fn at(path: PathBuf) -> Self {
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        File { path, store: Arc::new(sqlite::connect(options, "", 8)) }
    }

    /// What lies beside the database, by the end of its name.
    fn beside(&self) -> Vec<String> {
        let name = self.path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let folder = self.path.parent().expect("a folder").read_dir().expect("it can be read");
        let mut found: Vec<_> = folder
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix(&name).map(str::to_owned))
            .filter(|suffix| !suffix.is_empty())
            .collect();
        found.sort();
        found
    }
}

impl Harness for File {
    type D = Sqlite;

    const ERROR_ABORTS: bool = false;
    const ROLLBACK_STRAYS: bool = true;
    const DEFERRED: Option<(&'static str, &'static str)> = Some((
        "create table parent (id integer primary key); \
         create table child (parent integer references parent deferrable initially deferred)",
        "insert into child values (1)",
    ));
    const SETTING: &'static str =
        "create temp table eos_position (id integer, owner blob, next_offset integer)";

    async fn fresh() -> Self {
        let h = Self::empty().await;
        Sqlite::migrate(&h.store, MigrateMode::Auto).await.expect("the tables are made");
        h.outside("create table effect (n bigint)").await;
        h
    }

    async fn empty() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("eos-t-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the test");
        Self::at(folder.join("orders.db"))
    }

    async fn remove(self) {
        self.store.pool.close().await;
        let promises: Vec<_> = self.beside().into_iter().filter(|suffix| suffix.contains("-eos-")).collect();
        std::fs::remove_dir_all(self.path.parent().expect("a folder")).expect("removed");
        assert!(promises.is_empty(), "every attempt took its promise back: {promises:?}");
    }

    fn store(&self) -> &Arc<Store<Sqlite>> {
        &self.store
    }

    fn another_store(&self) -> Arc<Store<Sqlite>> {
        Arc::new(sqlite::connect(self.options(), "", 4))
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

    like_any_other!(Sqlite);

    async fn age_inbox(&self, by: Duration) {
        self.outside(&format!("update eos_inbox set seen_at = seen_at - {}", by.as_secs())).await;
    }
}
