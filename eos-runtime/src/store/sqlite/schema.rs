//! The tables of eos in a SQLite file, made under its write lock so that many processes can start at once.

use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Sqlite, SqliteConnection};

use super::{lock, pool, statements};
use crate::store::dialect::Store;
use crate::store::migrate::{MigrateError, Migration, Mode, newest};

/// Every version so far, in order.
pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, sql: include_str!("schema.sql") },
    Migration { version: 2, sql: include_str!("outbox.sql") },
    Migration { version: 3, sql: include_str!("dead_letter.sql") },
    Migration { version: 4, sql: include_str!("slots.sql") },
    Migration { version: 5, sql: include_str!("claim.sql") },
];

/// The table of the versions.
pub(crate) const VERSIONS: &str = "create table if not exists {schema}eos_schema \
     (version integer primary key, applied_at integer not null default (cast(strftime('%s', 'now') as integer)))";

/// How long others may be at it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes or checks the tables.
pub(super) async fn migrate(store: &Store<Sqlite>, mode: Mode) -> Result<(), MigrateError> {
    let doing = match mode {
        Mode::Auto => "create",
        Mode::Check => "check",
    };
    let work = async {
        let mut connection = connection(&store.pool.connect_options()).await?;
        let found = bring_up_to_date(store, &mut connection, mode).await?;
        connection.close().await?;
        sqlx::Result::<i32>::Ok(found)
    };
    match work.await.map_err(|source| MigrateError::Database { doing, source })? {
        found if found < newest(MIGRATIONS) => {
            Err(MigrateError::Behind { found, needed: newest(MIGRATIONS) })
        }
        _ => Ok(()),
    }
}

/// Switching a new file to WAL does not wait for another who is at it, so ask again.
async fn connection(options: &SqliteConnectOptions) -> sqlx::Result<SqliteConnection> {
    let began = Instant::now();
    loop {
        match pool::durable(options.clone()).connect().await {
            Err(error) if lock::is_busy(&error) && began.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => return opened,
        }
    }
}

/// The version that the tables have in the end.
async fn bring_up_to_date(
    store: &Store<Sqlite>,
    connection: &mut SqliteConnection,
    mode: Mode,
) -> sqlx::Result<i32> {
    let schema = &store.schema;
    let found = version(connection, schema).await?;
    if mode == Mode::Check || found >= newest(MIGRATIONS) {
        return Ok(found);
    }
    let versions = format!("begin immediate; {}", VERSIONS.replace("{schema}", schema));
    let (_, turn) = lock::begin(store, connection, PATIENCE, Some(PATIENCE), &versions).await?;
    let found = version(connection, schema).await?;
    let mut sql = String::new();
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > found) {
        sql.push_str(&migration.for_schema(schema));
        sql.push_str(&format!("insert into {schema}eos_schema (version) values ({});", migration.version));
    }
    sql.push_str("commit");
    statements(connection, sql).await.map_err(|(_, error)| error)?;
    drop(turn);
    Ok(newest(MIGRATIONS))
}

/// 0 where there are no tables yet.
async fn version(connection: &mut SqliteConnection, schema: &str) -> sqlx::Result<i32> {
    let table = format!("select count(*) from {schema}sqlite_schema where name = 'eos_schema'");
    let exists: i64 = sqlx::query_scalar(AssertSqlSafe(table)).fetch_one(&mut *connection).await?;
    if exists == 0 {
        return Ok(0);
    }
    let newest = format!("select coalesce(max(version), 0) from {schema}eos_schema");
    sqlx::query_scalar(AssertSqlSafe(newest)).fetch_one(connection).await
}
