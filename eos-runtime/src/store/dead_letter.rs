//! A record on its way into `eos_dead_letter`: set aside in the transaction that moves the position past it.
//!
//! The claim has put its message id into the inbox as done; here it becomes *dead*, so that a duplicate leaves no second
//! row, and a replay can see that the record was never handled. Columns and their reasons are in each database's
//! `dead_letter.sql`.

use std::borrow::Cow;
use std::time::UNIX_EPOCH;

use super::write_headers;
use crate::error::BoxError;
use crate::record::Record;

/// What the inbox says of an id whose record is set aside; 0 is done.
pub(crate) const DEAD: i16 = 1;

/// Why a record was set aside; the word in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It cannot be handled by anybody as it is: it does not parse, or the handler said `fatal`.
    Poison,
    /// Every attempt that it may have has failed.
    Failed,
    /// The last attempt took longer than the listener's deadline.
    Overran,
    /// The handler panicked at the last attempt.
    Panicked,
    /// Attempts were begun, and the process ended before it said how they went.
    Killed,
}

impl Reason {
    /// The word in the table, in logs and in metrics.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Reason::Poison => "poison",
            Reason::Failed => "failed",
            Reason::Overran => "overran",
            Reason::Panicked => "panicked",
            Reason::Killed => "killed",
        }
    }
}

/// One record that is set aside, with why.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeadLetter<'a> {
    pub(crate) record: &'a Record,
    /// In the inbox's form.
    pub(crate) message_id: Option<&'a [u8]>,
    pub(crate) listener: &'a str,
    pub(crate) attempts: u32,
    pub(crate) reason: Reason,
    /// The chain of causes.
    pub(crate) error: &'a str,
}

impl DeadLetter<'_> {
    /// Every database holds this much as text.
    const LONGEST_ERROR: usize = 16 * 1024;

    /// The record's headers as text.
    pub(crate) fn headers(&self) -> Result<Option<String>, BoxError> {
        write_headers(&self.record.headers())
    }

    /// When the record was written.
    pub(crate) fn record_time(&self) -> Option<i64> {
        let since = self.record.timestamp()?.duration_since(UNIX_EPOCH).ok()?;
        i64::try_from(since.as_millis()).ok()
    }

    /// The attempts as a column has them.
    pub(crate) fn attempts(&self) -> i32 {
        i32::try_from(self.attempts).unwrap_or(i32::MAX)
    }

    /// The chain of causes as a column can hold it.
    pub(crate) fn error(&self) -> Cow<'_, str> {
        let cut = self.error.floor_char_boundary(Self::LONGEST_ERROR);
        match &self.error[..cut] {
            text if text.contains('\0') => Cow::Owned(text.replace('\0', "\u{fffd}")),
            text => Cow::Borrowed(text),
        }
    }
}

/// Writes a dead letter by these two statements, whose placeholders stand in this order. A macro, since sqlx's traits
/// cannot be named for several databases at once.
macro_rules! write_dead_letter {
    ($tx:expr, $hold:expr, $letter:expr, $mark:expr, $insert:expr) => {{
        let (tx, hold, letter) = ($tx, $hold, $letter);
        if let Some(id) = letter.message_id {
            let mark = sqlx::query(sqlx::AssertSqlSafe($mark))
                .bind($crate::store::dead_letter::DEAD)
                .bind(hold.stream)
                .bind(id);
            mark.execute(&mut *tx).await?;
        }
        let insert = sqlx::query(sqlx::AssertSqlSafe($insert))
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
            .bind(letter.error().into_owned());
        insert.execute(&mut *tx).await.map(drop)
    }};
}
pub(crate) use write_dead_letter;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_causes_fits_whatever_it_says() {
        let record = Record::builder("t").at(0, 1).build();
        let long = format!("{}\0", "ö".repeat(9000));
        let letter = |error| DeadLetter {
            record: &record,
            message_id: None,
            listener: "l",
            attempts: u32::MAX,
            reason: Reason::Failed,
            error,
        };
        assert_eq!(letter("a\0b").error(), "a\u{fffd}b");
        assert_eq!(letter(&long).error().len(), DeadLetter::LONGEST_ERROR);
        assert_eq!(letter("").attempts(), i32::MAX);
    }
}
