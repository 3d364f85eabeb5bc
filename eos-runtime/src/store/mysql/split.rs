//! Splitting a partition's keys anew.

use sqlx::MySql;
use sqlx::mysql::MySqlQueryResult;

use super::attempt::{close, whole_seconds};
use super::{RowId, message, run, take};
use crate::store::Hold;
use crate::store::dialect::{Store, StoreOptions};
use crate::store::split::{SplitWords, Statements, statements};

const WORDS: SplitWords<RowId> = SplitWords {
    partition: "`partition`",
    more: "`connection`, held_until, ",
    is_of: |hold| format!("id = {} and owner = x'{}'", hold.locator.0, hold.token.as_simple()),
    is_still_of: |hold| format!("id = {} and owner = x'{}'", hold.locator.0, hold.token.as_simple()),
    token: |token| format!("x'{}'", token.as_simple()),
};

pub(super) async fn split(
    store: &Store<MySql>,
    holds: &[Hold<RowId>],
    slots: i32,
    options: StoreOptions,
) -> sqlx::Result<bool> {
    // For whoever waits for a split that fell asleep.
    let held = format!(
        "`connection` = connection_id(), held_until = unix_timestamp() + {}, ",
        whole_seconds(options.patience())
    );
    let Some(Statements { all, then }) = statements(&store.schema, holds, slots, &held, &WORDS) else {
        return Ok(false);
    };
    let mut tx = take::begin(store, options).await?;
    let answers = message(&mut tx, all).await.map_err(|(_, error)| error)?;
    let changed: u64 = answers.results.iter().map(MySqlQueryResult::rows_affected).sum();
    let is_ours = changed == holds.len() as u64;
    if is_ours {
        for statement in then {
            run(&mut tx, statement).await?;
        }
    }
    run(&mut tx, if is_ours { "commit" } else { "rollback" }).await?;
    close(tx).await?;
    Ok(is_ours)
}
