//! Our own tables, made and brought up to date by our own migrations.
//!
//! Versions are counted in our own table (never sqlx's, which is the user's), changed under a lock, and only by
//! additions that the previous version of eos can live with, so that a rolling deployment works.

use sqlx::Pool;

use super::dialect::{Dialect, Store};
use super::outbox::Home;
use super::tx::TxDatabase;
use crate::error::BoxError;

/// What start-up does about the tables: `[database] migrate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Make what is missing.
    Auto,
    /// Only look; a missing version is an error that names it.
    Check,
}

/// One step of the schema, in the words of one database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Migration {
    pub(crate) version: i32,
    /// The statements, with `{schema}` for the schema's quoted name and its dot.
    pub(crate) sql: &'static str,
}

impl Migration {
    /// The statements for this schema.
    pub(crate) fn for_schema(&self, schema: &str) -> String {
        self.sql.replace("{schema}", schema)
    }
}

/// Why the tables are not as they must be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrateError {
    /// `migrate = "check"` and something is missing.
    #[error(
        "the tables of eos are at version {found}, this program needs {needed}; run `eos migrate`, apply \
         the statements that `eos_runtime::migrations` returns, or set `[database] migrate = \"auto\"`"
    )]
    Behind { found: i32, needed: i32 },
    /// The database said no.
    #[error("could not {doing} the tables of eos")]
    Database {
        /// `check` or `create`.
        doing: &'static str,
        /// What it said.
        #[source]
        source: sqlx::Error,
    },
}

/// The newest version among `migrations`.
pub(crate) fn newest(migrations: &[Migration]) -> i32 {
    migrations.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Makes the tables of eos in a pool's database, or brings them up to date, in the schema of the settings.
///
/// [`run`](crate::run) does it by itself; this is for programs and tests that only publish.
///
/// ```no_run
/// # #[cfg(feature = "postgres")]
/// # async fn example(pool: sqlx::PgPool) -> eos_runtime::Result<(), eos_runtime::BoxError> {
/// eos_runtime::migrate(&pool).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// What the database says.
///
/// # Cancel safety
/// What was not finished is begun again by the next call.
pub async fn migrate<DB: TxDatabase>(pool: &Pool<DB>) -> Result<(), BoxError> {
    let home = Home::of(pool);
    DB::migrate_outbox(pool, home.schema()).await
}

/// The same in this schema of a pool's database; for tools that have no settings. Nothing (`""`) is the schema of
/// databases that have none, and on MySQL the pool's own database.
///
/// # Errors
/// What the database says.
///
/// # Cancel safety
/// What was not finished is begun again by the next call.
pub async fn migrate_in<DB: TxDatabase>(pool: &Pool<DB>, schema: &str) -> Result<(), BoxError> {
    DB::migrate_outbox(pool, &DB::qualified(schema)).await
}

/// Whether the tables of eos in this schema are there, and as new as this program needs them; nothing is changed.
///
/// # Errors
/// What the database says.
///
/// # Cancel safety
/// Cancel safe.
#[expect(private_bounds, reason = "what start-up asks of a database is nobody else's to answer")]
pub async fn is_migrated_in<DB: TxDatabase + Dialect>(
    pool: &Pool<DB>,
    schema: &str,
) -> Result<bool, BoxError> {
    let store = Store::new(pool.clone(), DB::qualified(schema));
    match DB::migrate(&store, Mode::Check).await {
        Ok(()) => Ok(true),
        Err(MigrateError::Behind { .. }) => Ok(false),
        Err(error @ MigrateError::Database { .. }) => Err(error.into()),
    }
}

/// The statements that make the tables, for people who apply them with tools of their own.
///
/// `database` is `postgres`, `mysql` or `sqlite` (where the feature is on); `schema` is the schema that
/// `[database] schema` names, or empty. They can be repeated, but for those of SQLite, which end at the first column that is
/// there already (`duplicate column name`).
///
/// ```
/// # #[cfg(feature = "postgres")] {
/// let sql = eos_runtime::migrations("postgres", "eos").expect("a database that this build knows");
/// assert!(sql.contains("create table"));
/// # }
/// ```
pub fn migrations(database: &str, schema: &str) -> Option<String> {
    // With the versions, so that `migrate = "check"` finds them, and a later `auto` goes on behind them.
    let render = |versions: &str, migrations: &[Migration], schema: &str| {
        let mut sql = format!("{};\n", versions.replace("{schema}", schema));
        for migration in migrations {
            let version = migration.version;
            sql.push_str(&format!(
                "\n{}insert into {schema}eos_schema (version) select {version} \
                 where not exists (select 1 from {schema}eos_schema where version = {version});\n",
                migration.for_schema(schema)
            ));
        }
        sql
    };
    match database {
        #[cfg(feature = "postgres")]
        "postgres" => Some(render(
            super::postgres::VERSIONS,
            super::postgres::MIGRATIONS,
            &super::postgres::qualifier(schema),
        )),
        #[cfg(feature = "mysql")]
        "mysql" => {
            Some(render(super::mysql::VERSIONS, super::mysql::MIGRATIONS, &super::mysql::qualifier(schema)))
        }
        #[cfg(feature = "sqlite")]
        "sqlite" => Some(render(
            super::sqlite::VERSIONS,
            super::sqlite::MIGRATIONS,
            &super::sqlite::qualifier(schema),
        )),
        _ => None,
    }
}
