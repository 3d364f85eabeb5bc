//! Which database a listener writes to, and how each of them is reached.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::target::Target;
use crate::listener::resolved::DatabaseRef;
use crate::outbox::Sounding;
use crate::settings::{DEFAULT, Database, DatabaseKind, Found, Given, Migrate, either, nearest};

/// A database that some listener needs.
#[derive(Debug, Clone)]
pub(crate) struct PlannedDatabase {
    pub(crate) name: String,
    pub(crate) target: Target,
    /// Whom to blame for a wrong address: "`[database] url` (`EOS_DATABASE_URL`)".
    pub(crate) setting: String,
    /// Empty where the address decides (MySQL) or there is none (SQLite).
    pub(crate) schema: String,
    pub(crate) migrate: Migrate,
    pub(crate) max_connections: u32,
    /// Whether a listener claims ids in it, on a connection beside those of attempts.
    pub(crate) has_claims: bool,
    pub(crate) verify_every: Duration,
    /// What is known of its outbox while it runs.
    pub(crate) sounding: Arc<Sounding>,
}

impl PlannedDatabase {
    /// How many of its connections attempts share, with what they need besides: a claim of an id does not wait for them to end.
    pub(super) fn for_attempts(&self) -> u32 {
        self.max_connections.saturating_sub(u32::from(self.has_claims))
    }
}

/// What a listener wants a database for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asks {
    Transactional,
    Idempotent,
}

/// Finds databases for listeners, and lists each that was asked for once.
pub(super) struct Databases<'a> {
    settings: &'a BTreeMap<String, Database>,
    pools: &'a BTreeMap<String, Target>,
    found: &'a Found,
    needed: Vec<PlannedDatabase>,
}

impl<'a> Databases<'a> {
    pub(super) fn new(
        settings: &'a BTreeMap<String, Database>,
        pools: &'a BTreeMap<String, Target>,
        found: &'a Found,
    ) -> Self {
        Databases { settings, pools, found, needed: Vec::new() }
    }

    /// The database that `who` asked for by name, or the one there is.
    pub(super) fn find(&mut self, who: &str, asks: Asks, name: Option<&str>) -> Option<DatabaseRef> {
        let name = match name {
            Some(name) => name,
            None => self.only_one(who, asks)?,
        };
        if !self.names().contains(&name) {
            let near = nearest(name, self.names());
            self.found.add(format!(
                "listener `{who}`: there is no database `{name}`; set `[databases.{name}] url`, or give a pool by \
                 `app().database_named(\"{name}\", &pool)`{near}"
            ));
            return None;
        }
        self.plan(name)
    }

    /// A listener claims ids in it.
    pub(super) fn has_claims(&mut self, database: DatabaseRef) {
        self.needed[database.0].has_claims = true;
    }

    /// One that the application gives, whether or not a listener asks for it: its services may publish.
    pub(super) fn also(&mut self, name: &str) {
        self.plan(name);
    }

    /// Every database that has an address or a pool.
    pub(super) fn all(&mut self) {
        for name in self.names() {
            self.plan(name);
        }
    }

    pub(super) fn kind(&self, database: DatabaseRef) -> DatabaseKind {
        self.needed[database.0].target.kind()
    }

    pub(super) fn name(&self, database: DatabaseRef) -> &str {
        &self.needed[database.0].name
    }

    pub(super) fn into_needed(self) -> Vec<PlannedDatabase> {
        self.needed
    }

    /// Every database that has an address or a pool.
    fn names(&self) -> Vec<&'a str> {
        let with_address = self
            .settings
            .iter()
            .filter(|(_, database)| database.address != Given::Absent)
            .map(|(name, _)| name.as_str());
        let mut names: Vec<_> = with_address.chain(self.pools.keys().map(String::as_str)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn only_one(&self, who: &str, asks: Asks) -> Option<&'a str> {
        let (is, example) = match asks {
            Asks::Transactional => ("transactional", "transactional(database = \"…\")"),
            Asks::Idempotent => ("`idempotent(database)`", "idempotent(database = \"…\")"),
        };
        match self.names().as_slice() {
            [only] => Some(only),
            names if names.contains(&DEFAULT) => Some(DEFAULT),
            [] => {
                self.found.add(format!(
                    "listener `{who}` is {is}, and there is no database; set `[database] url` \
                     (`EOS_DATABASE_URL`), or give a pool by `app().database(&pool)`"
                ));
                None
            }
            names => {
                self.found.add(format!(
                    "listener `{who}` does not say which database: say `{example}` with {}",
                    either(names.iter().copied())
                ));
                None
            }
        }
    }

    fn plan(&mut self, name: &str) -> Option<DatabaseRef> {
        if let Some(known) = self.needed.iter().position(|database| database.name == name) {
            return Some(DatabaseRef(known));
        }
        let settings = self.settings.get(name).cloned().unwrap_or_default();
        let (target, setting) = self.reach(name, &settings)?;
        let schema = settings.schema.unwrap_or_else(|| match target.kind() {
            DatabaseKind::Postgres => "public".to_owned(),
            DatabaseKind::MySql | DatabaseKind::Sqlite => String::new(),
        });
        self.needed.push(PlannedDatabase {
            name: name.to_owned(),
            target,
            setting,
            schema,
            migrate: settings.migrate,
            max_connections: settings.max_connections,
            has_claims: false,
            verify_every: settings.verify_every,
            sounding: Arc::default(),
        });
        Some(DatabaseRef(self.needed.len() - 1))
    }

    /// The application's pool counts before the settings' address: `DATABASE_URL` is often there for other tools.
    fn reach(&self, name: &str, settings: &Database) -> Option<(Target, String)> {
        let default = name == DEFAULT;
        if let Some(target) = self.pools.get(name) {
            let call = if default {
                "app().database(…)".into()
            } else {
                format!("app().database_named(\"{name}\", …)")
            };
            return Some((target.clone(), format!("the pool given by `{call}`")));
        }
        let setting = match default {
            true => "`[database] url` (`EOS_DATABASE_URL`)".to_owned(),
            false => format!("`[databases.{name}] url`"),
        };
        match &settings.address {
            Given::As(address) => match Target::parse(address) {
                Ok(target) => Some((target, setting)),
                Err(mistake) => {
                    self.found.add(format!("{setting}: {mistake}"));
                    None
                }
            },
            Given::Absent | Given::Mistaken => None,
        }
    }
}
