//! The table that orders are written to: in a SQLite file, a schema of PostgreSQL or a database of MySQL that is made
//! for this run, so that nothing of the user's is touched. The tables of eos stand beside it.

use std::fmt;
use std::path::{PathBuf, absolute};

use anyhow::{Context, bail, ensure};
use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Connection};
use url::Url;

/// No unique key: an order that is applied a second time will show.
const ORDERS: &str = "create table orders \
    (order_no bigint not null, customer varchar(40) not null, amount_cents bigint not null)";

/// A database of our own.
pub(crate) struct Database {
    home: Home,
    /// As services are given it, with its password.
    url: String,
    pool: AnyPool,
}

/// Where it is.
pub(crate) enum Home {
    Sqlite(PathBuf),
    /// A schema, and the address of its server.
    Postgres(String, Url),
    /// A database, and the address of its server.
    MySql(String, Url),
}

impl Database {
    /// Makes it on the server of `url`, or in a temporary folder, which stays.
    pub(crate) async fn create(url: Option<&str>, name: &str) -> anyhow::Result<Self> {
        install_default_drivers();
        let home = match url {
            None => Home::Sqlite(
                tempfile::Builder::new().prefix("eos-quickstart-").tempdir()?.keep().join("orders.db"),
            ),
            Some(url) => Home::on(url, name)?,
        };
        let url = home.prepare().await?;
        let pool = AnyPool::connect(&url).await?;
        sqlx::query(ORDERS).execute(&pool).await?;
        Ok(Database { home, url, pool })
    }

    /// What a service has to know of it.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![("EOS_DATABASE_URL", self.url.clone())];
        if let Home::Postgres(schema, _) = &self.home {
            settings.push(("EOS__DATABASE__SCHEMA", schema.clone()));
        }
        settings
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// The sum of what a query finds, which is a column of numbers.
    pub(crate) async fn sum(&self, query: &'static str) -> anyhow::Result<u64> {
        let numbers: Vec<i64> = sqlx::query_scalar(query).fetch_all(&self.pool).await?;
        Ok(numbers.iter().sum::<i64>().try_into()?)
    }

    /// Removes it from its server; a SQLite file stays, to look at.
    pub(crate) async fn remove(&self) -> anyhow::Result<()> {
        if let Some(removal) = self.home.removal() {
            sqlx::query(AssertSqlSafe(removal)).execute(&self.pool).await?;
        }
        self.pool.close().await;
        Ok(())
    }
}

impl Home {
    fn on(url: &str, name: &str) -> anyhow::Result<Self> {
        let (scheme, rest) = url.split_once(':').unwrap_or_default();
        let server = || Url::parse(url).context("`--database-url` is no address");
        Ok(match scheme {
            "sqlite" => Home::Sqlite(absolute(rest.trim_start_matches("//"))?),
            "postgres" | "postgresql" => Home::Postgres(name.to_owned(), server()?),
            "mysql" | "mariadb" => Home::MySql(name.to_owned(), server()?),
            _ => bail!("`--database-url` begins with postgres://, mysql:// or sqlite://"),
        })
    }

    /// The statement that removes it from its server.
    pub(crate) fn removal(&self) -> Option<String> {
        match self {
            Home::Sqlite(_) => None,
            Home::Postgres(schema, _) => Some(format!("drop schema {schema} cascade")),
            Home::MySql(database, _) => Some(format!("drop database {database}")),
        }
    }

    /// Makes it, and returns its address.
    async fn prepare(&self) -> anyhow::Result<String> {
        match self {
            Home::Sqlite(file) => {
                ensure!(!file.exists(), "`{}` exists already; name a new file", file.display());
                Ok(format!("sqlite://{}?mode=rwc", file.display()))
            }
            Home::Postgres(schema, server) => {
                run_on(server, format!("create schema {schema}")).await?;
                let mut url = server.clone();
                url.query_pairs_mut().append_pair("options", &format!("-c search_path={schema}"));
                Ok(url.into())
            }
            Home::MySql(database, server) => {
                run_on(server, format!("create database {database}")).await?;
                let mut url = server.clone();
                url.set_path(database);
                Ok(url.into())
            }
        }
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = |server: &Url| server.host_str().unwrap_or("localhost").to_owned();
        match self {
            Home::Sqlite(file) => write!(f, "{}", file.display()),
            Home::Postgres(schema, server) => {
                write!(f, "schema `{schema}` of PostgreSQL on {}", host(server))
            }
            Home::MySql(database, server) => write!(f, "database `{database}` of MySQL on {}", host(server)),
        }
    }
}

async fn run_on(server: &Url, statement: String) -> anyhow::Result<()> {
    let mut connection =
        AnyConnection::connect(server.as_str()).await.context("the database cannot be reached")?;
    let outcome = sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await;
    outcome.context("the demonstration makes a place of its own in the database, and may not")?;
    connection.close().await?;
    Ok(())
}
