//! The tables of eos in PostgreSQL, made under an advisory lock so that many processes can start at once.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Postgres};

use super::run;
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
     (version integer primary key, applied_at timestamptz not null default now())";

/// A fixed number for the advisory lock: "eos" in ASCII.
const LOCK: i64 = 0x65_6f_73;

/// Makes or checks the tables, on a connection of its own: the pool's prepare statements need them.
pub(super) async fn migrate(store: &Store<Postgres>, mode: Mode) -> Result<(), MigrateError> {
    let doing = match mode {
        Mode::Auto => "create",
        Mode::Check => "check",
    };
    let options: PgConnectOptions = (*store.pool.connect_options()).clone();
    let work = async {
        let mut connection = options.connect().await?;
        let outcome = bring_up_to_date(&mut connection, &store.schema, mode).await;
        connection.close().await?;
        outcome
    };
    match work.await.map_err(|source| MigrateError::Database { doing, source })? {
        found if found < newest(MIGRATIONS) => {
            Err(MigrateError::Behind { found, needed: newest(MIGRATIONS) })
        }
        _ => Ok(()),
    }
}

/// The version that the tables have in the end.
async fn bring_up_to_date(connection: &mut PgConnection, schema: &str, mode: Mode) -> sqlx::Result<i32> {
    let found = version(connection, schema).await?;
    if mode == Mode::Check || found >= newest(MIGRATIONS) {
        return Ok(found);
    }
    let mut tx = connection.begin_with("begin isolation level read committed").await?;
    let quiet_and_alone =
        format!("set local client_min_messages = warning; select pg_catalog.pg_advisory_xact_lock({LOCK})");
    run(&mut tx, quiet_and_alone).await?;
    if let Some(name) = schema.strip_suffix('.') {
        make_schema(&mut tx, name).await?;
    }
    run(&mut tx, VERSIONS.replace("{schema}", schema)).await?;
    let found = version(&mut tx, schema).await?;
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > found) {
        run(&mut tx, migration.for_schema(schema)).await?;
        run(&mut tx, format!("insert into {schema}eos_schema (version) values ({})", migration.version))
            .await?;
    }
    tx.commit().await?;
    Ok(newest(MIGRATIONS))
}

/// `create schema if not exists` wants the right to make schemas even where it exists, so look first.
async fn make_schema(connection: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let exists: bool = sqlx::query_scalar("select pg_catalog.to_regnamespace($1) is not null")
        .bind(name)
        .fetch_one(&mut *connection)
        .await?;
    if exists {
        return Ok(());
    }
    run(connection, format!("create schema {name}")).await
}

/// 0 where there are no tables yet.
async fn version(connection: &mut PgConnection, schema: &str) -> sqlx::Result<i32> {
    let table = format!("{schema}eos_schema");
    let exists: bool = sqlx::query_scalar("select pg_catalog.to_regclass($1) is not null")
        .bind(&table)
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(0);
    }
    let newest = format!("select coalesce(max(version), 0) from {table}");
    sqlx::query_scalar(AssertSqlSafe(newest)).fetch_one(connection).await
}
