//! The tables of eos in MySQL or MariaDB, made under a named lock so that many processes can start at once.
//!
//! These servers commit every CREATE TABLE on its own, so each statement of a migration must bear being repeated.

use sqlx::{AssertSqlSafe, Connection, MySql, MySqlConnection};

use super::{pool, run};
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
     (version int not null primary key, applied_at timestamp not null default current_timestamp) engine = InnoDB";

/// Makes or checks the tables, on a connection of its own, with which the lock ends.
pub(super) async fn migrate(store: &Store<MySql>, mode: Mode) -> Result<(), MigrateError> {
    let doing = match mode {
        Mode::Auto => "create",
        Mode::Check => "check",
    };
    let work = async {
        let mut connection = pool::beside(store).await?;
        pool::fit(&mut connection).await?;
        let found = bring_up_to_date(&mut connection, &store.schema, mode).await?;
        connection.close().await?;
        Ok::<i32, sqlx::Error>(found)
    };
    match work.await.map_err(|source| MigrateError::Database { doing, source })? {
        found if found < newest(MIGRATIONS) => {
            Err(MigrateError::Behind { found, needed: newest(MIGRATIONS) })
        }
        _ => Ok(()),
    }
}

/// The version that the tables have in the end.
async fn bring_up_to_date(connection: &mut MySqlConnection, schema: &str, mode: Mode) -> sqlx::Result<i32> {
    let found = version(connection, schema).await?;
    if mode == Mode::Check || found >= newest(MIGRATIONS) {
        return Ok(found);
    }
    lock(connection).await?;
    if let Some(name) = schema.strip_suffix('.') {
        make_database(connection, name).await?;
    }
    run(connection, VERSIONS.replace("{schema}", schema)).await?;
    let found = version(connection, schema).await?;
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > found) {
        run(connection, migration.for_schema(schema)).await?;
        run(connection, format!("insert into {schema}eos_schema (version) values ({})", migration.version))
            .await?;
    }
    Ok(newest(MIGRATIONS))
}

async fn lock(connection: &mut MySqlConnection) -> sqlx::Result<()> {
    let locked: Option<i64> =
        sqlx::query_scalar("select get_lock('eos.migrate', 60)").fetch_one(connection).await?;
    match locked {
        Some(1) => Ok(()),
        Some(_) | None => Err(sqlx::Error::Protocol(
            "another process has been making the tables of eos for a minute (the named lock `eos.migrate`)"
                .into(),
        )),
    }
}

/// `create database if not exists` wants the right to make databases even where it exists, so look first.
async fn make_database(connection: &mut MySqlConnection, quoted: &str) -> sqlx::Result<()> {
    let exists: i64 =
        sqlx::query_scalar("select count(*) from information_schema.schemata where schema_name = ?")
            .bind(unquoted(quoted))
            .fetch_one(&mut *connection)
            .await?;
    if exists > 0 {
        return Ok(());
    }
    run(connection, format!("create database {quoted}")).await
}

fn unquoted(name: &str) -> String {
    name.trim_matches('`').replace("``", "`")
}

/// 0 where there are no tables yet.
async fn version(connection: &mut MySqlConnection, schema: &str) -> sqlx::Result<i32> {
    let name = schema.strip_suffix('.').map(unquoted);
    let exists: i64 = sqlx::query_scalar(
        "select count(*) from information_schema.tables \
         where table_schema = coalesce(?, database()) and table_name = 'eos_schema'",
    )
    .bind(name)
    .fetch_one(&mut *connection)
    .await?;
    if exists == 0 {
        return Ok(0);
    }
    let newest = format!("select coalesce(max(version), 0) from {schema}eos_schema");
    sqlx::query_scalar(AssertSqlSafe(newest)).fetch_one(connection).await
}
