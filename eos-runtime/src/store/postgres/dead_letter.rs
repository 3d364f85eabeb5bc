//! Setting a record aside on PostgreSQL: two statements in the transaction that claimed it. And the table's words.

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres, Row};

use super::Ctid;
use crate::store::dead_letter::{
    DeadLetter, Filter, ParkedRow, State, Stored, Unpublished, Verdict, Words, letter_dialect,
    write_dead_letter,
};
use crate::store::{Hold, PartitionKey, Store, Tx};

pub(super) async fn set_aside(
    schema: &str,
    tx: &mut Tx<Postgres>,
    hold: &Hold<Ctid>,
    letter: DeadLetter<'_>,
) -> sqlx::Result<i64> {
    let mark = format!("update {schema}eos_inbox set outcome = $1 where stream = $2 and message_id = $3");
    let insert = format!(
        "insert into {schema}eos_dead_letter (state, group_id, topic, partition, record_offset, record_time, key, payload, \
         headers, message_id, listener, attempts, reason, error, publish_to) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) returning id"
    );
    let insert = write_dead_letter!(&mut *tx, hold, letter, mark, insert);
    insert.fetch_one(&mut *tx).await?.try_get(0)
}

const WORDS: Words = Words {
    partition: "partition",
    key: "key",
    stamp: "pg_catalog.clock_timestamp()",
    millis_of: |column| format!("(extract(epoch from {column}) * 1000)::bigint"),
    big: "bigint",
    token: |token| format!("'{}'", token.as_hyphenated()),
};

letter_dialect!(Postgres, WORDS);

pub(in crate::store) async fn write(
    store: &Store<Postgres>,
    query: Query<'_, Postgres, PgArguments>,
) -> sqlx::Result<u64> {
    query.execute(&store.pool).await.map(|done| done.rows_affected())
}
