//! What the program gives to its listeners, one call each.

use std::any::{Any, TypeId, type_name};
use std::collections::{BTreeMap, HashMap};
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use super::target::{DatabasePool, Target};
use crate::consumer::Rule;
use crate::error::Verdict;
use crate::extract::States;
use crate::listener::outcome::find;
use crate::settings::{DEFAULT, Found};

/// An application: its states, its pools, and which of the linked listeners it runs.
///
/// Made by [`app`]. Nothing happens before [`App::run`]; what is wrong is said there, all at once.
#[must_use = "an application does nothing until it is run"]
#[derive(Default)]
pub struct App {
    pub(super) states: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    pub(super) pools: BTreeMap<String, Target>,
    pub(super) rules: Vec<Rule>,
    /// Patterns of ids; none given is all.
    pub(super) listeners: Option<Vec<String>>,
    pub(super) expected: Vec<String>,
    pub(super) shutdown: Option<Shutdown>,
    pub(super) settings: Option<PathBuf>,
    /// No listeners, and every database that there is: a relay alone.
    pub(super) relay_alone: bool,
    /// Whether `[admin] listen` is listened on.
    pub(super) door: DoorIs,
    /// Prometheus' text, of the program's own recorder.
    #[cfg(feature = "admin")]
    pub(super) prometheus: Option<crate::admin::Render>,
    /// Calls that contradict each other.
    pub(super) mistakes: Found,
}

/// Whether anybody can look at the application over HTTP.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum DoorIs {
    /// It runs, and its settings decide.
    Open,
    /// It is only a test's, which delivers a record.
    #[default]
    Shut,
}

/// The caller's own stop signal.
pub(super) type Shutdown = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts describing an application, where [`run`](crate::run) alone is not enough.
///
/// ```no_run
/// # #[derive(Clone)]
/// # struct Mailer;
/// # #[cfg(feature = "postgres")]
/// # async fn example(pool: sqlx::PgPool) -> eos_runtime::Result<()> {
/// eos_runtime::app()
///     .state(Mailer)
///     .database(&pool)
///     .listeners(["orders::*"])
///     .run()
///     .await
/// # }
/// ```
pub fn app() -> App {
    App::default()
}

/// Starts describing a relay alone: a process that publishes what others have stored in the outbox of each database of
/// the settings, and runs no listener.
///
/// ```no_run
/// # async fn example() -> eos_runtime::Result<()> {
/// eos_runtime::relay().run().await
/// # }
/// ```
///
/// It runs in as many processes as are started, and shares the work out. `run()` publishes too, unless `[outbox] relay`
/// is `off`; this does in any case.
pub fn relay() -> App {
    App { relay_alone: true, ..App::default() }
}

impl App {
    /// Gives a value that listeners take as `State<S>`; one a type, cloned for each record.
    pub fn state<S: Clone + Send + Sync + 'static>(mut self, state: S) -> Self {
        if self.states.insert(TypeId::of::<S>(), Box::new(state)).is_some() {
            self.mistakes.add(format!(
                "two states of type `{}` are given; wrap one of them in a type of its own",
                type_name::<S>()
            ));
        }
        self
    }

    /// Gives the database of listeners that name none, in place of `[database] url`: `&PgPool`, `&MySqlPool` or
    /// `&SqlitePool`. eos opens a pool of its own with the same options.
    pub fn database(self, pool: impl Into<DatabasePool>) -> Self {
        self.database_named(DEFAULT, pool)
    }

    /// Gives the database of listeners that say `transactional(database = "name")`.
    pub fn database_named(mut self, name: impl Into<String>, pool: impl Into<DatabasePool>) -> Self {
        let name = name.into();
        if self.pools.contains_key(&name) {
            self.mistakes.add(format!("two pools are given for the database `{name}`; keep one of them"));
        }
        self.pools.insert(name, pool.into().0);
        self
    }

    /// Runs only the listeners whose ids match one of these patterns, where a program links more handlers than it
    /// runs. `*` stands for any text.
    pub fn listeners<P: Into<String>>(mut self, patterns: impl IntoIterator<Item = P>) -> Self {
        self.listeners.get_or_insert_default().extend(patterns.into_iter().map(Into::into));
        self
    }

    /// Refuses to start unless these listeners run: a handler crate that nobody names is left out by the linker.
    pub fn expect<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.expected.extend(ids.into_iter().map(Into::into));
        self
    }

    /// Decides what an error of type `E` means, wherever in the chain of a handler's error it is found. The first
    /// rule that applies counts, before what the handler itself said.
    ///
    /// ```no_run
    /// use eos_runtime::Verdict;
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// enum OrderError {
    ///     #[error("no such article")]
    ///     NoSuchArticle,
    ///     #[error("the warehouse does not answer")]
    ///     Warehouse,
    /// }
    ///
    /// # async fn example() -> eos_runtime::Result<()> {
    /// eos_runtime::app()
    ///     .classify(|error: &OrderError| match error {
    ///         OrderError::NoSuchArticle => Verdict::Fatal,
    ///         OrderError::Warehouse => Verdict::Again,
    ///     })
    ///     .run()
    ///     .await
    /// # }
    /// ```
    pub fn classify<E, F>(mut self, rule: F) -> Self
    where
        E: StdError + 'static,
        F: Fn(&E) -> Verdict + Send + Sync + 'static,
    {
        self.rules.push(Box::new(move |error| find::<E>(error).map(&rule)));
        self
    }

    /// Stops when this future is done, in place of SIGTERM and SIGINT, which are then the caller's: for embedding in
    /// a program that has a stop of its own.
    ///
    /// ```no_run
    /// # async fn example(stopping: tokio_util::sync::CancellationToken) -> eos_runtime::Result<()> {
    /// eos_runtime::app().shutdown(stopping.cancelled_owned()).run().await
    /// # }
    /// ```
    pub fn shutdown(mut self, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        self.shutdown = Some(Box::pin(stop));
        self
    }

    /// Reads the settings from this file, which must be there, in place of `EOS_CONFIG` or `eos.toml`. The
    /// environment is laid over it all the same.
    pub fn settings_from(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings = Some(path.into());
        self
    }

    /// Gives what `/metrics` of the [admin server](crate::admin) answers, where the program has installed a metrics recorder
    /// of its own; for example `PrometheusHandle::render` of the crate `metrics-exporter-prometheus`.
    ///
    /// ```no_run
    /// # struct Handle;
    /// # impl Handle { fn render(&self) -> String { String::new() } }
    /// # async fn example(handle: Handle) -> eos_runtime::Result<()> {
    /// eos_runtime::app().prometheus(move || handle.render()).run().await
    /// # }
    /// ```
    #[cfg(feature = "admin")]
    pub fn prometheus(mut self, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.prometheus = Some(Box::new(render));
        self
    }

    pub(super) fn take_states(&mut self) -> States {
        States::new(std::mem::take(&mut self.states))
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("states", &self.states.len())
            .field("pools", &self.pools)
            .field("rules", &self.rules.len())
            .field("listeners", &self.listeners)
            .field("expected", &self.expected)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
