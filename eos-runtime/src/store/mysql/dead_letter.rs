//! Setting a record aside on MySQL and MariaDB: two statements in the transaction that claimed it.

use sqlx::MySql;

use super::RowId;
use crate::store::dead_letter::{DeadLetter, write_dead_letter};
use crate::store::{Hold, Tx};

pub(super) async fn set_aside(
    schema: &str,
    tx: &mut Tx<MySql>,
    hold: &Hold<RowId>,
    letter: DeadLetter<'_>,
) -> sqlx::Result<()> {
    let mark = format!("update {schema}eos_inbox set outcome = ? where stream = ? and message_id = ?");
    let insert = format!(
        "insert into {schema}eos_dead_letter (group_id, topic, `partition`, record_offset, record_time, `key`, payload, \
         headers, message_id, listener, attempts, reason, error) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    );
    write_dead_letter!(tx, hold, letter, mark, insert)
}
