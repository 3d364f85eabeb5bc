//! Setting a record aside on MySQL and MariaDB: two statements in the transaction that claimed it. And the table's words.

use sqlx::mysql::MySqlArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, MySql, Row};

use super::RowId;
use crate::store::dead_letter::{
    DeadLetter, Filter, ParkedRow, State, Stored, Unpublished, Verdict, Words, letter_dialect,
    write_dead_letter,
};
use crate::store::{Hold, PartitionKey, Store, Tx};

pub(super) async fn set_aside(
    schema: &str,
    tx: &mut Tx<MySql>,
    hold: &Hold<RowId>,
    letter: DeadLetter<'_>,
) -> sqlx::Result<i64> {
    let mark = format!("update {schema}eos_inbox set outcome = ? where stream = ? and message_id = ?");
    let insert = format!(
        "insert into {schema}eos_dead_letter (state, group_id, topic, `partition`, record_offset, record_time, `key`, payload, \
         headers, message_id, listener, attempts, reason, error, publish_to) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    );
    let insert = write_dead_letter!(&mut *tx, hold, letter, mark, insert);
    let done = insert.execute(&mut *tx).await?;
    i64::try_from(done.last_insert_id()).map_err(|error| sqlx::Error::Decode(error.into()))
}

const WORDS: Words = Words {
    partition: "`partition`",
    key: "`key`",
    stamp: "current_timestamp(3)",
    millis_of: |column| format!("cast(unix_timestamp({column}) * 1000 as signed)"),
    big: "signed",
    token: |token| format!("x'{}'", token.as_simple()),
};

letter_dialect!(MySql, WORDS);

pub(in crate::store) async fn write(
    store: &Store<MySql>,
    query: Query<'_, MySql, MySqlArguments>,
) -> sqlx::Result<u64> {
    query.execute(&store.pool).await.map(|done| done.rows_affected())
}
