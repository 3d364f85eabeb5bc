//! `[outbox]`: who publishes what stands in the outbox, and how.

use std::time::Duration;

use super::properties::Properties;
use super::reader::Section;
use super::setting::Choice;

/// `[outbox]`.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    pub(crate) relay: RelayRuns,
    pub(crate) delivery: Delivery,
    /// How long published entries are kept; they are deleted at once where it is `None`.
    pub(crate) keep: Option<Duration>,
    /// How long the owner of a lane counts as alive without a word from it.
    pub(crate) lease: Duration,
    pub(crate) on_undeliverable: OnUndeliverable,
    /// librdkafka's properties for the relay's producers.
    pub(crate) properties: Properties,
}

/// Whether `run()` publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelayRuns {
    On,
    /// Another process does, or Debezium.
    Off,
}

/// How often an event may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Once; after a crash perhaps again, under the same id.
    AtLeastOnce,
    /// Once, for readers with `isolation.level=read_committed`.
    ExactlyOnce,
}

/// What an entry that Kafka refuses does to the later ones of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnUndeliverable {
    /// They wait for it.
    HoldKey,
    /// They pass.
    Skip,
}

impl Choice for RelayRuns {
    const WORDS: &'static [(&'static str, Self)] = &[("on", RelayRuns::On), ("off", RelayRuns::Off)];
}

impl Choice for Delivery {
    const WORDS: &'static [(&'static str, Self)] =
        &[("at_least_once", Delivery::AtLeastOnce), ("exactly_once", Delivery::ExactlyOnce)];
}

impl Choice for OnUndeliverable {
    const WORDS: &'static [(&'static str, Self)] =
        &[("hold_key", OnUndeliverable::HoldKey), ("skip", OnUndeliverable::Skip)];
}

/// Properties that order and "once" hang on, or that the relay chooses by what it knows of the topics.
const RELAYS_OWN: [(&str, &str); 5] = [
    ("partitioner", "keys land where Java's clients, and so Spring, put them"),
    ("batch.size", LIMITS),
    ("message.max.bytes", LIMITS),
    ("message.timeout.ms", WAITS),
    ("delivery.timeout.ms", WAITS),
];

const LIMITS: &str = "the relay takes it from the topics' `max.message.bytes`";
const WAITS: &str = "a broker that is down is waited for";

impl Outbox {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let own = section.section("properties");
        let properties = Properties::read(&own);
        for (name, why) in RELAYS_OWN {
            if properties.get(name).is_some() {
                own.refuse(name, &format!("{why}; remove it"));
            }
        }
        let outbox = Outbox {
            relay: section.choice("relay", RelayRuns::On),
            delivery: section.choice("delivery", Delivery::AtLeastOnce),
            keep: section.optional_within("keep", Duration::from_secs(1)..=365 * DAY),
            lease: section.within("lease", Duration::from_secs(6), Duration::from_secs(1)..=DAY),
            on_undeliverable: section.choice("on_undeliverable", OnUndeliverable::HoldKey),
            properties,
        };
        section.finish();
        outbox
    }
}
