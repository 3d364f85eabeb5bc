//! A database of a test's own: made empty, dropped at the end.

use std::path::Path;

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, MySqlPool, PgPool, SqlitePool};

use crate::servers::servers;

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    MariaDb,
    /// A SQLite file.
    Sqlite,
}

/// A row that a handler wrote. Its table has no unique key, so that a second application shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Which order.
    pub order_id: String,
    /// Where its record lies.
    pub part: i32,
    /// Where its record lies.
    pub off: i64,
    /// Which process wrote it.
    pub pid: i64,
}

/// A row of `eos_dead_letter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Where the record lies.
    pub partition: i32,
    /// Where the record lies.
    pub offset: i64,
    /// How often it was tried.
    pub attempts: i32,
    /// In a word.
    pub reason: String,
    /// In its chain of causes.
    pub error: String,
}

/// A partition in `eos_position`: its row, or the lowest of its slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Which partition.
    pub partition: i32,
    /// How often it was taken.
    pub epoch: i64,
    /// The offset to go on with.
    pub next_offset: i64,
    /// The last record that counts as done.
    pub last_offset: Option<i64>,
}

/// A database, with connections of the test's own that do not go through any proxy.
#[derive(Debug, Clone)]
pub struct Database {
    pool: Pool,
    url: String,
    server_url: String,
    name: String,
}

/// Connections to whichever database it is.
#[derive(Debug, Clone)]
pub(crate) enum Pool {
    Postgres(PgPool),
    MySql(MySqlPool),
    Sqlite(SqlitePool),
}

/// The same words to whichever database it is: sqlx has no type for "any of these" that knows bytes.
macro_rules! on_pool {
    ($database:expr, $pool:ident => $work:expr) => {
        match &$database.pool {
            Pool::Postgres($pool) => $work,
            Pool::MySql($pool) => $work,
            Pool::Sqlite($pool) => $work,
        }
    };
}

/// The same for what is done elsewhere, with whichever pool it is.
macro_rules! on_database {
    ($database:expr, $pool:ident => $work:expr) => {
        match $database.pool() {
            crate::database::Pool::Postgres($pool) => $work,
            crate::database::Pool::MySql($pool) => $work,
            crate::database::Pool::Sqlite($pool) => $work,
        }
    };
}
pub(crate) use on_database;

impl Database {
    /// The pool, whichever it is.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Makes one on the test's server, or as a file in `folder`.
    pub async fn create(kind: Kind, name: &str, folder: &Path) -> Self {
        match kind {
            Kind::Postgres => Self::create_at(kind, &servers().postgres, name).await,
            Kind::MariaDb => Self::create_at(kind, &servers().mysql, name).await,
            Kind::Sqlite => {
                let url = format!("sqlite://{}/orders.db?mode=rwc", folder.display());
                Self::create_at(kind, &url, name).await
            }
        }
    }

    /// Makes one on the server at this URL (a SQLite URL is the database).
    pub async fn create_at(kind: Kind, url: &str, name: &str) -> Self {
        let mut own = url.to_owned();
        let pool = match kind {
            Kind::Postgres => {
                let server: PgConnectOptions = url.parse().expect("a PostgreSQL URL");
                on_server(url, format!("create database {name}")).await.expect("a database can be made");
                let options = server.database(name);
                own = options.to_url_lossy().to_string();
                Pool::Postgres(PgPoolOptions::new().max_connections(3).connect_lazy_with(options))
            }
            Kind::MariaDb => {
                let server: MySqlConnectOptions = url.parse().expect("a MySQL URL");
                on_server(url, format!("create database {name}")).await.expect("a database can be made");
                let options = server.database(name);
                own = options.to_url_lossy().to_string();
                Pool::MySql(MySqlPoolOptions::new().max_connections(3).connect_lazy_with(options))
            }
            Kind::Sqlite => {
                let pool = SqlitePoolOptions::new().max_connections(1).connect(url).await;
                Pool::Sqlite(pool.expect("the file can be made"))
            }
        };
        let database = Database { pool, url: own, server_url: url.to_owned(), name: name.to_owned() };
        let sequence = match kind {
            Kind::Postgres => "bigserial",
            Kind::MariaDb => "bigint not null auto_increment primary key",
            Kind::Sqlite => "integer primary key autoincrement",
        };
        let table = format!(
            "create table applied (order_id varchar(40) not null, part integer not null, off bigint not null, \
             pid bigint not null, seq {sequence})"
        );
        database.execute(&table).await;
        database
    }

    /// Its name on its server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How a service reaches it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same through a proxy on this port, which has to understand what it hears.
    pub fn url_at_port(&self, port: u16) -> String {
        match &self.pool {
            Pool::Postgres(pool) => (*pool.connect_options()).clone().port(port).to_url_lossy().to_string(),
            Pool::MySql(pool) => {
                let options = (*pool.connect_options()).clone().ssl_mode(MySqlSslMode::Disabled);
                options.port(port).to_url_lossy().to_string()
            }
            Pool::Sqlite(_) => panic!("SQLite has no port"),
        }
    }

    /// `host:port` of its server.
    pub fn server(&self) -> String {
        match &self.pool {
            Pool::Postgres(pool) => {
                let options = pool.connect_options();
                format!("{}:{}", options.get_host(), options.get_port())
            }
            Pool::MySql(pool) => {
                let options = pool.connect_options();
                format!("{}:{}", options.get_host(), options.get_port())
            }
            Pool::Sqlite(_) => panic!("SQLite has no server"),
        }
    }

    /// User and password at its server, as whoever gave the URL has said.
    pub fn login(&self) -> (String, String) {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let login = rest.split_once('@').map_or("", |(login, _)| login);
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        (user.to_owned(), password.to_owned())
    }

    /// Runs a statement.
    pub async fn execute(&self, sql: &str) {
        self.try_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Runs a statement that may fail.
    pub async fn try_execute(&self, sql: &str) -> sqlx::Result<u64> {
        let sql = AssertSqlSafe(sql.to_owned());
        Ok(on_pool!(self, pool => sqlx::raw_sql(sql).execute(pool).await?.rows_affected()))
    }

    /// One number.
    pub async fn number(&self, sql: &str) -> sqlx::Result<i64> {
        let sql = AssertSqlSafe(sql.to_owned());
        on_pool!(self, pool => sqlx::query_scalar(sql).fetch_one(pool).await)
    }

    /// What handlers wrote, in the order of the log.
    pub async fn applied(&self) -> sqlx::Result<Vec<Applied>> {
        let sql = "select order_id, part, off, pid from applied order by part, off";
        let rows: Vec<(String, i32, i64, i64)> =
            on_pool!(self, pool => sqlx::query_as(sql).fetch_all(pool).await)?;
        Ok(rows.into_iter().map(|(order_id, part, off, pid)| Applied { order_id, part, off, pid }).collect())
    }

    /// The same, in the order in which they were written; a partition's writers come one after the other.
    pub async fn applied_in_order(&self) -> sqlx::Result<Vec<Applied>> {
        let sql = "select order_id, part, off, pid from applied order by seq";
        let rows: Vec<(String, i32, i64, i64)> =
            on_pool!(self, pool => sqlx::query_as(sql).fetch_all(pool).await)?;
        Ok(rows.into_iter().map(|(order_id, part, off, pid)| Applied { order_id, part, off, pid }).collect())
    }

    /// The positions; an error while eos has not made its tables yet.
    pub async fn positions(&self, group: &str, topic: &str) -> sqlx::Result<Vec<Position>> {
        let sql = AssertSqlSafe(format!(
            "select {PARTITION}, max(epoch), min(next_offset), min(last_offset) from eos_position \
             where group_id = '{group}' and topic = '{topic}' group by {PARTITION} order by 1",
            PARTITION = self.quoted("partition"),
        ));
        let rows: Vec<(i32, i64, i64, Option<i64>)> =
            on_pool!(self, pool => sqlx::query_as(sql).fetch_all(pool).await)?;
        Ok(rows
            .into_iter()
            .map(|(partition, epoch, next_offset, last_offset)| Position {
                partition,
                epoch,
                next_offset,
                last_offset,
            })
            .collect())
    }

    /// Into how many slots the partitions are split, and how many rows they have; an error while eos has not made its tables yet.
    pub async fn slots(&self, group: &str, topic: &str) -> sqlx::Result<Vec<(i32, i64)>> {
        let sql = AssertSqlSafe(format!(
            "select max(slots), count(*) from eos_position where group_id = '{group}' and topic = '{topic}' \
             group by {PARTITION} order by {PARTITION}",
            PARTITION = self.quoted("partition"),
        ));
        on_pool!(self, pool => sqlx::query_as(sql).fetch_all(pool).await)
    }

    /// What is set aside, and not replayed; an error while eos has not made its tables yet.
    pub async fn dead_letters(&self, group: &str, topic: &str) -> sqlx::Result<Vec<SetAside>> {
        let sql = AssertSqlSafe(format!(
            "select {PARTITION}, record_offset, attempts, reason, error from eos_dead_letter \
             where group_id = '{group}' and topic = '{topic}' and state in (0, 2) order by id",
            PARTITION = self.quoted("partition"),
        ));
        let rows: Vec<(i32, i64, i32, String, String)> =
            on_pool!(self, pool => sqlx::query_as(sql).fetch_all(pool).await)?;
        Ok(rows
            .into_iter()
            .map(|(partition, offset, attempts, reason, error)| SetAside {
                partition,
                offset,
                attempts,
                reason,
                error,
            })
            .collect())
    }

    /// How many records are parked; an error while eos has not made its tables yet.
    pub async fn parked(&self, group: &str, topic: &str) -> sqlx::Result<i64> {
        self.number(&format!(
            "select count(*) from eos_dead_letter \
             where group_id = '{group}' and topic = '{topic}' and state in (1, 5)"
        ))
        .await
    }

    /// The ids in the inbox of a group and topic.
    pub async fn inbox(&self, group: &str, topic: &str) -> sqlx::Result<Vec<Vec<u8>>> {
        let sql = AssertSqlSafe(format!(
            "select message_id from eos_inbox where stream in \
             (select id from eos_stream where group_id = '{group}' and topic = '{topic}')"
        ));
        on_pool!(self, pool => sqlx::query_scalar(sql).fetch_all(pool).await)
    }

    /// How many numbers the group and topic have in `eos_stream`.
    pub async fn streams(&self, group: &str, topic: &str) -> sqlx::Result<i64> {
        self.number(&format!(
            "select count(*) from eos_stream where group_id = '{group}' and topic = '{topic}'"
        ))
        .await
    }

    /// The pool, where it is PostgreSQL's.
    pub fn postgres(&self) -> &PgPool {
        match &self.pool {
            Pool::Postgres(pool) => pool,
            Pool::MySql(_) | Pool::Sqlite(_) => panic!("this test is about PostgreSQL"),
        }
    }

    /// The pool, where it is MariaDB's.
    pub fn mariadb(&self) -> &MySqlPool {
        match &self.pool {
            Pool::MySql(pool) => pool,
            Pool::Postgres(_) | Pool::Sqlite(_) => panic!("this test is about MariaDB"),
        }
    }

    fn quoted(&self, name: &str) -> String {
        match &self.pool {
            Pool::MySql(_) => format!("`{name}`"),
            Pool::Postgres(_) | Pool::Sqlite(_) => format!("\"{name}\""),
        }
    }

    /// Drops it, whoever is connected; a file goes with its folder.
    pub(crate) async fn throw_away(&self) {
        let dropped = match &self.pool {
            Pool::Postgres(_) => {
                on_server(&self.server_url, format!("drop database {} with (force)", self.name)).await
            }
            Pool::MySql(_) => on_server(&self.server_url, format!("drop database {}", self.name)).await,
            Pool::Sqlite(_) => Ok(()),
        };
        // A server that a test has taken down takes its databases with it.
        drop(dropped);
    }
}

/// Runs a statement on a connection of its own: a database cannot be dropped by who is in it.
async fn on_server(url: &str, sql: String) -> sqlx::Result<()> {
    let sql = AssertSqlSafe(sql);
    if url.starts_with("mysql") {
        let mut server = sqlx::MySqlConnection::connect(url).await?;
        sqlx::raw_sql(sql).execute(&mut server).await?;
        server.close().await
    } else {
        let mut server = sqlx::PgConnection::connect(url).await?;
        sqlx::raw_sql(sql).execute(&mut server).await?;
        server.close().await
    }
}
