//! Opening the databases: reached, their tables in order, each with a pool of its own and watched over.
//!
//! A database that cannot be reached is waited for, and said so; one that refuses us (a wrong password, no such
//! database) is an error that names the setting, never the secret.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::databases::PlannedDatabase;
use super::target::Target;
use crate::consumer::{Bound, Chain, Seats, Vigil};
use crate::dedupe::Medium;
use crate::error::Error;
use crate::settings::Migrate;
use crate::store::{
    ClaimDialect, ClaimTable, Fault, LetterDialect, MigrateError, MigrateMode, RelayDialect, Store,
    SweepCursor,
};

/// A database that is open, for the workers of its listeners.
#[derive(Debug, Clone)]
pub(crate) enum Opened {
    #[cfg(feature = "postgres")]
    Postgres(Bound<sqlx::Postgres>),
    #[cfg(feature = "mysql")]
    MySql(Bound<sqlx::MySql>),
    #[cfg(feature = "sqlite")]
    Sqlite(Bound<sqlx::Sqlite>),
}

/// What looks after the databases while they are open, and ends with the token.
pub(super) struct Caretaking<'a> {
    pub(super) tasks: &'a TaskTracker,
    pub(super) stop: CancellationToken,
    /// `[inbox] retention`.
    pub(super) retention: Duration,
}

impl Caretaking<'_> {
    /// Runs it until the token ends it.
    pub(super) fn watch(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }
}

/// Opens a database: waits until it is reached and brings its tables up to date.
///
/// # Errors
/// What waiting cannot mend.
///
/// # Cancel safety
/// Cancel safe; a migration that was begun is rolled back.
pub(super) async fn open(planned: &PlannedDatabase, care: &Caretaking<'_>) -> Result<Opened, Error> {
    let (schema, connections) = (planned.schema.as_str(), planned.max_connections);
    match &planned.target {
        #[cfg(feature = "postgres")]
        Target::Postgres(options) => {
            use crate::store::postgres::{connect, probe};
            let store = connect((**options).clone(), schema, connections);
            ready(planned, store, || probe(options), care).await.map(Opened::Postgres)
        }
        #[cfg(feature = "mysql")]
        Target::MySql(options) => {
            use crate::store::mysql::{connect, probe};
            let store = connect((**options).clone(), schema, connections);
            ready(planned, store, || probe(options), care).await.map(Opened::MySql)
        }
        #[cfg(feature = "sqlite")]
        Target::Sqlite(options) => {
            use crate::store::sqlite::{connect, probe};
            let store = connect((**options).clone(), schema, connections);
            ready(planned, store, || probe(options), care).await.map(Opened::Sqlite)
        }
    }
}

async fn ready<D, P, F>(
    planned: &PlannedDatabase,
    store: Store<D>,
    probe: P,
    care: &Caretaking<'_>,
) -> Result<Bound<D>, Error>
where
    D: LetterDialect + RelayDialect + ClaimDialect,
    P: Fn() -> F,
    F: Future<Output = sqlx::Result<()>>,
{
    reach::<D, _, _>(planned, probe).await?;
    let mode = match planned.migrate {
        Migrate::Auto => MigrateMode::Auto,
        Migrate::Check => MigrateMode::Check,
    };
    let tables = |source: MigrateError| Error::Tables { name: planned.name.clone(), source: source.into() };
    D::migrate(&store, mode).await.map_err(tables)?;

    let seats = Seats::new(planned.for_attempts());
    let bound = Bound { store: Arc::new(store), seats, vigil: Vigil::default() };
    let watching = bound.vigil.clone().keep(Arc::clone(&bound.store), planned.verify_every);
    let sweeping = sweep(Arc::clone(&bound.store), care.retention, planned.has_claims);
    let sounding = Arc::clone(&planned.sounding).keep(Arc::clone(&bound.store), planned.name.clone());
    care.watch(async {
        tokio::join!(watching, sweeping, sounding);
    });
    Ok(bound)
}

/// Waits until the database answers; says so when it does not.
async fn reach<D, P, F>(planned: &PlannedDatabase, probe: P) -> Result<(), Error>
where
    D: LetterDialect,
    P: Fn() -> F,
    F: Future<Output = sqlx::Result<()>>,
{
    let mut wait = Duration::from_millis(250);
    while let Err(error) = probe().await {
        if !matches!(D::fault(&error), Fault::Unavailable | Fault::ReadOnly) {
            let (name, setting) = (planned.name.clone(), planned.setting.clone());
            return Err(Error::Database { name, setting, source: error.into() });
        }
        tracing::warn!(
            database = planned.name, error = %Chain(&error),
            "the database cannot be reached; still trying, next in {wait:.1?} (see {})", planned.setting
        );
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(10));
    }
    Ok(())
}

impl Opened {
    /// Its claims of a group's ids.
    pub(super) fn claims(&self, group: &Arc<str>, planned: &PlannedDatabase) -> Box<dyn Medium> {
        let (name, setting) = (&planned.name, &planned.setting);
        match self {
            #[cfg(feature = "postgres")]
            Opened::Postgres(bound) => Box::new(ClaimTable::new(&bound.store, group, name, setting)),
            #[cfg(feature = "mysql")]
            Opened::MySql(bound) => Box::new(ClaimTable::new(&bound.store, group, name, setting)),
            #[cfg(feature = "sqlite")]
            Opened::Sqlite(bound) => Box::new(ClaimTable::new(&bound.store, group, name, setting)),
        }
    }

    /// Closes the pool, when all that used it has ended. A connection whose statement was given up, because the server did not
    /// answer, is not waited for: it may hang for as long as the server does.
    pub(super) async fn close(&self) {
        const PATIENCE: Duration = Duration::from_secs(2);
        let closing = async {
            match self {
                #[cfg(feature = "postgres")]
                Opened::Postgres(bound) => bound.store.pool.close().await,
                #[cfg(feature = "mysql")]
                Opened::MySql(bound) => bound.store.pool.close().await,
                #[cfg(feature = "sqlite")]
                Opened::Sqlite(bound) => bound.store.pool.close().await,
            }
        };
        if tokio::time::timeout(PATIENCE, closing).await.is_err() {
            tracing::debug!("a connection whose statement has no answer is left behind");
        }
    }
}

/// Forgets ids older than `retention`, a small stretch of the inbox at a time, round and round; and, once a round, claims that
/// nobody came back for.
async fn sweep<D: ClaimDialect>(store: Arc<Store<D>>, retention: Duration, has_claims: bool) {
    /// Where something was deleted there is more, probably; elsewhere there is no hurry.
    const MORE: Duration = Duration::from_millis(100);
    const NOTHING: Duration = Duration::from_secs(1);
    const ROUND: Duration = Duration::from_secs(60);

    let mut cursor = SweepCursor::default();
    loop {
        let sweeping = async {
            if has_claims && cursor == SweepCursor::default() {
                D::sweep_claims(&store).await?;
            }
            D::sweep(&store, cursor.clone(), retention).await
        };
        let sweeping = tokio::time::timeout(ROUND, sweeping).await;
        let pause = match sweeping.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(swept) => {
                let at_the_end = swept.next.is_none();
                cursor = swept.next.unwrap_or_default();
                match (at_the_end, swept.deleted) {
                    (true, _) => ROUND,
                    (false, 0) => NOTHING,
                    (false, _) => MORE,
                }
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "old ids were not removed from the inbox; again in {ROUND:?}");
                ROUND
            }
        };
        tokio::time::sleep(pause).await;
    }
}
