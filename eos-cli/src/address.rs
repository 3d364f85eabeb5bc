//! Where the database is, from the command line, the environment or the settings file; its password is shown nowhere.
//!
//! The file is read here for two keys alone, so that a mistake elsewhere in it does not stand in anybody's way at night.

use std::env;
use std::fmt;
use std::io;
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail, ensure};
use url::Url;

use crate::arguments::Place;

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    /// MySQL or MariaDB.
    MySql,
    Sqlite,
}

/// Where the tables of eos are.
pub(crate) struct Address {
    pub(crate) kind: Kind,
    /// With its password.
    url: String,
    /// Empty where the database has none, and on MySQL where the address's own database is meant.
    pub(crate) schema: String,
    /// What gave the address: "`EOS_DATABASE_URL`".
    pub(crate) from: String,
}

impl Address {
    /// The first that says one.
    pub(crate) fn find(place: &Place) -> anyhow::Result<Self> {
        let mut file = Settings::default();
        let (url, from) = match given(place.database_url.as_deref(), "--database-url", &["EOS_DATABASE_URL"])?
        {
            Some(given) => given,
            None => {
                file = Settings::read()?;
                let by_file = file.url.take().map(|url| (url, format!("`[database] url` in {}", file.name)));
                // Last, as for services: other tools set it too.
                match by_file {
                    Some(by_file) => by_file,
                    None => given(None, "", &["DATABASE_URL"])?.ok_or_else(|| {
                        anyhow!(
                            "no database is named; give `--database-url`, set `EOS_DATABASE_URL` or `DATABASE_URL`, or write \
                             `url` under `[database]` in {}",
                            file.name
                        )
                    })?,
                }
            }
        };
        let schema = match given(place.schema.as_deref(), "--schema", &["EOS__DATABASE__SCHEMA"])? {
            Some((schema, from)) => Some((schema, from)),
            None => {
                if file.name.is_empty() {
                    file = Settings::read()?;
                }
                file.schema.map(|schema| (schema, format!("`[database] schema` in {}", file.name)))
            }
        };
        Address::at(url, schema, from)
    }

    /// This one; each with what said it.
    pub(crate) fn at(url: String, schema: Option<(String, String)>, from: String) -> anyhow::Result<Self> {
        let kind = Kind::of(&url, &from)?;
        let schema = match (kind, schema) {
            (Kind::Sqlite, Some((_, from))) => bail!("SQLite has no schemas; remove {from}"),
            (Kind::MySql, None) if Url::parse(&url).is_ok_and(|url| url.path().len() < 2) => bail!(
                "the address in {from} names no database; put its name behind the host, as `mysql://user@host/database`, or \
                 give `--schema`"
            ),
            (Kind::Sqlite | Kind::MySql, None) => String::new(),
            (Kind::Postgres, None) => "public".to_owned(),
            (Kind::Postgres | Kind::MySql, Some((schema, _))) => schema,
        };
        Ok(Address { kind, url, schema, from })
    }

    /// With its password, for whoever connects.
    pub(crate) fn expose(&self) -> &str {
        &self.url
    }

    /// What a driver or a server said of it, with the password taken out, should it be in there.
    pub(crate) fn hush(&self, text: &str) -> String {
        let Ok(url) = Url::parse(&self.url) else { return text.to_owned() };
        let in_login = url.password().map(str::to_owned);
        let in_query =
            url.query_pairs().filter(|(name, _)| name == "password").map(|(_, value)| value.into_owned());
        in_login
            .into_iter()
            .chain(in_query)
            .filter(|password| !password.is_empty() && password != url.username())
            .fold(text.to_owned(), |text, password| text.replace(&password, "***"))
    }
}

/// What an argument or the first of these variables says, and which it was. An empty variable is none.
fn given(argument: Option<&str>, name: &str, variables: &[&str]) -> anyhow::Result<Option<(String, String)>> {
    if let Some(value) = argument {
        ensure!(!value.trim().is_empty(), "`{name}` is empty");
        return Ok(Some((value.trim().to_owned(), format!("`{name}`"))));
    }
    for variable in variables {
        let Some(value) = env::var_os(variable).filter(|value| !value.is_empty()) else { continue };
        let value = value.into_string().map_err(|_| anyhow!("`{variable}` is not UTF-8 text"))?;
        return Ok(Some((value.trim().to_owned(), format!("`{variable}`"))));
    }
    Ok(None)
}

/// What the settings file says.
#[derive(Default)]
struct Settings {
    /// As a sentence names it.
    name: String,
    url: Option<String>,
    schema: Option<String>,
}

impl Settings {
    fn read() -> anyhow::Result<Self> {
        let named = env::var_os("EOS_CONFIG").filter(|path| !path.is_empty());
        let is_named = named.is_some();
        let path = named.map_or_else(|| PathBuf::from("eos.toml"), PathBuf::from);
        let name = format!("`{}`", path.display());
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => {
                return Ok(Settings { name, ..Settings::default() });
            }
            Err(error) => {
                let by = if is_named { ", which `EOS_CONFIG` names," } else { "" };
                return Err(error).with_context(|| format!("the settings file {name}{by} cannot be read"));
            }
        };
        let root: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            // Its Display quotes the line, which may hold a password.
            let before = error.span().map_or(0, |span| span.start).min(text.len());
            let line = 1 + text.as_bytes()[..before].iter().filter(|&&byte| byte == b'\n').count();
            anyhow!("{name}, line {line}: {}", error.message().replace('\n', ", "))
        })?;
        // `[databases.default]` means the same.
        let section = root.get("database").or_else(|| root.get("databases")?.get("default"));
        let text = |key: &str| match section.and_then(|section| section.get(key)) {
            None => Ok(None),
            Some(toml::Value::String(value)) => {
                Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty()))
            }
            Some(other) => {
                Err(anyhow!("`[database] {key}` in {name} is to be text, and is a {}", other.type_str()))
            }
        };
        Ok(Settings { url: text("url")?, schema: text("schema")?, name })
    }
}

impl Kind {
    /// What the scheme says. The messages hold nothing of an address beyond its scheme.
    fn of(url: &str, from: &str) -> anyhow::Result<Self> {
        const KNOWN: &str = "`postgres://`, `mysql://`, `mariadb://` or `sqlite://`";
        if url.starts_with("sqlite:") {
            ensure!(
                !url.contains(":memory:") && !url.contains("mode=memory"),
                "a SQLite database in memory, as {from} names one, is each process's own; name a file"
            );
            return Ok(Kind::Sqlite);
        }
        let kind = match url.split_once("://") {
            Some(("postgres" | "postgresql", _)) => Kind::Postgres,
            Some(("mysql" | "mariadb", _)) => Kind::MySql,
            Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
                bail!("`{scheme}://` in {from} is no database that eos knows; an address begins with {KNOWN}")
            }
            Some(_) | None => bail!("what {from} says is no address of a database; it begins with {KNOWN}"),
        };
        // With a slash in a password that is not escaped, what is behind it would be taken for something that may be shown.
        let behind_host =
            url.split_once("://").and_then(|(_, rest)| rest.find(['/', '?', '#']).map(|at| &rest[at..]));
        ensure!(
            Url::parse(url).is_ok() && !behind_host.is_some_and(|rest| rest.contains('@')),
            "the address in {from} cannot be read; it looks like `postgres://user:password@host:5432/database`, and in a \
             password `/`, `?`, `#`, `@` and `%` are written as %2F, %3F, %23, %40 and %25"
        );
        Ok(kind)
    }

    /// As the runtime's functions name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Postgres => "postgres",
            Kind::MySql => "mysql",
            Kind::Sqlite => "sqlite",
        }
    }
}

impl fmt::Display for Address {
    /// Without the password, and without the query, which can carry one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.url.split(['?', '#']).next().unwrap_or_default();
        let schema = match (self.kind, self.schema.as_str()) {
            (Kind::Sqlite, _) | (_, "") | (Kind::Postgres, "public") => String::new(),
            (Kind::Postgres | Kind::MySql, schema) => format!(", schema `{schema}`"),
        };
        match (self.kind, shown.split_once("://")) {
            (Kind::Postgres | Kind::MySql, Some((scheme, rest))) => {
                let (login, host) = rest.rsplit_once('@').unwrap_or(("", rest));
                let user = login.split(':').next().unwrap_or_default();
                let at = if login.is_empty() { "" } else { "@" };
                write!(f, "{scheme}://{user}{at}{host}{schema}")
            }
            (Kind::Postgres | Kind::MySql | Kind::Sqlite, _) => f.write_str(shown),
        }
    }
}

/// A complaint about what was typed, without the logins of addresses that it quotes: one may stand in a wrong place.
pub(crate) fn without_logins(complaint: &str, typed: impl IntoIterator<Item = String>) -> String {
    typed.into_iter().fold(complaint.to_owned(), |complaint, word| {
        let Some((login, host)) = word.rsplit_once('@') else { return complaint };
        let scheme = login.find("://").map_or("", |at| &login[..at + 3]);
        complaint.replace(&word, &format!("{scheme}***@{host}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str, schema: &str) -> String {
        let kind = Kind::of(url, "`--database-url`").expect("an address");
        Address { kind, url: url.to_owned(), schema: schema.to_owned(), from: String::new() }.to_string()
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        assert_eq!(
            shown("postgres://me:hush@db:5432/shop?password=hush", "eos"),
            "postgres://me@db:5432/shop, schema `eos`"
        );
        assert_eq!(shown("mysql://db/shop", ""), "mysql://db/shop");
        assert_eq!(shown("sqlite:orders.db?mode=rwc", ""), "sqlite:orders.db");
    }

    #[test]
    fn a_password_that_is_not_escaped_is_refused_without_being_quoted() {
        for url in [
            "postgres://me:hu/sh@db/shop",
            "mysql://me:1/sh@db/shop",
            "postgres://me:1?sh@db/shop",
            "me:hush@db",
        ] {
            let refused = Kind::of(url, "`--database-url`").expect_err("it cannot be read").to_string();
            assert!(!refused.contains("hu") && !refused.contains("sh@"), "{refused}");
        }
    }

    #[test]
    fn an_address_in_a_wrong_place_is_not_quoted_with_its_login() {
        let typed = ["postgres://me:hu sh'@db/shop", "me:hush@db", "list"].map(str::to_owned);
        let complaint = format!("no '{}' and no '{}' here, list", typed[0], typed[1]);
        assert_eq!(
            without_logins(&complaint, typed),
            "no 'postgres://***@db/shop' and no '***@db' here, list"
        );
    }

    #[test]
    fn a_password_is_taken_out_of_what_others_say() {
        let address = Address {
            kind: Kind::Postgres,
            url: "postgres://me:hush@db/shop?password=hush2".to_owned(),
            schema: String::new(),
            from: String::new(),
        };
        assert_eq!(address.hush("neither hush2 nor hush"), "neither ***2 nor ***");
    }
}
