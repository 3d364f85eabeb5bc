//! Splitting a partition's keys anew.

use sqlx::{AssertSqlSafe, Postgres};

use super::{Ctid, take};
use crate::store::Hold;
use crate::store::dialect::{Store, StoreOptions};
use crate::store::split::{SplitWords, Statements, statements};

const WORDS: SplitWords<Ctid> = SplitWords {
    partition: "partition",
    more: "",
    is_of: |hold| format!("ctid = '{}' and owner = '{}'", hold.locator, hold.token.as_hyphenated()),
    is_still_of: |hold| format!("owner = '{}'", hold.token.as_hyphenated()),
    token: |token| format!("'{}'", token.as_hyphenated()),
};

pub(super) async fn split(
    store: &Store<Postgres>,
    holds: &[Hold<Ctid>],
    slots: i32,
    options: StoreOptions,
) -> sqlx::Result<bool> {
    let Some(Statements { all, then }) = statements(&store.schema, holds, slots, "", &WORDS) else {
        return Ok(false);
    };
    let mut tx = take::begin(store, options).await?;
    let changed = sqlx::raw_sql(AssertSqlSafe(all)).execute(&mut *tx).await?.rows_affected();
    if changed != holds.len() as u64 {
        tx.rollback().await?;
        return Ok(false);
    }
    if !then.is_empty() {
        super::run(&mut tx, then.join("; ")).await?;
    }
    tx.commit_plainly().await?;
    Ok(true)
}
