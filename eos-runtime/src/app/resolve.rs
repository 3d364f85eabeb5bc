//! One listener, resolved: its table in the settings over its attribute over what the settings say for all. Each of its mistakes
//! is noted before it is given up.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::checks;
use super::databases::{Asks, Databases, PlannedDatabase};
use super::target::Target;
use crate::extract::{Needs, States};
use crate::listener::resolved::{DeadLetterTopic, DeadLetters, Listener};
use crate::listener::retry::RetryPolicy;
use crate::listener::spec::{DeadLetters as Spoken, ListenerSpec, Mode, OnFailure};
use crate::settings::{
    self, DeadLetter, Found, Given, ListenerOverride, RetryOverride, Settings, Values, either,
};

/// The plan's listeners while they are being resolved, each with its own mistakes.
pub(super) struct Making<'a> {
    pub(super) settings: &'a Settings,
    values: &'a Values,
    states: &'a States,
    pub(super) databases: Databases<'a>,
    pub(super) found: &'a Found,
    /// Listeners without a group: one mistake for all of them.
    groupless: Vec<&'static str>,
}

impl<'a> Making<'a> {
    pub(super) fn new(
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
    pub(super) fn listener(&mut self, spec: &'static ListenerSpec) -> Option<Listener> {
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

    pub(super) fn finish(self) -> Vec<PlannedDatabase> {
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

    pub(super) fn topic(&self, spec: &ListenerSpec, written: &str) -> Option<Arc<str>> {
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
