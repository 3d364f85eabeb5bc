//! A database of a test's own, the folder in which the tool runs, and what the tool said.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, MySqlConnection, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    MariaDb,
    Sqlite,
}

/// Where a test works.
#[derive(Debug, Clone)]
pub(crate) struct Place(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    url: String,
    folder: TempDir,
}

/// Runs a test in a place of its own, which goes away however it ends.
pub(crate) async fn with<F>(kind: Kind, test: impl FnOnce(Place) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("eos_cli_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let folder = tempfile::tempdir().expect("a folder");
    let server = match kind {
        Kind::Postgres => Some(variable("EOS_TEST_POSTGRES")),
        Kind::MariaDb => Some(variable("EOS_TEST_MYSQL")),
        Kind::Sqlite => None,
    };
    let url = match (&server, kind) {
        (None, _) => format!("sqlite://{}?mode=rwc", folder.path().join("orders.db").display()),
        (Some(server), Kind::Postgres) => {
            let options: PgConnectOptions = server.parse().expect("an address of PostgreSQL");
            options.database(&name).to_url_lossy().to_string()
        }
        (Some(server), Kind::MariaDb | Kind::Sqlite) => {
            let options: MySqlConnectOptions = server.parse().expect("an address of MariaDB");
            options.database(&name).to_url_lossy().to_string()
        }
    };
    if let Some(server) = &server {
        execute(kind, server, &format!("create database {name}")).await;
    }
    let place = Place(Arc::new(Inner { kind, url, folder }));
    let outcome = tokio::spawn(test(place)).await;
    if let Some(server) = &server {
        execute(kind, server, &format!("drop database {name}")).await;
    }
    if let Err(failed) = outcome {
        std::panic::resume_unwind(failed.into_panic());
    }
}

/// The value of a variable that names a server; fails the test where there is none.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("`{name}` is not set: this test needs real servers; run `scripts/test`, or `scripts/services up` and `export $(scripts/services env)`")
    })
}

async fn execute(kind: Kind, url: &str, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    let done = async {
        match kind {
            Kind::Postgres => {
                let mut connection = PgConnection::connect(url).await?;
                sqlx::raw_sql(sql).execute(&mut connection).await?;
                connection.close().await
            }
            Kind::MariaDb => {
                let mut connection = MySqlConnection::connect(url).await?;
                sqlx::raw_sql(sql).execute(&mut connection).await?;
                connection.close().await
            }
            Kind::Sqlite => {
                let mut connection = SqliteConnection::connect(url).await?;
                sqlx::raw_sql(sql).execute(&mut connection).await?;
                connection.close().await
            }
        }
    };
    done.await.expect("the statements work");
}

impl Place {
    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.folder.path()
    }

    /// Runs statements by hand.
    pub(crate) async fn execute(&self, sql: &str) {
        execute(self.0.kind, &self.0.url, sql).await;
    }

    /// A column's name that MariaDB wants quoted.
    pub(crate) fn quoted(&self, column: &str) -> String {
        match self.0.kind {
            Kind::MariaDb => format!("`{column}`"),
            Kind::Postgres | Kind::Sqlite => column.to_owned(),
        }
    }

    /// Bytes, in SQL.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self.0.kind {
            Kind::Postgres => format!("'\\x{hex}'::bytea"),
            Kind::MariaDb | Kind::Sqlite => format!("x'{hex}'"),
        }
    }

    /// The tool, with this place's database.
    pub(crate) async fn eos(&self, arguments: &[&str]) -> Said {
        self.eos_reading(arguments, b"").await
    }

    /// The same, with something on its standard input.
    pub(crate) async fn eos_reading(&self, arguments: &[&str], input: &[u8]) -> Said {
        run(self.folder(), arguments, &[("EOS_DATABASE_URL", &self.0.url)], input).await
    }
}

/// The tool in a folder, with these variables alone.
pub(crate) async fn eos(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Said {
    run(folder, arguments, variables, b"").await
}

async fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)], input: &[u8]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eos"));
    command.args(arguments).current_dir(folder).env_clear().envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().expect("the tool starts");
    let mut stdin = running.stdin.take().expect("a pipe");
    // A tool that reads nothing may be gone before it is all written.
    stdin.write_all(input).await.ok();
    drop(stdin);
    let output = running.wait_with_output().await.expect("the tool ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let said = Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
    assert!(!format!("{said:?}").contains("hush"), "a password is printed: {said:?}");
    said
}

/// What the tool said, and how it ended. No test's password, which is `hush`, is in it.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// It did what was asked; what it printed.
    pub(crate) fn succeeds(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// It exited with this code, and said why in one go; what it said.
    pub(crate) fn fails_with(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(!self.err.trim().is_empty() && !self.err.contains("panicked"), "{self:?}");
        self.err
    }

    /// It did what was asked, in JSON.
    pub(crate) fn json(self) -> Value {
        let out = self.succeeds();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }
}
