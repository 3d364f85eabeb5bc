//! Connections to MySQL or MariaDB, what their errors mean, and which servers cannot keep the promise.

use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{ConnectOptions, Connection, MySql, MySqlConnection};

use super::{number, run};
use crate::store::Freshness;
use crate::store::dialect::{Fault, Store};

/// Opens eos's own pool: no pings, since an attempt on a dead connection has claimed nothing and is begun again.
pub(crate) fn connect(options: MySqlConnectOptions, schema: &str, max_connections: u32) -> Store<MySql> {
    let freshness = Arc::new(Freshness::new());
    let pool = MySqlPoolOptions::new()
        .max_connections(max_connections)
        .test_before_acquire(false)
        .before_acquire({
            let freshness = Arc::clone(&freshness);
            move |_, meta| {
                let good = freshness.admits(meta.age);
                Box::pin(async move { Ok(good) })
            }
        })
        .acquire_timeout(Duration::from_secs(10))
        .after_connect(|connection, _| {
            // Whatever the server's own defaults are.
            Box::pin(run(
                connection,
                "set session transaction isolation level read committed; set autocommit = 1",
            ))
        })
        .connect_lazy_with(options.disable_statement_logging());
    Store::with(pool, qualifier(schema), freshness)
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
        // A deadlock, MariaDB's "record has changed since last read".
        1213 | 1020 => Fault::Transient,
        // A lock that was waited for too long; MariaDB's and MySQL's timeouts of a statement.
        1205 | 1969 | 3024 => Fault::Overdue,
        // No such user, password or database; not from this host.
        1044 | 1045 | 1049 | 1130 | 1698 | 1251 | 3118 => Fault::Refused,
        // Too many connections, of all or of this user.
        1040 | 1203 | 1226 => Fault::Unavailable,
        // Stopping, ended by somebody, idle for too long, broken off.
        1053 | 1077 | 1079 | 1080 | 1152 | 1158..=1161 | 1184 | 1927 | 4031 => Fault::Unavailable,
        // A cluster's node that is not ready; a full disk.
        1047 | 1021 | 1114 => Fault::Unavailable,
        // Read-only after a failover.
        1290 | 1836 | 1792 => Fault::ReadOnly,
        // No such table or column, or no right to it: the program is ahead of its migration or its grant.
        1146 | 1054 | 1142 | 1143 => Fault::Unready,
        _ => Fault::Failed,
    }
}

/// Tests a server once with these options, for a start-up error that names the setting.
pub(crate) async fn probe(options: &MySqlConnectOptions) -> sqlx::Result<()> {
    let mut connection = options.clone().disable_statement_logging().connect().await?;
    fit(&mut connection).await?;
    connection.close().await
}

/// Refuses servers that cannot keep the promise: clusters in which several servers write, because their locks end at
/// the server (two owners of a partition on two servers would both run their handlers), and a binary log of
/// statements, because InnoDB does not write to it under READ COMMITTED.
pub(super) async fn fit(connection: &mut MySqlConnection) -> sqlx::Result<()> {
    let settings: Vec<(String, String)> = sqlx::query_as(
        "show global variables where variable_name in \
         ('wsrep_on', 'group_replication_single_primary_mode', 'log_bin', 'binlog_format')",
    )
    .fetch_all(connection)
    .await?;
    match unfit(&settings) {
        None => Ok(()),
        Some(why) => Err(sqlx::Error::Configuration(why.into())),
    }
}

fn unfit(settings: &[(String, String)]) -> Option<&'static str> {
    let is =
        |name: &str, value: &str| settings.iter().any(|(n, v)| n == name && v.eq_ignore_ascii_case(value));
    if is("wsrep_on", "on") {
        Some(
            "the server belongs to a Galera cluster (`wsrep_on` is ON); eos needs a database in which one server \
             writes, because the lock that fences an earlier owner of a partition ends at the server",
        )
    } else if is("group_replication_single_primary_mode", "off") {
        Some(
            "the server belongs to a group with several primaries (`group_replication_single_primary_mode` is OFF); \
             eos needs a database in which one server writes, because the lock that fences an earlier owner of a \
             partition ends at the server",
        )
    } else if is("log_bin", "on") && is("binlog_format", "statement") {
        Some(
            "the server logs statements (`binlog_format` is STATEMENT), which READ COMMITTED does not allow; use ROW or MIXED",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_cannot_keep_the_promise_are_named() {
        let server = |settings: &[(&str, &str)]| {
            let settings: Vec<_> = settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            unfit(&settings)
        };
        assert_eq!(server(&[("wsrep_on", "OFF"), ("log_bin", "OFF"), ("binlog_format", "STATEMENT")]), None);
        assert_eq!(server(&[("log_bin", "ON"), ("binlog_format", "ROW")]), None);
        assert!(server(&[("wsrep_on", "ON")]).is_some_and(|why| why.contains("Galera")));
        assert!(server(&[("group_replication_single_primary_mode", "OFF")]).is_some());
        assert!(server(&[("log_bin", "ON"), ("binlog_format", "STATEMENT")]).is_some());
    }
}
