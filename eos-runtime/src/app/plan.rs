//! The plan: what will run, with nothing left open. Making it is where every mistake is found; nothing is connected.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::builder::App;
use super::checks;
use super::databases::{Asks, Databases, PlannedDatabase};
use super::dedupe::link;
use super::select::Selection;
use super::target::Target;
use crate::consumer::Classify;
use crate::dedupe::Link;
use crate::error::Error;
use crate::extract::{Needs, States};
use crate::kafka_tx::KafkaTx;
use crate::listener::resolved::{DeadLetterTopic, DeadLetters, Idempotent, Listener, Medium, Promise};
use crate::listener::retry::RetryPolicy;
use crate::listener::spec::{
    self, Body, DeadLetters as Spoken, ExactlyOnce, ListenerSpec, Mode, OnFailure, PlainHandler,
    Transactional, TxHandler,
};
use crate::settings::{
    self, DatabaseKind, DeadLetter, Environment, File, Found, Given, ListenerOverride, RelayRuns,
    RetryOverride, Settings, Values, either, keep, tables_read,
};

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

/// The plan's listeners while they are being resolved, each with its own mistakes.
struct Making<'a> {
    settings: &'a Settings,
    values: &'a Values,
    states: &'a States,
    databases: Databases<'a>,
    found: &'a Found,
    /// Listeners without a group: one mistake for all of them.
    groupless: Vec<&'static str>,
}

impl<'a> Making<'a> {
    fn new(
        settings: &'a Settings,
        values: &'a Values,
        pools: &'a BTreeMap<String, Target>,
        states: &'a States,
        found: &'a Found,
    ) -> Self {
        let databases = Databases::new(&settings.databases, pools, found);
        Making { settings, values, states, databases, found, groupless: Vec::new() }
    }

    /// Everything that is wrong with one listener is noted, before it is given up.
    fn listener(&mut self, spec: &'static ListenerSpec) -> Option<Listener> {
        let over = self.settings.listeners.get(spec.id);
        let concurrency = over.and_then(|over| over.concurrency).unwrap_or(spec.concurrency);
        if concurrency == 0 {
            self.found
                .add(format!("listener `{}`: `concurrency` is 0; it needs at least one consumer", spec.id));
        }
        let per_partition = over.and_then(|over| over.concurrency_per_partition);
        let per_partition = checks::per_partition(spec, per_partition, self.found);
        let topics = self.topics(spec);
        let group = self.group(spec, over);
        let promise = self.promise(spec, over);
        let retry = self.retry(spec, over);
        let on_failure = self.on_failure(spec, over);
        let dead_letters = self.dead_letters(spec, over, topics.as_deref().unwrap_or_default());
        self.needs(spec);
        Some(Listener {
            id: spec.id,
            topics: topics?,
            group: group?,
            deadline: over.and_then(|over| over.deadline).unwrap_or(spec.deadline),
            concurrency,
            concurrency_per_partition: per_partition?,
            promise: promise?,
            retry: retry?,
            on_failure: on_failure?,
            dead_letters: dead_letters?,
        })
    }

    fn finish(self) -> Vec<PlannedDatabase> {
        if !self.groupless.is_empty() {
            self.found.add(format!(
                "no group for {}; set `[kafka] group` (`EOS_KAFKA_GROUP`), or `group = \"…\"` of the listener",
                either(self.groupless.iter().copied()).replace(" or ", " and ")
            ));
        }
        self.databases.into_needed()
    }

    /// Text of a listener with its placeholders replaced.
    fn resolve(&self, spec: &ListenerSpec, text: &str) -> Option<String> {
        self.values
            .resolve(text)
            .map_err(|mistake| self.found.add(format!("listener `{}`: {mistake}", spec.id)))
            .ok()
    }

    fn topics(&self, spec: &ListenerSpec) -> Option<Vec<Arc<str>>> {
        let resolved: Vec<_> = spec.topics.iter().map(|topic| self.topic(spec, topic)).collect();
        resolved.into_iter().collect()
    }

    fn topic(&self, spec: &ListenerSpec, written: &str) -> Option<Arc<str>> {
        let topic = self.resolve(spec, written)?;
        if let Some(objection) = checks::topic_objection(&topic) {
            let from = if topic == written { String::new() } else { format!(" (from `{written}`)") };
            self.found.add(format!(
                "listener `{}`: `{topic}`{from} cannot be a topic's name: {objection}",
                spec.id
            ));
            return None;
        }
        Some(Arc::from(topic))
    }

    fn group(&mut self, spec: &ListenerSpec, over: Option<&ListenerOverride>) -> Option<Arc<str>> {
        let written =
            match (over.and_then(|over| over.group.as_deref()), spec.group, &self.settings.kafka.group) {
                (Some(group), _, _) | (None, Some(group), _) => group,
                (None, None, Given::As(group)) => group,
                (None, None, Given::Mistaken) => return None,
                (None, None, Given::Absent) => {
                    self.groupless.push(spec.id);
                    return None;
                }
            };
        let group = self.resolve(spec, written)?;
        if let Some(objection) = checks::group_objection(&group) {
            self.found
                .add(format!("listener `{}`: `{group}` cannot be a group's name: {objection}", spec.id));
            return None;
        }
        Some(Arc::from(group))
    }

    /// The listener's table over its attribute over `[retry]`.
    fn retry(&self, spec: &ListenerSpec, over: Option<&ListenerOverride>) -> Option<RetryPolicy> {
        let (none, settings, spoken) = (RetryOverride::default(), &self.settings.retry, spec.retry);
        let over = over.map_or(&none, |over| &over.retry);
        let retry = RetryPolicy {
            max: over.max.or(spoken.max).unwrap_or(settings.max),
            backoff: over.backoff.or(spoken.backoff).unwrap_or(settings.backoff),
            factor: over.factor.or(spoken.factor).unwrap_or(settings.factor),
            max_backoff: over.max_backoff.or(spoken.max_backoff).unwrap_or(settings.max_backoff),
            jitter: over.jitter.or(spoken.jitter).unwrap_or(settings.jitter),
        };
        if retry.max_backoff < retry.backoff {
            self.found.add(format!(
                "listener `{}`: its longest wait between attempts (`max_backoff`, {}) is shorter than the first one \
                 (`backoff`, {})",
                spec.id,
                humantime::format_duration(retry.max_backoff),
                humantime::format_duration(retry.backoff)
            ));
            return None;
        }
        Some(retry)
    }

    /// What its partitions do while a record waits; without a database nothing can be parked.
    fn on_failure(&self, spec: &ListenerSpec, over: Option<&ListenerOverride>) -> Option<OnFailure> {
        let on_failure = match over.and_then(|over| over.on_failure) {
            Some(settings::OnFailure::Park) => OnFailure::Park,
            Some(settings::OnFailure::Block) => OnFailure::Block,
            None => spec.on_failure,
        };
        if on_failure == OnFailure::Park && !matches!(spec.mode, Mode::Transactional(_)) {
            self.found.add(format!(
                "listener `{}`: `on_failure = \"park\"`, but it has no database to park records in; make it `transactional`, \
                 or choose `block`",
                spec.id
            ));
            return None;
        }
        Some(on_failure)
    }

    /// Where the listener's dead letters go; without a database there is no table.
    fn dead_letters(
        &self,
        spec: &ListenerSpec,
        over: Option<&ListenerOverride>,
        topics: &[Arc<str>],
    ) -> Option<DeadLetters> {
        let named = match spec.dead_letters {
            Spoken::Topic(Some(name)) => Some(self.topic(spec, name)?),
            Spoken::Topic(None) | Spoken::Table | Spoken::Off => None,
        };
        let topic = || named.clone().map_or(DeadLetterTopic::OfEach, DeadLetterTopic::Named);
        let wanted = over.and_then(|over| over.dead_letter).unwrap_or(match spec.dead_letters {
            Spoken::Table => DeadLetter::Table,
            Spoken::Topic(_) => DeadLetter::Topic,
            Spoken::Off => DeadLetter::Off,
        });
        let dead_letters = match (wanted, spec.mode) {
            (DeadLetter::Off, _) | (_, Mode::AtMostOnce(_)) => DeadLetters::Off,
            (DeadLetter::Table, Mode::Transactional(_)) => DeadLetters::Table,
            (DeadLetter::Topic, Mode::Transactional(_)) => DeadLetters::TableAndTopic(topic()),
            (DeadLetter::Topic, Mode::Plain | Mode::ExactlyOnce(_) | Mode::Idempotent(_)) => {
                DeadLetters::Topic(topic())
            }
            (DeadLetter::Table, Mode::Plain | Mode::ExactlyOnce(_) | Mode::Idempotent(_)) => {
                self.found.add(format!(
                    "listener `{}`: `dead_letter = \"table\"`, but it has no database to keep them in; choose `topic` or \
                     `off`",
                    spec.id
                ));
                return None;
            }
        };
        let target = dead_letters.topic();
        for topic in topics {
            let Some(to) = target.map(|target| target.of(topic)) else { continue };
            if topics.iter().any(|own| **own == *to) {
                self.found.add(format!(
                    "listener `{}` would read its own dead letters from `{to}`; name another by `dead_letter = topic(\"…\")`",
                    spec.id
                ));
                return None;
            }
            if let Some(objection) = checks::topic_objection(&to) {
                self.found.add(format!(
                    "listener `{}`: `{to}`, the topic of its dead letters, cannot be a topic's name: {objection}; name \
                     another by `dead_letter = topic(\"…\")`",
                    spec.id
                ));
                return None;
            }
        }
        Some(dead_letters)
    }

    fn promise(&mut self, spec: &ListenerSpec, over: Option<&ListenerOverride>) -> Option<Promise> {
        let slots_asked = over.and_then(|over| over.key_slots);
        checks::slots_have_a_position(spec, slots_asked, self.found);
        let body = (spec.body)();
        let transactional = match (spec.mode, body) {
            (Mode::Plain, Body::Plain(handler)) => return Some(Promise::Plain(handler)),
            (Mode::AtMostOnce(at_once), Body::Plain(handler)) => {
                return Some(Promise::AtMostOnce(at_once, handler));
            }
            (Mode::ExactlyOnce(exactly_once), Body::Kafka(handler)) => {
                return self.exactly_once(spec, exactly_once, handler);
            }
            (Mode::Idempotent(options), Body::Plain(handler)) => {
                return self.idempotent(spec, options, handler);
            }
            (Mode::Transactional(transactional), _) => transactional,
            // The attribute lets nobody write this.
            (Mode::Plain | Mode::AtMostOnce(_) | Mode::ExactlyOnce(_) | Mode::Idempotent(_), _) => {
                self.found.add(format!("listener `{}` takes a transaction without `transactional`", spec.id));
                return None;
            }
        };
        let database = self.databases.find(spec.id, Asks::Transactional, transactional.database)?;
        let Some((kind, parameter)) = kind_of(body) else {
            self.found.add(format!("listener `{}` is `transactional` and takes no transaction", spec.id));
            return None;
        };
        let actual = self.databases.kind(database);
        if kind != actual {
            self.found.add(format!(
                "listener `{}` takes a {kind} transaction (`&mut {parameter}`), but the database `{}` is {actual}; \
                 change the one or the other",
                spec.id,
                self.databases.name(database)
            ));
            return None;
        }
        let Transactional { isolation, dedupe, group_commit, max_wait, key_slots, database: _ } =
            transactional;
        let key_slots = slots_asked.unwrap_or(key_slots);
        Some(Promise::Transactional { database, isolation, dedupe, group_commit, max_wait, key_slots, body })
    }

    /// Ids are remembered in Redis, or in a database's inbox.
    fn idempotent(
        &mut self,
        spec: &ListenerSpec,
        options: spec::Idempotent,
        handler: PlainHandler,
    ) -> Option<Promise> {
        let spec::Idempotent { medium, id, lease, on_outage } = options;
        let medium = match medium {
            spec::Medium::Redis { ttl } => Medium::Redis { ttl },
            spec::Medium::Database(name) => {
                let database = self.databases.find(spec.id, Asks::Idempotent, name)?;
                self.databases.has_claims(database);
                Medium::Database(database)
            }
        };
        Some(Promise::Idempotent(handler, Idempotent { medium, id, lease, on_outage }))
    }

    /// The topic that the listener returns to is known before it returns anything.
    fn exactly_once(
        &mut self,
        spec: &ListenerSpec,
        exactly_once: ExactlyOnce,
        handler: TxHandler<KafkaTx>,
    ) -> Option<Promise> {
        let ExactlyOnce { commit_interval, commit_records, message_id, to } = exactly_once;
        if self
            .settings
            .kafka
            .properties
            .iter()
            .any(|(name, value)| name == "isolation.level" && value != "read_committed")
        {
            self.found.add(format!(
                "listener `{}` is `exactly_once`, and reads committed records alone; take `isolation.level` out of \
                 `[kafka.properties]`",
                spec.id
            ));
        }
        if let Some(to) = to {
            self.topic(spec, to)?;
        }
        Some(Promise::ExactlyOnce { commit_interval, commit_records, message_id, handler })
    }

    /// What the listener's extractors ask for.
    fn needs(&mut self, spec: &ListenerSpec) {
        let mut needs = Needs::default();
        (spec.needs)(&mut needs);
        for (_, name) in needs.states.iter().filter(|(type_id, _)| !self.states.has(*type_id)) {
            self.found.add(format!(
                "listener `{}` takes a state of type `{name}`, and none is given; give it by `app().state(…)`",
                spec.id
            ));
        }
        for name in &needs.databases {
            // A mistake is noted there; the extractor finds the database by name.
            self.databases.find(spec.id, Asks::Transactional, Some(name));
        }
    }
}

/// Which database a body's transaction belongs to, and the parameter's type.
fn kind_of(body: Body) -> Option<(DatabaseKind, &'static str)> {
    match body {
        Body::Plain(_) | Body::Kafka(_) => None,
        #[cfg(feature = "postgres")]
        Body::Postgres(_) => Some((DatabaseKind::Postgres, "PgTx")),
        #[cfg(feature = "mysql")]
        Body::MySql(_) => Some((DatabaseKind::MySql, "MySqlTx")),
        #[cfg(feature = "sqlite")]
        Body::Sqlite(_) => Some((DatabaseKind::Sqlite, "SqliteTx")),
    }
}
