//! Connections to a SQLite file, and what their errors mean.

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Executor, Sqlite};

use super::code;
use crate::store::Freshness;
use crate::store::dialect::{Fault, Store};

/// Opens eos's own pool on the file. Nothing is opened before it is needed.
pub(crate) fn connect(options: SqliteConnectOptions, schema: &str, max_connections: u32) -> Store<Sqlite> {
    let freshness = Arc::new(Freshness::new());
    let pool = SqlitePoolOptions::new()
        .max_connections(max_connections)
        .test_before_acquire(false)
        .before_acquire({
            let freshness = Arc::clone(&freshness);
            move |_, meta| {
                let good = freshness.admits(meta.age);
                Box::pin(async move { Ok(good) })
            }
        })
        .acquire_timeout(Duration::from_secs(10))
        .after_connect(|connection, _| {
            // Opening waits for others as long as it must; from here on `lock.rs` does the waiting.
            Box::pin(async move { connection.execute("pragma busy_timeout = 20").await.map(drop) })
        })
        .connect_lazy_with(durable(options));
    Store::with(pool, qualifier(schema), freshness)
}

/// Every commit reaches the disk before it is acknowledged.
pub(super) fn durable(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging()
}

/// SQLite knows no schemas; the file's own tables are `main`'s.
pub(crate) fn qualifier(_schema: &str) -> String {
    "main.".to_owned()
}

/// What an error means, by result code.
pub(super) fn fault(error: &sqlx::Error) -> Fault {
    let Some(code) = code(error) else { return Fault::of_driver(error) };
    match code {
        // BUSY and LOCKED: another writes.
        5 | 6 => Fault::Transient,
        // READONLY: somebody changed the file's rights, or moved it.
        8 => Fault::ReadOnly,
        // IOERR, FULL: the disk.
        10 | 13 => Fault::Unavailable,
        // PERM, CANTOPEN, NOTADB: the path.
        3 | 14 | 26 => Fault::Refused,
        _ => Fault::Failed,
    }
}

/// Opens the file once with these options, for a start-up error that names the setting.
pub(crate) async fn probe(options: &SqliteConnectOptions) -> sqlx::Result<()> {
    let mut connection = options.clone().disable_statement_logging().connect().await?;
    let file: Option<String> =
        sqlx::query_scalar("select file from pragma_database_list where name = 'main'")
            .fetch_one(&mut connection)
            .await?;
    connection.close().await?;
    if file.is_none_or(|file| file.is_empty()) {
        return Err(sqlx::Error::Configuration(
            "a SQLite database in memory ends with its connection; give a file, as in `sqlite://orders.db?mode=rwc`".into(),
        ));
    }
    Ok(())
}
