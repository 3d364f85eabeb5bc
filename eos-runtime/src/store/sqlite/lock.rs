//! The turn at writing: waiting for the file's one write lock, with an end for whoever keeps it, and a pause for
//! those who wait.
//!
//! SQLite's lock has no queue: who waits asks again and again. A consumer with a backlog would ask within
//! microseconds of its own COMMIT and win each time, while a taker sleeps between two questions. So nobody writes
//! for longer than [`TURN`] without leaving the file alone for [`PAUSE`].

use std::time::{Duration, Instant};

use sqlx::{Sqlite, SqliteConnection};

use super::holder::{self, Record};
use super::{code, statements};
use crate::store::dialect::Store;

/// How long one session may write, attempt after attempt.
const TURN: Duration = Duration::from_millis(50);
/// How long it then leaves the file to others; they ask every few milliseconds.
const PAUSE: Duration = Duration::from_millis(4);
/// How often whoever waits looks at who has the file.
const LOOK: Duration = Duration::from_millis(250);

/// A turn at writing. Others can read from the file system who has it and until when, as long as this lives.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    record: Record,
    since: Instant,
}

impl Turn {
    /// Goes on with the next attempt without asking anew, unless others should come in between.
    pub(super) fn extend(&self, patience: Duration) -> Option<Turn> {
        if self.since.elapsed() > TURN {
            return None;
        }
        self.record.until(patience);
        Some(self.clone())
    }

    /// Promises for as long as waiting for the next turn may take: the process does nothing overdue meanwhile.
    pub(super) fn wait_for_next(&self, patience: Duration) {
        self.record.until(patience * 2);
    }

    /// Leaves the file to others for a moment.
    pub(super) async fn pause() {
        tokio::time::sleep(PAUSE).await;
    }
}

/// Runs `sql`, which begins with BEGIN IMMEDIATE, as soon as the file can be written. An owner who keeps it beyond
/// what its record promises is ended. Gives up with the last "busy" after `give_up`.
pub(super) async fn begin(
    store: &Store<Sqlite>,
    connection: &mut SqliteConnection,
    patience: Duration,
    give_up: Option<Duration>,
    sql: &str,
) -> sqlx::Result<(Vec<u64>, Turn)> {
    let began = Instant::now();
    let mut looked = began;
    let record = Record::new(&store.pool.connect_options(), patience);
    let mut suspect = None;
    loop {
        match statements(connection, sql.to_owned()).await {
            Ok(changed) => return Ok((changed, Turn { record, since: Instant::now() })),
            Err((0, error)) if is_busy(&error) && give_up.is_none_or(|most| began.elapsed() < most) => {}
            Err((_, error)) => return Err(error),
        }
        // Said before each try, because a process can be stopped right after it got the lock.
        record.until(patience);
        if looked.elapsed() > LOOK {
            looked = Instant::now();
            suspect = holder::end_overdue(&record, suspect.as_ref());
        }
    }
}

/// Whether another has the write lock.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    code(error) == Some(5)
}
