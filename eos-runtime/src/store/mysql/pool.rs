//! Connections to MySQL or MariaDB, what their errors mean, and which servers cannot keep the promise.

use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{ConnectOptions, Connection, MySql, MySqlConnection};

use super::{number, run};
use crate::store::dialect::{Fault, Store};

/// Opens eos's own pool: no pings, since an attempt on a dead connection has claimed nothing and is begun again.
pub(crate) fn connect(options: MySqlConnectOptions, schema: &str, max_connections: u32) -> Store<MySql> {
    let pool = MySqlPoolOptions::new()
        .max_connections(max_connections)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(10))
        .after_connect(|connection, _| {
            // Whatever the server's own defaults are.
            Box::pin(run(
                connection,
                "set session transaction isolation level read committed; set autocommit = 1",
            ))
        })
        .connect_lazy_with(options.disable_statement_logging());
    Store { pool, schema: qualifier(schema) }
}

/// A connection outside the pool, for what must not wait for one of its own.
pub(super) async fn beside(store: &Store<MySql>) -> sqlx::Result<MySqlConnection> {
    store.pool.connect_options().connect().await
}

/// A database's name as our SQL says it: quoted, with its dot; nothing where the connection's own is meant.
pub(crate) fn qualifier(schema: &str) -> String {
    match schema {
        "" => String::new(),
        schema => format!("`{}`.", schema.replace('`', "``")),
    }
}

/// What an error means, by its number.
/// Sources: <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html>,
/// <https://mariadb.com/docs/server/reference/error-codes>.
pub(super) fn fault(error: &sqlx::Error) -> Fault {
    let Some(number) = number(error) else { return Fault::of_driver(error) };
    match number {
        // A deadlock, a lock that was waited for too long, MariaDB's "record has changed since last read".
        1213 | 1205 | 1020 => Fault::Transient,
        // No such user, password or database; not from this host.
        1044 | 1045 | 1049 | 1130 | 1698 | 1251 | 3118 => Fault::Refused,
        // Too many connections, of all or of this user.
        1040 | 1203 | 1226 => Fault::Unavailable,
        // Stopping, ended by somebody, idle for too long, broken off.
        1053 | 1077 | 1079 | 1080 | 1152 | 1158..=1161 | 1184 | 1927 | 4031 => Fault::Unavailable,
        // Read-only after a failover; a cluster's node that is not ready; a full disk.
        1290 | 1836 | 1047 | 1021 | 1114 => Fault::Unavailable,
        _ => Fault::Failed,
    }
}

/// Tests a server once with these options, for a start-up error that names the setting.
pub(crate) async fn probe(options: &MySqlConnectOptions) -> sqlx::Result<()> {
    let mut connection = options.clone().disable_statement_logging().connect().await?;
    one_writer(&mut connection).await?;
    connection.close().await
}

/// Refuses clusters in which several servers write. Their locks end at the server: two owners of a partition on two
/// servers would both run their handlers, and one would learn at COMMIT only that it may not.
pub(super) async fn one_writer(connection: &mut MySqlConnection) -> sqlx::Result<()> {
    let settings: Vec<(String, String)> = sqlx::query_as(
        "show global variables where variable_name in ('wsrep_on', 'group_replication_single_primary_mode')",
    )
    .fetch_all(connection)
    .await?;
    let cluster = settings.iter().find_map(|(name, value)| match (name.as_str(), value.as_str()) {
        ("wsrep_on", "ON") => Some("a Galera cluster (`wsrep_on` is ON)"),
        ("group_replication_single_primary_mode", "OFF") => {
            Some("a group that replicates with several primaries")
        }
        _ => None,
    });
    match cluster {
        None => Ok(()),
        Some(cluster) => Err(sqlx::Error::Configuration(
            format!(
                "the server belongs to {cluster}; eos needs a database in which one server writes, \
                 because the lock that fences an earlier owner of a partition ends at the server"
            )
            .into(),
        )),
    }
}
