//! What came of it all, as the database, the diary and the broker have it; nothing here is what should have happened.

use std::time::Duration;

use serde::Serialize;

use crate::database::Database;
use crate::service::Listener;

/// The figures of a run; `--json` prints them as they are.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Tally {
    /// Messages that the broker took.
    pub(crate) produced: u64,
    /// Different orders among them.
    pub(crate) unique: u64,
    /// How often a record came to a listener: it was known by its id, or the handler ran.
    pub(crate) delivered: u64,
    pub(crate) kills: u64,
    /// Orders that have a row.
    pub(crate) applied: u64,
    /// Deliveries that left no row.
    pub(crate) duplicates: u64,
    /// Those among them that were known by their id.
    pub(crate) known: u64,
    /// Those among them whose handler ran, and was rolled back.
    pub(crate) rolled_back: u64,
    /// Orders without a row.
    pub(crate) lost: u64,
    /// Orders with more than one.
    pub(crate) applied_twice: u64,
    pub(crate) seed: u64,
    pub(crate) seconds: f64,
}

/// What the demonstration knows by itself.
pub(crate) struct Done {
    pub(crate) produced: u64,
    pub(crate) unique: u64,
    pub(crate) runs: u64,
    pub(crate) kills: u64,
    pub(crate) seed: u64,
    pub(crate) took: Duration,
}

impl Tally {
    /// Counts, when all services have stopped.
    pub(crate) async fn count(done: Done, listener: Listener, database: &Database) -> anyhow::Result<Self> {
        let Done { produced, unique, runs, kills, seed, took } = done;
        let rows = database.sum("select count(*) from orders").await?;
        let applied = applied(database).await?;
        let applied_twice = database
            .sum("select count(*) from (select 1 from orders group by order_no having count(*) > 1) again")
            .await?;
        // A position is the number of records that were committed there, each with its row or known by its id.
        let known = match listener {
            Listener::AtLeastOnce => 0,
            Listener::Sqlite | Listener::Postgres | Listener::MySql => {
                database.sum("select next_offset from eos_position").await?.saturating_sub(rows)
            }
        };
        Ok(Tally {
            produced,
            unique,
            delivered: runs + known,
            kills,
            applied,
            duplicates: runs + known - rows,
            known,
            rolled_back: runs - rows,
            lost: unique - applied,
            applied_twice,
            seed,
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
        })
    }

    /// What the demonstration is about.
    pub(crate) fn is_once_each(&self) -> bool {
        self.lost == 0 && self.applied_twice == 0
    }
}

/// How many orders have a row.
pub(crate) async fn applied(database: &Database) -> anyhow::Result<u64> {
    database.sum("select count(distinct order_no) from orders").await
}
