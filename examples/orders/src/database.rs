//! Which database, and its tables. PostgreSQL and SQLite both know `$1`, so the statements are the same.

use anyhow::Context;
use sqlx::Pool;

#[cfg(feature = "postgres")]
mod chosen {
    pub(crate) type Database = sqlx::Postgres;
    pub(crate) type Tx = eos_runtime::PgTx;
}

#[cfg(not(feature = "postgres"))]
mod chosen {
    pub(crate) type Database = sqlx::Sqlite;
    pub(crate) type Tx = eos_runtime::SqliteTx;
}

pub(crate) use chosen::{Database, Tx};

/// The service's own tables. The key of a request is unique, so that a repeated one finds its order; an invoice has no
/// unique key, so that a second one would show.
const TABLES: [&str; 2] = [
    "create table if not exists orders (order_id text primary key, request_key text unique, customer text not null, \
     amount_cents bigint not null)",
    "create table if not exists invoice (order_id text not null, amount_cents bigint not null)",
];

/// Connects to `EOS_DATABASE_URL`, and makes what is missing there.
pub(crate) async fn connect() -> anyhow::Result<Pool<Database>> {
    let url = std::env::var("EOS_DATABASE_URL").context("EOS_DATABASE_URL is not set")?;
    let pool = Pool::<Database>::connect(&url).await.context("EOS_DATABASE_URL cannot be reached")?;
    eos_runtime::migrate(&pool).await.map_err(|error| anyhow::anyhow!(error))?;
    for table in TABLES {
        // Two processes may make it at the same moment, and one of them is told so.
        if let Err(error) = sqlx::query(table).execute(&pool).await {
            tracing::debug!(%error, "another process made the table");
        }
    }
    Ok(pool)
}
