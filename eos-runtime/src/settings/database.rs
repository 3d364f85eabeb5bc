//! `[database]`, or `[databases.<name>]` where there are several.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Given;
use super::reader::Section;
use super::secret::DatabaseUrl;
use super::setting::Choice;

/// The name of the database that `[database]` configures.
pub(crate) const DEFAULT: &str = "default";

/// One database's settings.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    /// Absent where the application gives a pool.
    pub(crate) address: Given<Address>,
    /// `None` is the database's usual place: `public` on PostgreSQL, the address's own database on MySQL.
    pub(crate) schema: Option<String>,
    pub(crate) migrate: Migrate,
    pub(crate) max_connections: u32,
    /// How often an idle owner compares what it holds with the position's row.
    pub(crate) verify_every: Duration,
}

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) kind: DatabaseKind,
    pub(crate) url: DatabaseUrl,
}

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DatabaseKind {
    Postgres,
    /// MySQL or MariaDB.
    MySql,
    Sqlite,
}

/// What happens at start to tables that are missing or old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Migrate {
    /// They are made and brought up to date.
    Auto,
    /// Start-up fails and says what to apply.
    Check,
}

impl Choice for Migrate {
    const WORDS: &'static [(&'static str, Self)] = &[("auto", Migrate::Auto), ("check", Migrate::Check)];
}

impl fmt::Display for DatabaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DatabaseKind::Postgres => "PostgreSQL",
            DatabaseKind::MySql => "MySQL",
            DatabaseKind::Sqlite => "SQLite",
        })
    }
}

impl Default for Database {
    fn default() -> Self {
        Database {
            address: Given::Absent,
            schema: None,
            migrate: Migrate::Auto,
            max_connections: 16,
            verify_every: Duration::from_secs(3),
        }
    }
}

/// All of them by name.
pub(super) fn read(root: &mut Section<'_>) -> BTreeMap<String, Database> {
    let mut databases = BTreeMap::new();
    if root.has("database") {
        databases.insert(DEFAULT.to_owned(), Database::read(root.section("database")));
    } else {
        // So that the key is a known one.
        root.section("database").finish();
    }
    let mut named = root.section("databases");
    for (name, section) in named.named_sections() {
        if databases.contains_key(name) {
            root.refuse(
                "database",
                "`[databases.default]` is there too, which means the same; keep one of them",
            );
        }
        databases.insert(name.to_owned(), Database::read(section));
    }
    databases
}

impl Database {
    fn read(mut section: Section<'_>) -> Self {
        let default = Database::default();
        let address = address(&mut section);
        let database = Database {
            schema: schema(&mut section, &address),
            address,
            migrate: section.choice("migrate", default.migrate),
            // Two are kept for takes and for looking after positions, so fewer would never get to an attempt.
            max_connections: section.within("max_connections", default.max_connections, 3..=10_000),
            verify_every: section.within(
                "verify_every",
                default.verify_every,
                Duration::from_millis(100)..=Duration::from_secs(600),
            ),
        };
        section.finish();
        database
    }
}

fn address(section: &mut Section<'_>) -> Given<Address> {
    let written = section.has("url");
    let Some(url) = section.optional::<String>("url") else {
        return if written { Given::Mistaken } else { Given::Absent };
    };
    match kind_of(url.trim()) {
        Ok(kind) => Given::As(Address { kind, url: DatabaseUrl::new(url.trim()) }),
        Err(mistake) => {
            section.refuse("url", &mistake);
            Given::Mistaken
        }
    }
}

/// What the address's scheme says. The message holds nothing of an address beyond its scheme.
fn kind_of(url: &str) -> Result<DatabaseKind, String> {
    const KNOWN: &str = "`postgres://`, `mysql://`, `mariadb://` or `sqlite://`";
    let scheme = match url.split_once("://") {
        Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => scheme,
        _ if url.starts_with("sqlite:") => "sqlite",
        _ => return Err(format!("an address begins with {KNOWN}")),
    };
    let (kind, feature, built) = match scheme {
        "postgres" | "postgresql" => (DatabaseKind::Postgres, "postgres", cfg!(feature = "postgres")),
        "mysql" | "mariadb" => (DatabaseKind::MySql, "mysql", cfg!(feature = "mysql")),
        "sqlite" => (DatabaseKind::Sqlite, "sqlite", cfg!(feature = "sqlite")),
        other => {
            return Err(format!(
                "`{other}://` is no database that eos knows; an address begins with {KNOWN}"
            ));
        }
    };
    if !built {
        return Err(format!(
            "this binary was built without {kind}; add the feature `{feature}` to `eos-runtime` in Cargo.toml"
        ));
    }
    Ok(kind)
}

fn schema(section: &mut Section<'_>, address: &Given<Address>) -> Option<String> {
    let schema = section.optional::<String>("schema").filter(|schema| !schema.is_empty())?;
    if schema.len() > 63 || schema.contains(char::is_control) {
        section.refuse("schema", "a schema's name has at most 63 bytes and no control characters");
    }
    if matches!(address, Given::As(Address { kind: DatabaseKind::Sqlite, .. })) {
        section.refuse("schema", "SQLite has no schemas; remove it");
    }
    Some(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_refused_without_being_quoted() {
        for url in ["me:hush@db/shop", "hush", "hu sh://x"] {
            let mistake = kind_of(url).expect_err("no address");
            assert!(mistake.contains("postgres://") && !mistake.contains("hu"), "{mistake}");
        }
        assert!(kind_of("oracle://db").expect_err("unknown").starts_with("`oracle://`"));
    }

    #[test]
    #[cfg(not(feature = "mysql"))]
    fn an_address_without_its_cargo_feature_names_the_feature() {
        assert!(kind_of("mariadb://db/shop").expect_err("not built").contains("feature `mysql`"));
    }
}
