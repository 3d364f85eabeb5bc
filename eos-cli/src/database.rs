//! A connection to the database, whichever of the three it is; opened only where the tables of eos are there.
//!
//! The first question goes over a connection of its own, so that what is wrong with the address or the server is said in
//! the server's words; a pool would ask again and again, and say that it timed out.

use std::error::Error as _;
use std::time::Duration;

use anyhow::{anyhow, bail};
use eos_runtime::BoxError;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{MySqlPool, PgPool, SqlitePool};

use crate::address::{Address, Kind};
use crate::print::chain;

/// How long a server may take to answer at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// A database with the tables of eos.
pub(crate) struct Database {
    pub(crate) pool: Pool,
    pub(crate) schema: String,
    /// As sentences name it.
    pub(crate) place: String,
}

/// Connections to whichever database it is.
pub(crate) enum Pool {
    Postgres(PgPool),
    MySql(MySqlPool),
    Sqlite(SqlitePool),
}

/// The same words to whichever database it is.
macro_rules! on_database {
    ($database:expr, $pool:ident => $work:expr) => {
        match &$database.pool {
            $crate::database::Pool::Postgres($pool) => $work,
            $crate::database::Pool::MySql($pool) => $work,
            $crate::database::Pool::Sqlite($pool) => $work,
        }
    };
}
pub(crate) use on_database;

/// Whether the tables are as this tool needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tables {
    UpToDate,
    /// Missing, or of an earlier version.
    Behind,
}

impl Database {
    /// Where the tables are there.
    pub(crate) async fn open(address: &Address) -> anyhow::Result<Self> {
        match Self::reach(address).await? {
            (database, Tables::UpToDate) => Ok(database),
            (_, Tables::Behind) => bail!(
                "{address} has no tables of eos, or those of an earlier version; `eos migrate` makes them, and if services \
                 keep theirs in another schema, `--schema` names it"
            ),
        }
    }

    /// Wherever a database answers.
    pub(crate) async fn reach(address: &Address) -> anyhow::Result<(Self, Tables)> {
        let pool = Pool::at(address)?;
        let database = Database { pool, schema: address.schema.clone(), place: address.to_string() };
        let asked = async {
            on_database!(database, pool => eos_runtime::is_migrated_in(pool, &database.schema).await)
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(true)) => Ok((database, Tables::UpToDate)),
            Ok(Ok(false)) => Ok((database, Tables::Behind)),
            Ok(Err(error)) => Err(unusable(address, &error)),
            Err(_) => Err(anyhow!(
                "{address} (given by {}) has not answered for {} s; is the server up, and do host and port belong to it?",
                address.from,
                PATIENCE.as_secs()
            )),
        }
    }
}

impl Database {
    /// What it said to a statement, with where.
    pub(crate) fn trouble(&self, error: &sqlx::Error) -> anyhow::Error {
        anyhow!("{}: {}", self.place, chain(error))
    }
}

impl Pool {
    /// Nothing is opened yet.
    fn at(address: &Address) -> anyhow::Result<Self> {
        let url = address.expose();
        let unreadable = |error: sqlx::Error| {
            let why = address.hush(&chain(error.source().unwrap_or(&error)));
            anyhow!("the address in {} cannot be read: {why}", address.from)
        };
        Ok(match address.kind {
            Kind::Postgres => {
                let options: PgConnectOptions = url.parse().map_err(unreadable)?;
                let options = options.application_name("eos-cli");
                let pool = PgPoolOptions::new().max_connections(2).acquire_timeout(PATIENCE);
                Pool::Postgres(pool.connect_lazy_with(options))
            }
            Kind::MySql => {
                let options: MySqlConnectOptions = url.parse().map_err(unreadable)?;
                let pool = MySqlPoolOptions::new().max_connections(2).acquire_timeout(PATIENCE);
                Pool::MySql(pool.connect_lazy_with(options))
            }
            Kind::Sqlite => {
                let options: SqliteConnectOptions = url.parse().map_err(unreadable)?;
                let pool = SqlitePoolOptions::new().max_connections(2).acquire_timeout(PATIENCE);
                Pool::Sqlite(pool.connect_lazy_with(options))
            }
        })
    }
}

/// What the database said, and what to look at.
fn unusable(address: &Address, error: &BoxError) -> anyhow::Error {
    // The outer one only says that the tables were looked at.
    let cause = error.source().unwrap_or(error.as_ref());
    let hint = match cause.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::Io(_)) => "; is the server up, and do host and port belong to it?",
        Some(sqlx::Error::Database(error))
            if address.kind == Kind::Sqlite && error.code().as_deref() == Some("14") =>
        {
            "; is the path right? `eos migrate` makes a new file where the address ends with `?mode=rwc`"
        }
        Some(_) | None => "",
    };
    anyhow!("{address} (given by {}) cannot be used: {}{hint}", address.from, address.hush(&chain(cause)))
}
