//! How much waits in an outbox, and for how long: looked at now and then, whoever publishes it.
//!
//! A look counts ten thousand entries at the most, along the primary key, so that a table of ten million costs no more than
//! a full one; and it is so rare that it takes no more than a hundredth of the time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::OutboxGauges;
use crate::store::{Depth, RelayDialect, Store};

/// How often it is looked at, where that is cheap.
const EVERY: Duration = Duration::from_secs(5);
/// What a look may take of the time.
const SHARE: u32 = 100;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// What is known of one outbox.
#[derive(Debug, Default)]
pub(crate) struct Sounding {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
#[cfg_attr(not(feature = "admin"), expect(dead_code, reason = "written all the same, for who looks"))]
struct Known {
    depth: Option<Depth>,
    /// Since when the database has not answered, and what was said.
    trouble: Option<(Instant, String)>,
}

impl Sounding {
    /// Looks for ever; dropped when the process stops.
    pub(crate) async fn keep<D: RelayDialect>(self: Arc<Self>, store: Arc<Store<D>>, database: String) {
        let gauges = OutboxGauges::of(&database);
        loop {
            let began = Instant::now();
            let mut pause = EVERY;
            let looking = tokio::time::timeout(ANSWER, D::depth(&store)).await;
            match looking.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                Ok(depth) => {
                    pause = EVERY.max(began.elapsed() * SHARE);
                    gauges.tell(depth.waiting, depth.oldest);
                    *self.lock() = Known { depth: Some(depth), trouble: None };
                }
                Err(error) => {
                    tracing::debug!(database, %error, "the outbox's depth cannot be read; again soon");
                    let since = self.lock().trouble.take().map_or(began, |(since, _)| since);
                    self.lock().trouble = Some((since, error.to_string()));
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(feature = "admin")]
impl Sounding {
    /// What waited when it was looked at last.
    pub(crate) fn depth(&self) -> Option<Depth> {
        self.lock().depth
    }

    /// For how long the database has not answered, and what was said last.
    pub(crate) fn trouble(&self) -> Option<(Duration, String)> {
        self.lock().trouble.as_ref().map(|(since, why)| (since.elapsed(), why.clone()))
    }
}
