//! `[kafka]`: where the log is, who reads it, and librdkafka's own properties.

use std::time::Duration;

use super::Given;
use super::properties::Properties;
use super::reader::Section;
use super::setting::Choice;

/// `[kafka]`.
#[derive(Debug, Clone)]
pub(crate) struct Kafka {
    pub(crate) bootstrap: Bootstrap,
    /// The group of every listener that names none; placeholders unresolved.
    pub(crate) group: Given<String>,
    /// What this process is called among those of its kind, by a name that a restart keeps.
    pub(crate) instance: Option<String>,
    pub(crate) start: Start,
    pub(crate) on_retention_gap: RetentionGap,
    /// How often Kafka is told what the database has committed; for lag and tools.
    pub(crate) commit_interval: Duration,
    pub(crate) properties: Properties,
}

/// Which brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bootstrap {
    /// `bootstrap_servers = "embedded"`: librdkafka's in-process broker, only ever by request.
    Embedded,
    /// `host:port`, separated by commas.
    Servers(String),
}

/// Where a group starts that has no position yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Earliest,
    Latest,
}

/// What happens when the log no longer holds the record at the position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetentionGap {
    /// The partition stops, and a person decides.
    Stop,
    /// It goes on at the log's start, with a warning that counts what is lost.
    Continue,
}

impl Choice for Start {
    const WORDS: &'static [(&'static str, Self)] =
        &[("earliest", Start::Earliest), ("latest", Start::Latest)];
}

impl Choice for RetentionGap {
    const WORDS: &'static [(&'static str, Self)] =
        &[("stop", RetentionGap::Stop), ("continue", RetentionGap::Continue)];
}

impl Kafka {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let kafka = Kafka {
            bootstrap: bootstrap(&mut section),
            group: group(&mut section),
            instance: instance(&mut section),
            start: section.choice("start", Start::Earliest),
            on_retention_gap: section.choice("on_retention_gap", RetentionGap::Stop),
            commit_interval: section.within(
                "commit_interval",
                Duration::from_secs(1),
                Duration::from_millis(10)..=Duration::from_secs(3600),
            ),
            properties: Properties::read(&section.section("properties")),
        };
        section.finish();
        kafka
    }
}

fn bootstrap(section: &mut Section<'_>) -> Bootstrap {
    const KEY: &str = "bootstrap_servers";
    let written = section.has(KEY);
    let servers = section.optional::<String>(KEY).map(|servers| servers.trim().to_owned());
    match servers {
        Some(servers) if servers == "embedded" => return Bootstrap::Embedded,
        Some(servers) if servers.split(',').all(|server| !server.trim().is_empty()) => {
            return Bootstrap::Servers(servers);
        }
        Some(_) => section.refuse(KEY, "expected `host:port`, several separated by commas"),
        None if written => {}
        None => section.refuse(
            KEY,
            "no brokers are named; set it or `EOS_KAFKA_BOOTSTRAP_SERVERS` (`embedded` asks for the in-process broker)",
        ),
    }
    Bootstrap::Servers(String::new())
}

fn group(section: &mut Section<'_>) -> Given<String> {
    let written = section.has("group");
    match section.optional::<String>("group") {
        Some(group) if group.trim().is_empty() => {
            section.refuse("group", "the group's name is empty");
            Given::Mistaken
        }
        Some(group) => Given::As(group),
        None if written => Given::Mistaken,
        None => Given::Absent,
    }
}

fn instance(section: &mut Section<'_>) -> Option<String> {
    let instance = section.optional::<String>("instance")?;
    if instance.contains("${") {
        section.refuse(
            "instance",
            "placeholders are not replaced here; give each process its own by `EOS__KAFKA__INSTANCE`",
        );
        return None;
    }
    if instance.trim().is_empty() {
        section.refuse(
            "instance",
            "the instance's name is empty; leave it out where a new one may do for each start",
        );
        return None;
    }
    Some(instance)
}
