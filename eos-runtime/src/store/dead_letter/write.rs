//! A record gets into the table, in the transaction that moves the position past it.

/// Marks its id, and binds it to the INSERT: these two statements, whose placeholders stand in this order. The caller runs
/// the second, and learns the row's number in its database's way. A macro, since sqlx's traits cannot be named for several
/// databases at once.
macro_rules! write_dead_letter {
    ($tx:expr, $hold:expr, $letter:expr, $mark:expr, $insert:expr) => {{
        let (tx, hold, letter) = ($tx, $hold, $letter);
        if let Some(id) = letter.message_id {
            let mark = sqlx::query(sqlx::AssertSqlSafe($mark))
                .bind($crate::store::dead_letter::ASIDE)
                .bind(hold.stream)
                .bind(id);
            mark.execute(&mut *tx).await?;
        }
        sqlx::query(sqlx::AssertSqlSafe($insert))
            .bind(letter.state.number())
            .bind(&*hold.key.group)
            .bind(letter.record.topic())
            .bind(letter.record.partition())
            .bind(letter.record.offset())
            .bind(letter.record_time())
            .bind(letter.record.key())
            .bind(letter.record.payload())
            .bind(letter.headers().map_err(sqlx::Error::Encode)?)
            .bind(letter.message_id)
            .bind(letter.listener)
            .bind(letter.attempts())
            .bind(letter.reason.word())
            .bind(letter.error().into_owned())
            .bind(letter.publish_to)
    }};
}
pub(crate) use write_dead_letter;
