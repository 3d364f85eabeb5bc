//! The settings as a service would read them, told to whoever checks a system.

use crate::finding::Finding;
use crate::settings::{self, Address, DEFAULT, DatabaseKind, DeadLetter, Given};

/// All that was found, and where to look further.
#[derive(Debug)]
pub struct Settings {
    /// What is wrong, or odd.
    pub findings: Vec<Finding>,
    /// Databases that have an address.
    pub databases: Vec<Place>,
    /// Whether a listener's settings send its dead letters to a topic.
    pub dead_letter_topics: bool,
}

/// Where a database is.
pub struct Place {
    /// `default` is the one of `[database]`.
    pub name: String,
    /// Its address, with its password.
    pub url: String,
    /// The schema that is set.
    pub schema: Option<String>,
    /// Which setting names it.
    pub setting: String,
}

impl Settings {
    /// Reads the file and the environment; `servers` counts before both.
    pub fn read(servers: Option<&str>) -> Self {
        const WHAT: &str = "settings";
        let inspected = settings::Settings::inspect(servers);
        let mut findings: Vec<_> =
            inspected.mistakes.iter().map(|mistake| Finding::problem(WHAT, mistake)).collect();
        findings.extend(inspected.remarks.iter().map(|remark| Finding::warning(WHAT, remark)));
        if findings.is_empty() {
            findings.push(Finding::ok(WHAT, "a service can start with them"));
        }
        let listeners = &inspected.settings.listeners;
        let dead_letter_topics = listeners.values().any(|over| over.dead_letter == Some(DeadLetter::Topic));
        let places = inspected.settings.databases.into_iter().filter_map(|(name, database)| {
            let Given::As(Address { url, kind }) = database.address else { return None };
            let setting = match name.as_str() {
                DEFAULT => "`[database] url`".to_owned(),
                name => format!("`[databases.{name}] url`"),
            };
            let schema = database.schema.filter(|_| kind != DatabaseKind::Sqlite);
            Some(Place { name, url: url.expose().to_owned(), schema, setting })
        });
        Settings { findings, databases: places.collect(), dead_letter_topics }
    }
}

impl std::fmt::Debug for Place {
    /// Without the address, which has a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place")
            .field("name", &self.name)
            .field("schema", &self.schema)
            .field("setting", &self.setting)
            .finish_non_exhaustive()
    }
}
