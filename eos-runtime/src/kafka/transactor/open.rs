//! A transaction that is open, with whose outputs are in it; and why one came to nothing.

use std::sync::Arc;

use tokio::time::Instant;

use crate::kafka::producer::{NotSent, TransactionError};
use crate::source::Tap;

/// The transaction that is open.
pub(super) struct Open {
    pub(super) since: Instant,
    pub(super) records: u32,
    pub(super) positions: Vec<Position>,
    /// Of each output.
    pub(super) origins: Vec<Origin>,
}

/// Which record an output is of, and where it goes.
pub(super) struct Origin {
    /// Whose record: a place among the positions.
    pub(super) position: usize,
    pub(super) offset: i64,
    pub(super) to: Arc<str>,
}

/// How far a partition is, with what it has put into the transaction.
pub(super) struct Position {
    pub(super) tap: Arc<Tap>,
    pub(super) next: i64,
    pub(super) applied: u64,
}

/// Why a transaction came to nothing.
pub(super) enum Void {
    /// These outputs did not leave.
    NotSent(Vec<NotSent>),
    /// The group, or the broker, does not want it; the producer can go on.
    Aborted(String),
    /// Another producer has the id, or the brokers have ended the transaction; this producer is of no more use.
    Fenced(String),
    /// The producer is of no more use, and the transaction perhaps in doubt.
    Lost(String),
}

impl Open {
    pub(super) fn has(&self, tap: &Arc<Tap>) -> bool {
        self.positions.iter().any(|position| Arc::ptr_eq(&position.tap, tap))
    }

    /// The place of its position, which may be new.
    pub(super) fn position(&mut self, tap: &Arc<Tap>) -> usize {
        let found = self.positions.iter().position(|position| Arc::ptr_eq(&position.tap, tap));
        found.unwrap_or_else(|| {
            self.positions.push(Position { tap: Arc::clone(tap), next: 0, applied: 0 });
            self.positions.len() - 1
        })
    }

    /// Which record an output is of, and whose.
    pub(super) fn origin(&self, of: &NotSent) -> Option<(&Tap, &Origin)> {
        let origin = self.origins.get(of.index)?;
        Some((&self.positions.get(origin.position)?.tap, origin))
    }
}

impl Void {
    pub(super) fn of(error: &TransactionError) -> Self {
        match error {
            TransactionError::Abort(why) => Void::Aborted(why.clone()),
            TransactionError::Fenced(why) => Void::Fenced(why.clone()),
            TransactionError::Lost(why) => Void::Lost(why.clone()),
        }
    }

    /// In a sentence; `is_named` where another process can have the same name.
    pub(super) fn why(&self, open: Option<&Open>, is_named: bool) -> String {
        match self {
            Void::Fenced(why) if is_named => format!(
                "{why}: another process has the same `[kafka] instance`, or this one slept beyond the transaction's timeout"
            ),
            Void::Fenced(why) => format!("{why}: it slept beyond the transaction's timeout"),
            Void::Aborted(why) | Void::Lost(why) => why.clone(),
            Void::NotSent(failures) => {
                let first = failures.first().and_then(|first| Some((first, open?.origin(first)?)));
                match first {
                    Some((first, (tap, Origin { offset, to, .. }))) => format!(
                        "`{to}` does not take what record {offset} of {}[{}] leaves: {}",
                        tap.topic, tap.partition, first.code
                    ),
                    None => "outputs could not be written".to_owned(),
                }
            }
        }
    }
}
