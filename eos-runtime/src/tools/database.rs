//! A database as `eos check` looks at it.

use std::time::Duration;

use sqlx::Pool;

use crate::finding::Finding;
use crate::store::{CheckDialect, Store, TxDatabase, check};

/// A database that can be looked at: every one that eos knows.
#[expect(private_bounds, reason = "what is looked at is nobody else's to say")]
pub trait CheckDatabase: TxDatabase + CheckDialect {}

impl<DB: TxDatabase + CheckDialect> CheckDatabase for DB {}

/// Looks at a pool's database, in this schema of it; what cannot be looked at is a finding, too. Transactions that are as old
/// as this are reported. Nothing is changed.
///
/// # Cancel safety
/// Cancel safe.
pub async fn check_database<DB: CheckDatabase>(pool: &Pool<DB>, schema: &str, old: Duration) -> Vec<Finding> {
    check(&Store::new(pool.clone(), DB::qualified(schema)), old).await
}

/// The topics that dead letters of a pool's database wait to be published to.
///
/// # Errors
/// The database's.
///
/// # Cancel safety
/// Cancel safe.
pub async fn awaited_topics<DB: CheckDatabase>(pool: &Pool<DB>, schema: &str) -> sqlx::Result<Vec<String>> {
    DB::awaited_topics(&Store::new(pool.clone(), DB::qualified(schema))).await
}
