//! The settings: `eos.toml`, overlaid by the environment, read once and never changed.
//!
//! Sources are merged as plain values that remember where they were written ([`value`], [`file`], [`environment`]);
//! then each table is read by its own `read`, which notes every mistake and goes on with the default. Whoever starts
//! the process looks at the mistakes before anything else, so that nobody else ever sees a wrong value.

mod admin;
mod database;
mod environment;
mod file;
mod kafka;
mod mistake;
mod outbox;
mod placeholder;
mod process;
mod properties;
mod reader;
mod redis_server;
mod rest;
mod secret;
mod setting;
mod tools;
mod value;

use std::collections::{BTreeMap, BTreeSet};

#[cfg(feature = "admin")]
pub(crate) use admin::Admin;
pub(crate) use database::{Address, DEFAULT, Database, DatabaseKind, Migrate};
pub(crate) use environment::Environment;
pub(crate) use file::File;
pub(crate) use kafka::{Bootstrap, Kafka, RetentionGap, Start};
pub use mistake::Mistakes;
pub(crate) use mistake::{Found, either, nearest};
pub(crate) use outbox::{Delivery, OnUndeliverable, Outbox, RelayRuns};
pub(crate) use placeholder::{Values, tables_read};
pub(crate) use process::{keep, resolve, schema_of};
pub(crate) use properties::Properties;
#[cfg(feature = "redis")]
pub(crate) use redis_server::RedisKind;
pub(crate) use redis_server::{Redis, RedisAddress};
pub(crate) use rest::{
    DeadLetter, DeadLetters, Inbox, ListenerOverride, Log, LogKeys, OnFailure, Retry, RetryOverride, Shutdown,
};

use reader::Section;

/// Everything that can be set.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) kafka: Kafka,
    /// By name; `[database]` is the one named `default`.
    pub(crate) databases: BTreeMap<String, Database>,
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    pub(crate) redis: Redis,
    pub(crate) retry: Retry,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) log: Log,
    pub(crate) shutdown: Shutdown,
    /// Absent where nobody is to look over HTTP.
    #[cfg_attr(
        not(feature = "admin"),
        expect(dead_code, reason = "without the feature it is a mistake to set it")
    )]
    pub(crate) admin: Option<admin::Admin>,
    /// By the listener's id.
    pub(crate) listeners: BTreeMap<String, ListenerOverride>,
}

/// A setting that may be absent, and whose absence is not said twice when it was only written wrongly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given<T> {
    Absent,
    /// Written, and noted as a mistake.
    Mistaken,
    As(T),
}

/// What was read.
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    /// What placeholders in topics and groups can name.
    pub(crate) values: Values,
    /// Worth a warning, but no mistake.
    pub(crate) remarks: Vec<String>,
}

impl Settings {
    /// Reads the file and the environment; every mistake goes to `found`. Top-level names in `own` are the
    /// service's, since its placeholders read them.
    pub(crate) fn load(
        file: &File,
        environment: &Environment,
        own: &BTreeSet<String>,
        found: &Found,
    ) -> Loaded {
        let mut root = file.read(found);
        let remarks = environment.overlay(&mut root, found);
        let settings = Settings::read(Section::root(&root, found), own);
        Loaded { settings, values: Values::new(root), remarks }
    }

    fn read(mut root: Section<'_>, own: &BTreeSet<String>) -> Self {
        // A service's own keys, read by placeholders alone.
        drop(root.section("app"));
        let settings = Settings {
            kafka: Kafka::read(root.section("kafka")),
            databases: database::read(&mut root),
            inbox: Inbox::read(root.section("inbox")),
            outbox: Outbox::read(root.section("outbox")),
            redis: redis_server::read(&mut root),
            retry: Retry::read(root.section("retry")),
            dead_letters: DeadLetters::read(root.section("dead_letters")),
            log: Log::read(root.section("log")),
            shutdown: Shutdown::read(root.section("shutdown")),
            admin: admin::read(&mut root),
            listeners: root
                .section("listeners")
                .named_sections()
                .into_iter()
                .map(|(id, section)| (id.to_owned(), ListenerOverride::read(section)))
                .collect(),
        };
        root.finish_but_for(own);
        settings
    }
}

impl File {
    /// The file that `EOS_CONFIG` names, or the default one.
    pub(crate) fn of(environment: &Environment) -> Self {
        match environment.get(environment::CONFIG) {
            Some(path) => File::Named { path: path.into(), by: "`EOS_CONFIG`" },
            None => File::Default,
        }
    }
}

#[cfg(test)]
mod tests;
