//! The outbox of one database as this process knows it: its schema, and who is woken by a commit.
//!
//! A service's transaction is begun on a pool of the service's own, which knows nothing of eos's settings. So the process
//! keeps a list of its databases, by address: a relay that runs here puts its own there, and is woken without a detour;
//! otherwise the settings say the schema, and whoever relays elsewhere is woken through the database.
//!
//! NOTIFY stands outside of the transaction, after it: inside, it would let one transaction commit at a time. And it is
//! said at most once in [`PAUSE`], by one task, however many transactions commit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use sqlx::Pool;
use tokio::sync::Notify;

use super::OutboxDialect;
use crate::settings;

/// Between two announcements of one process.
const PAUSE: Duration = Duration::from_millis(2);

/// One database's outbox.
#[derive(Debug)]
pub(crate) struct Home {
    /// As SQL says it, with its dot.
    schema: String,
    /// Wakes the relay of this process.
    pub(crate) work: Notify,
    /// Relays of this process that serve it, and pass the word on to others.
    relays: AtomicUsize,
    /// Whether a task announces.
    announcing: AtomicBool,
    /// Whether something was committed that is not announced yet.
    unannounced: AtomicBool,
}

/// By the database's address and the schema.
type Homes = HashMap<(String, String), Arc<Home>>;

static HOMES: LazyLock<Mutex<Homes>> = LazyLock::new(Mutex::default);

/// A relay of this process serves the outbox, as long as this lives.
#[derive(Debug)]
pub(crate) struct Serving(pub(crate) Arc<Home>);

impl Home {
    /// The outbox of a pool's database, in the schema that the settings say.
    pub(crate) fn of<DB: OutboxDialect>(pool: &Pool<DB>) -> Arc<Home> {
        let database = DB::identity(&pool.connect_options());
        let schema = settings::schema_of(|url| DB::is_at(url, &database));
        Self::find(database, DB::qualified(schema.as_deref().unwrap_or(DB::usual_schema())))
    }

    /// The outbox of a database that eos has opened, in this schema.
    pub(crate) fn at<DB: OutboxDialect>(pool: &Pool<DB>, schema: &str) -> Arc<Home> {
        Self::find(DB::identity(&pool.connect_options()), schema.to_owned())
    }

    fn find(database: String, schema: String) -> Arc<Home> {
        let mut homes = HOMES.lock().unwrap_or_else(PoisonError::into_inner);
        let home = homes
            .entry((database, schema))
            .or_insert_with_key(|(_, schema)| Arc::new(Home::new(schema.clone())));
        Arc::clone(home)
    }

    fn new(schema: String) -> Self {
        Home {
            schema,
            work: Notify::new(),
            relays: AtomicUsize::new(0),
            announcing: AtomicBool::new(false),
            unannounced: AtomicBool::new(false),
        }
    }

    /// The schema of its tables, as SQL says it, with its dot.
    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// From here on a relay of this process is told of commits.
    pub(crate) fn serve(self: Arc<Self>) -> Serving {
        self.relays.fetch_add(1, Ordering::AcqRel);
        Serving(self)
    }

    /// Entries were committed: wakes whoever publishes them. It never waits.
    pub(crate) fn published<DB: OutboxDialect>(self: &Arc<Self>, pool: &Pool<DB>) {
        self.work.notify_one();
        if self.relays.load(Ordering::Acquire) == 0 {
            self.announce(pool);
        }
    }

    /// Wakes the relays of other processes, soon.
    pub(crate) fn announce<DB: OutboxDialect>(self: &Arc<Self>, pool: &Pool<DB>) {
        if !DB::ANNOUNCES {
            return;
        }
        self.unannounced.store(true, Ordering::Release);
        if self.announcing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (home, pool) = (Arc::clone(self), pool.clone());
        // Nobody waits for it: an announcement that is lost, as when the process ends, costs a relay one look of its poll.
        tokio::spawn(async move {
            // Said before it is looked for: a commit that comes in between is announced by the next round.
            while home.unannounced.swap(false, Ordering::AcqRel) {
                if let Err(error) = DB::announce(&pool).await {
                    tracing::debug!(%error, "a relay elsewhere was not woken; it looks by itself");
                }
                tokio::time::sleep(PAUSE).await;
            }
            home.announcing.store(false, Ordering::Release);
            // Another may have come right before that, and found a task that was there and did not look again.
            if home.unannounced.load(Ordering::Acquire) {
                home.announce(&pool);
            }
        });
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.relays.fetch_sub(1, Ordering::AcqRel);
    }
}
