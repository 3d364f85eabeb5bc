//! Setting a record aside on SQLite: two statements in the transaction that claimed it.

use sqlx::Sqlite;

use super::RowId;
use crate::store::dead_letter::{DeadLetter, write_dead_letter};
use crate::store::{Hold, Tx};

pub(super) async fn set_aside(
    schema: &str,
    tx: &mut Tx<Sqlite>,
    hold: &Hold<RowId>,
    letter: DeadLetter<'_>,
) -> sqlx::Result<()> {
    let mark = format!("update {schema}eos_inbox set outcome = $1 where stream = $2 and message_id = $3");
    let insert = format!(
        "insert into {schema}eos_dead_letter (group_id, topic, partition, record_offset, record_time, key, payload, \
         headers, message_id, listener, attempts, reason, error) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
    );
    write_dead_letter!(tx, hold, letter, mark, insert)
}
