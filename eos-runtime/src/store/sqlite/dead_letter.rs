//! Setting a record aside on SQLite: two statements in the transaction that claimed it. And the table's words.

use std::time::Duration;

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Row, Sqlite};

use super::{NOW_MS, RowId, take};
use crate::listener::spec::Isolation;
use crate::store::dead_letter::{
    DeadLetter, Filter, ParkedRow, State, Stored, Unpublished, Verdict, Words, letter_dialect,
    write_dead_letter,
};
use crate::store::{Hold, PartitionKey, Store, StoreOptions, Tx};

pub(super) async fn set_aside(
    schema: &str,
    tx: &mut Tx<Sqlite>,
    hold: &Hold<RowId>,
    letter: DeadLetter<'_>,
) -> sqlx::Result<i64> {
    let mark = format!("update {schema}eos_inbox set outcome = $1 where stream = $2 and message_id = $3");
    let insert = format!(
        "insert into {schema}eos_dead_letter (state, group_id, topic, partition, record_offset, record_time, key, payload, \
         headers, message_id, listener, attempts, reason, error, publish_to) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
    );
    let insert = write_dead_letter!(&mut *tx, hold, letter, mark, insert);
    Ok(insert.execute(&mut *tx).await?.last_insert_rowid())
}

const WORDS: Words = Words {
    partition: "partition",
    key: "key",
    stamp: NOW_MS,
    millis_of: str::to_owned,
    big: "integer",
    token: |token| format!("x'{}'", token.as_simple()),
};

letter_dialect!(Sqlite, WORDS);

pub(in crate::store) async fn write(
    store: &Store<Sqlite>,
    query: Query<'_, Sqlite, SqliteArguments>,
) -> sqlx::Result<u64> {
    const OPTIONS: StoreOptions =
        StoreOptions { isolation: Isolation::ReadCommitted, deadline: Duration::from_secs(30) };
    take::write(store, OPTIONS, query).await
}
