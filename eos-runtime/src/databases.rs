//! Opening the databases: reached, their tables in order, each with a pool of its own and watched over.
//!
//! A database that cannot be reached is waited for, and said so; one that refuses us (a wrong password, no such
//! database) is an error that names the setting, never the secret.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::consumer::{Bound, Chain, Seats, Vigil};
use crate::settings;
use crate::store::{Dialect, Fault, MigrateError, MigrateMode, Store, SweepCursor};

/// Where a database is: its options, made from the settings' address or taken from the application's pool.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    #[cfg(feature = "postgres")]
    Postgres(Box<sqlx::postgres::PgConnectOptions>),
    #[cfg(feature = "mysql")]
    MySql(Box<sqlx::mysql::MySqlConnectOptions>),
    #[cfg(feature = "sqlite")]
    Sqlite(Box<sqlx::sqlite::SqliteConnectOptions>),
}

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

/// How a database is to be opened.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) name: &'a str,
    pub(crate) settings: &'a settings::Database,
    pub(crate) retention: Duration,
}

/// Why a database cannot be opened, however long one waits.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The address, the user, the password or the database's name.
    #[error("the database refused the connection; check {setting}")]
    Refused {
        setting: String,
        #[source]
        source: sqlx::Error,
    },
    /// Its tables.
    #[error(transparent)]
    Tables(#[from] MigrateError),
    /// The process was told to stop while it waited.
    #[error("stopped while waiting for the database")]
    Stopped,
}

impl Opening<'_> {
    /// Opens it: waits until it is reached, brings its tables up to date, and spawns what looks after it.
    ///
    /// # Errors
    /// What waiting cannot mend.
    pub(crate) async fn open(
        &self,
        target: Target,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Opened, OpenError> {
        let connections = self.settings.max_connections;
        let schema = self.settings.schema.as_deref();
        match target {
            #[cfg(feature = "postgres")]
            Target::Postgres(options) => {
                use crate::store::postgres::{connect, probe};
                let store = connect((*options).clone(), schema.unwrap_or("public"), connections);
                self.ready(store, || probe(&options), stop, tasks).await.map(Opened::Postgres)
            }
            #[cfg(feature = "mysql")]
            Target::MySql(options) => {
                use crate::store::mysql::{connect, probe};
                let store = connect((*options).clone(), schema.unwrap_or_default(), connections);
                self.ready(store, || probe(&options), stop, tasks).await.map(Opened::MySql)
            }
            #[cfg(feature = "sqlite")]
            Target::Sqlite(options) => {
                use crate::store::sqlite::{connect, probe};
                let store = connect((*options).clone(), schema.unwrap_or_default(), connections);
                self.ready(store, || probe(&options), stop, tasks).await.map(Opened::Sqlite)
            }
        }
    }

    async fn ready<D, P, F>(
        &self,
        store: Store<D>,
        probe: P,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Bound<D>, OpenError>
    where
        D: Dialect,
        P: Fn() -> F,
        F: Future<Output = sqlx::Result<()>>,
    {
        self.reach::<D, _, _>(probe, stop).await?;
        let mode = match self.settings.migrate {
            settings::Migrate::Auto => MigrateMode::Auto,
            settings::Migrate::Check => MigrateMode::Check,
        };
        D::migrate(&store, mode).await?;

        let bound = Bound {
            store: Arc::new(store),
            seats: Seats::new(self.settings.max_connections),
            vigil: Vigil::default(),
        };
        let watching = bound.vigil.clone().keep(Arc::clone(&bound.store), self.settings.verify_every);
        let sweeping = sweep(Arc::clone(&bound.store), self.retention);
        let stop = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = watching => {}
                () = sweeping => {}
            }
        });
        Ok(bound)
    }

    async fn reach<D, P, F>(&self, probe: P, stop: &CancellationToken) -> Result<(), OpenError>
    where
        D: Dialect,
        P: Fn() -> F,
        F: Future<Output = sqlx::Result<()>>,
    {
        let setting = match self.name {
            settings::DEFAULT => "`[database] url` (or `EOS_DATABASE_URL`)".to_owned(),
            name => format!("`[databases.{name}] url`"),
        };
        let mut wait = Duration::from_millis(250);
        loop {
            let probed = tokio::select! {
                () = stop.cancelled() => return Err(OpenError::Stopped),
                probed = probe() => probed,
            };
            let Err(error) = probed else { return Ok(()) };
            if D::fault(&error) != Fault::Unavailable {
                return Err(OpenError::Refused { setting, source: error });
            }
            tracing::warn!(
                database = self.name, error = %Chain(&error),
                "the database cannot be reached; still trying, next in {wait:.1?} (see {setting})"
            );
            tokio::select! {
                () = stop.cancelled() => return Err(OpenError::Stopped),
                () = tokio::time::sleep(wait) => {}
            }
            wait = (wait * 2).min(Duration::from_secs(10));
        }
    }
}

impl Opened {
    /// Closes the pool; connections that are in use are waited for.
    pub(crate) async fn close(&self) {
        match self {
            #[cfg(feature = "postgres")]
            Opened::Postgres(bound) => bound.store.pool.close().await,
            #[cfg(feature = "mysql")]
            Opened::MySql(bound) => bound.store.pool.close().await,
            #[cfg(feature = "sqlite")]
            Opened::Sqlite(bound) => bound.store.pool.close().await,
        }
    }
}

/// Forgets ids older than `retention`, a small stretch of the inbox at a time, round and round.
async fn sweep<D: Dialect>(store: Arc<Store<D>>, retention: Duration) {
    /// Where something was deleted there is more, probably; elsewhere there is no hurry.
    const MORE: Duration = Duration::from_millis(100);
    const NOTHING: Duration = Duration::from_secs(1);
    const ROUND: Duration = Duration::from_secs(60);

    let mut cursor = SweepCursor::default();
    loop {
        let pause = match D::sweep(&store, cursor.clone(), retention).await {
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
                tracing::debug!(%error, "the inbox was not swept; again soon");
                ROUND
            }
        };
        tokio::time::sleep(pause).await;
    }
}
