//! Whether a database is fit for a service, looked at from outside: each look stands alone, so that one that fails is a
//! finding, and the others are made all the same. Nothing is changed.

use std::future::Future;
use std::time::Duration;

use super::migrate::{MigrateError, Mode};
use super::{Dialect, Store};
use crate::finding::Finding;

/// How long one look may take.
const LOOK: Duration = Duration::from_secs(10);
/// A database that can be looked at.
pub(crate) trait CheckDialect: Dialect {
    /// What this database alone has; a transaction that is as old as this is reported.
    fn look(store: &Store<Self>, old: Duration) -> impl Future<Output = Vec<Finding>> + Send;

    /// The topics that dead letters wait to be published to.
    fn awaited_topics(store: &Store<Self>) -> impl Future<Output = sqlx::Result<Vec<String>>> + Send;
}

/// [`CheckDialect::awaited_topics`], the same words for every database.
macro_rules! awaited_topics {
    () => {
        async fn awaited_topics(store: &Store<Self>) -> sqlx::Result<Vec<String>> {
            let sql = format!(
                "select distinct publish_to from {}eos_dead_letter where publish_to is not null",
                store.schema
            );
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&store.pool).await
        }
    };
}
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub(crate) use awaited_topics;

/// All that is found: the tables first.
pub(crate) async fn check<D: CheckDialect>(store: &Store<D>, old: Duration) -> Vec<Finding> {
    let mut found = vec![tables(store).await];
    found.extend(D::look(store, old).await);
    found
}

async fn tables<D: Dialect>(store: &Store<D>) -> Finding {
    const WHAT: &str = "tables";
    match tokio::time::timeout(LOOK, D::migrate(store, Mode::Check)).await {
        Ok(Ok(())) => Finding::ok(WHAT, "there, and as new as this version of eos needs them"),
        Ok(Err(MigrateError::Behind { found: 0, .. })) => Finding::problem(
            WHAT,
            "there are none; `eos migrate` makes them, as services do at their start unless `[database] migrate` is `check`, and \
             if services keep theirs in another schema, `--schema` names it",
        ),
        Ok(Err(MigrateError::Behind { found, needed })) => Finding::problem(
            WHAT,
            format!(
                "at version {found}, and this version of eos needs {needed}; `eos migrate` brings them up to date"
            ),
        ),
        Ok(Err(MigrateError::Database { source, .. })) => unseen(WHAT, &source),
        Err(_) => Finding::problem(WHAT, "the database has not answered; look at what it is busy with"),
    }
}

/// One look, which finds something, or cannot be made.
pub(crate) async fn looked(
    what: &str,
    look: impl Future<Output = sqlx::Result<Vec<Finding>>>,
) -> Vec<Finding> {
    match tokio::time::timeout(LOOK, look).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => vec![unseen(what, &error)],
        Err(_) => vec![Finding::problem(what, "the database has not answered; look at what it is busy with")],
    }
}

/// A look that failed.
pub(crate) fn unseen(what: &str, error: &sqlx::Error) -> Finding {
    let why = match error.as_database_error() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    };
    Finding::problem(what, format!("could not be looked at: {why}"))
}

/// What the tables' users do to each of them.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) const RIGHTS: [(&str, &[&str]); 10] = [
    ("eos_schema", &["select"]),
    ("eos_position", &["select", "insert", "update"]),
    ("eos_stream", &["select", "insert"]),
    ("eos_inbox", &["select", "insert", "update", "delete"]),
    ("eos_claim", &["select", "insert", "update", "delete"]),
    ("eos_dead_letter", &["select", "insert", "update"]),
    ("eos_outbox", &["select", "insert", "update", "delete"]),
    ("eos_lane", &["select", "insert", "update", "delete"]),
    ("eos_relay", &["select", "insert", "update", "delete"]),
    ("eos_identity", &["select"]),
];

/// A time in seconds, as a statement takes it.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// How long something has lasted, for people.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) fn lasted(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds / 60),
        7200.. => format!("{} hours", seconds / 3600),
    }
}

/// What is said of rights that are there, or missing.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) fn rights(user: &str, missing: &[String]) -> Finding {
    const WHAT: &str = "rights";
    if missing.is_empty() {
        return Finding::ok(WHAT, format!("`{user}` may read and write the tables"));
    }
    Finding::problem(
        WHAT,
        format!(
            "`{user}` may not {}; grant select, insert, update and delete on the tables of eos to it",
            missing.join(", ")
        ),
    )
}
