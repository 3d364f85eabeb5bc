//! Splitting a partition's keys anew.

use sqlx::Sqlite;

use super::{RowId, attempt, lock, statements};
use crate::store::Hold;
use crate::store::dialect::{Store, StoreOptions};
use crate::store::split::{self, SplitWords, Statements};

const WORDS: SplitWords<RowId> = SplitWords {
    partition: "partition",
    more: "",
    is_of: |hold| format!("id = {} and owner = x'{}'", hold.locator.0, hold.token.as_simple()),
    is_still_of: |hold| format!("id = {} and owner = x'{}'", hold.locator.0, hold.token.as_simple()),
    token: |token| format!("x'{}'", token.as_simple()),
};

pub(super) async fn split(
    store: &Store<Sqlite>,
    holds: &[Hold<RowId>],
    slots: i32,
    options: StoreOptions,
) -> sqlx::Result<bool> {
    let Some(Statements { all, then }) = split::statements(&store.schema, holds, slots, "", &WORDS) else {
        return Ok(false);
    };
    let mut tx = attempt::open(store.pool.acquire().await?).await?;
    let (_, turn) = lock::begin(store, &mut tx, options.patience(), None, "begin immediate").await?;
    let changed = statements(&mut tx, all).await.map_err(|(_, error)| error)?;
    let is_ours = changed == [holds.len() as u64];
    let rest = if is_ours { format!("{};commit", then.join(";")) } else { "rollback".to_owned() };
    statements(&mut tx, rest).await.map_err(|(_, error)| error)?;
    drop(turn);
    attempt::close(tx).await?;
    Ok(is_ours)
}
