//! The plan: what will run, with nothing left open. Making it is where every mistake is found; nothing is connected.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::builder::App;
use super::checks;
use super::databases::PlannedDatabase;
use super::dedupe::link;
use super::resolve::Making;
use super::select::Selection;
use crate::consumer::Classify;
use crate::dedupe::Link;
use crate::error::Error;
use crate::extract::States;
use crate::listener::resolved::Listener;
use crate::listener::spec::ListenerSpec;
use crate::settings::{Environment, File, RelayRuns, Settings, keep, tables_read};

/// What will run.
pub(crate) struct Plan {
    pub(crate) settings: Arc<Settings>,
    /// By id.
    pub(crate) listeners: Vec<Listener>,
    /// Those that listeners need, each once; [`DatabaseRef`](crate::listener::resolved::DatabaseRef) counts in here.
    pub(crate) databases: Vec<PlannedDatabase>,
    pub(crate) states: States,
    pub(crate) classify: Classify,
    /// What idempotent listeners remember ids in, where there is one.
    pub(super) redis: Option<Arc<Link>>,
    /// Whether this process publishes from the outboxes of its databases.
    pub(crate) relays: bool,
    /// Worth a warning, but no mistake.
    pub(super) remarks: Vec<String>,
    /// The admin server's address, where it is to have one.
    #[cfg(feature = "admin")]
    pub(super) admin: Option<super::admin::Planned>,
}

impl Plan {
    /// Checks everything that the program, the settings and the linker say, all at once.
    pub(super) fn make(
        mut app: App,
        linked: Vec<&'static ListenerSpec>,
        environment: &Environment,
    ) -> Result<Plan, Error> {
        let found = std::mem::take(&mut app.mistakes);
        let file = match app.settings.take() {
            Some(path) => File::Named { path, by: "`.settings_from(…)`" },
            None => File::of(environment),
        };
        let own = linked.iter().flat_map(|spec| spec.topics.iter().copied().chain(spec.group));
        let own: BTreeSet<String> = own.flat_map(tables_read).collect();
        let loaded = Settings::load(&file, environment, &own, &found);
        let settings = loaded.settings;
        let selection = Selection {
            patterns: app.listeners.as_deref(),
            expected: &app.expected,
            overrides: &settings.listeners,
        };
        let relay_alone = app.relay_alone;
        let specs = if relay_alone { Vec::new() } else { selection.choose(linked, &found) };
        let states = app.take_states();
        let mut making = Making::new(&settings, &loaded.values, &app.pools, &states, &found);
        let listeners: Vec<Listener> = specs.into_iter().filter_map(|spec| making.listener(spec)).collect();
        if relay_alone {
            making.databases.all();
        }
        for name in app.pools.keys() {
            making.databases.also(name);
        }
        let databases = making.finish();
        if relay_alone && databases.is_empty() {
            found.add(
                "a relay publishes from databases, and there is none; set `[database] url` (`EOS_DATABASE_URL`), or give \
                 a pool by `relay().database(&pool)`",
            );
        }
        checks::one_listener_a_topic(&listeners, &found);
        let redis = link(&listeners, &settings.redis, &found);
        #[cfg(feature = "admin")]
        let admin = super::admin::Planned::make(&mut app, &settings, &found);
        found.into_mistakes().map_err(Error::Setup)?;
        let mut remarks = loaded.remarks;
        remarks.extend(listeners.iter().filter_map(|listener| checks::slots_remark(listener, &databases)));
        keep(loaded.values, settings.databases.clone());
        Ok(Plan {
            listeners,
            databases,
            states,
            classify: Classify::new(app.rules),
            redis,
            relays: relay_alone || settings.outbox.relay == RelayRuns::On,
            remarks,
            #[cfg(feature = "admin")]
            admin,
            settings: Arc::new(settings),
        })
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("listeners", &self.listeners)
            .field("databases", &self.databases)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
