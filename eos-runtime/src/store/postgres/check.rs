//! Whether a PostgreSQL server is fit: what would break a promise, and what keeps vacuum from the tables of eos.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Postgres};

use super::pool::APPLICATION_NAME;
use crate::finding::Finding;
use crate::store::Store;
use crate::store::check::{CheckDialect, RIGHTS, awaited_topics, lasted, looked, rights, seconds};

/// How many transactions behind a snapshot is old where its age in time is not shown to us.
const FAR_BEHIND: i64 = 1_000_000;
/// How much log a slot may keep.
const MUCH: i64 = 1 << 30;

impl CheckDialect for Postgres {
    async fn look(store: &Store<Self>, old: Duration) -> Vec<Finding> {
        let mut found = looked("server", server(store)).await;
        found.extend(looked("rights", may_use(store)).await);
        found.extend(looked("sessions", may_end(store)).await);
        found.extend(looked("outbox", sequence(store)).await);
        found.extend(looked("transactions", transactions(store, old)).await);
        found.extend(looked("prepared transactions", prepared(store, old)).await);
        found.extend(looked("replication slots", slots(store)).await);
        found
    }

    awaited_topics!();
}

async fn server(store: &Store<Postgres>) -> sqlx::Result<Vec<Finding>> {
    let sql = "select current_setting('server_version'), current_setting('server_version_num')::int, \
               current_setting('transaction_read_only') = 'on', current_setting('fsync') = 'off', \
               current_setting('synchronous_commit') = 'off'";
    let (version, number, read_only, no_fsync, no_wait): (String, i32, bool, bool, bool) =
        sqlx::query_as(sql).fetch_one(&store.pool).await?;
    let mut found = Vec::new();
    if number < 140_000 {
        found.push(Finding::problem(
            "server",
            format!("PostgreSQL {version} is too old; eos needs 14 or later"),
        ));
    }
    if read_only {
        found.push(Finding::problem(
            "server",
            "it can only be read, as a standby or with `default_transaction_read_only`; name the primary in the address",
        ));
    }
    if no_fsync {
        found.push(Finding::problem(
            "server",
            "`fsync` is off: a crash can lose or damage what was committed; turn it on",
        ));
    }
    if no_wait {
        found.push(Finding::warning(
            "server",
            "`synchronous_commit` is off: a crash loses the last commits, which are done again, and events that were published \
             meanwhile are published twice; set it to `on` for this role or database",
        ));
    }
    if found.is_empty() {
        found.push(Finding::ok("server", format!("PostgreSQL {version}, and it can be written to")));
    }
    Ok(found)
}

/// Tables that are not there are somebody else's finding.
async fn may_use(store: &Store<Postgres>) -> sqlx::Result<Vec<Finding>> {
    let schema = store.schema.replace('\'', "''");
    let asked: Vec<_> = RIGHTS
        .iter()
        .flat_map(|(table, rights)| rights.iter().map(move |right| format!("('{table}', '{right}')")))
        .collect();
    let sql = format!(
        "select r || ' ' || t from (values {}) a(t, r) where to_regclass('{schema}' || t) is not null \
         and not has_table_privilege(to_regclass('{schema}' || t)::oid, r)",
        asked.join(", ")
    );
    let there = format!("select to_regclass('{schema}eos_position') is not null");
    if !sqlx::query_scalar::<_, bool>(AssertSqlSafe(there)).fetch_one(&store.pool).await? {
        return Ok(Vec::new());
    }
    let missing: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&store.pool).await?;
    let user: String = sqlx::query_scalar("select current_user::text").fetch_one(&store.pool).await?;
    Ok(vec![rights(&user, &missing)])
}

/// A taker ends the holder of a row that overran.
async fn may_end(store: &Store<Postgres>) -> sqlx::Result<Vec<Finding>> {
    const WHAT: &str = "sessions";
    let sql = "select current_user::text, pg_has_role(current_user, 'pg_signal_backend', 'usage') \
               or (select rolsuper from pg_catalog.pg_roles where rolname = current_user)";
    let (user, may): (String, bool) = sqlx::query_as(sql).fetch_one(&store.pool).await?;
    if may {
        return Ok(vec![Finding::ok(WHAT, format!("`{user}` may end those of other roles that overran"))]);
    }
    let sql = format!(
        "select distinct usename::text from pg_catalog.pg_stat_activity where datname = current_database() \
         and application_name ~ '^{APPLICATION_NAME}( |$)' and not pg_has_role(current_user, usename, 'usage')"
    );
    let others: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&store.pool).await?;
    Ok(vec![match others.as_slice() {
        [] => Finding::ok(
            WHAT,
            format!("`{user}` may end its own that overran, and services use no other role now"),
        ),
        others => Finding::problem(
            WHAT,
            format!(
                "services use the role `{}`, too, whose sessions `{user}` may not end when one sleeps with a position's row: let \
                 all use one role, or `grant pg_signal_backend to \"{user}\"` (and to the others)",
                others.join("`, `")
            ),
        ),
    }])
}

async fn sequence(store: &Store<Postgres>) -> sqlx::Result<Vec<Finding>> {
    const WHAT: &str = "outbox";
    let table = format!("{}eos_outbox", store.schema);
    // By CASE, because the function fails where there is no such table.
    let sql = "select s.seqrelid::regclass::text, s.seqcache from pg_catalog.pg_sequence s where s.seqrelid = \
               case when to_regclass($1) is not null then pg_get_serial_sequence($1, 'seq')::regclass end";
    let row: Option<(String, i64)> = sqlx::query_as(sql).bind(table).fetch_optional(&store.pool).await?;
    Ok(match row {
        None => Vec::new(),
        Some((_, 1)) => vec![Finding::ok(WHAT, "its numbers follow the order of commits")],
        Some((name, cache)) => vec![Finding::problem(
            WHAT,
            format!(
                "its sequence hands out {cache} numbers at a time, so that events of a key can be published out of order; \
                 `alter sequence {name} cache 1`, and let services connect anew"
            ),
        )],
    })
}

/// What keeps dead rows in the tables: positions and outbox are written all the time.
async fn transactions(store: &Store<Postgres>, old: Duration) -> sqlx::Result<Vec<Finding>> {
    const WHAT: &str = "transactions";
    let sql = "select pid, coalesce(usename::text, ''), application_name, \
                 coalesce(extract(epoch from clock_timestamp() - xact_start)::bigint, 0), age(backend_xmin)::bigint \
               from pg_catalog.pg_stat_activity where backend_xmin is not null and backend_type = 'client backend' \
               and (clock_timestamp() - xact_start > $1 * interval '1 second' or xact_start is null and age(backend_xmin) > $2) \
               order by age(backend_xmin) desc limit 10";
    let rows: Vec<(i32, String, String, i64, i64)> =
        sqlx::query_as(sql).bind(seconds(old)).bind(FAR_BEHIND).fetch_all(&store.pool).await?;
    let found: Vec<_> = rows
        .into_iter()
        .map(|(pid, user, program, seconds, behind)| {
            let since = match seconds {
                0 => format!("for {behind} transactions"),
                seconds => format!("for {}", lasted(seconds)),
            };
            Finding::warning(
                WHAT,
                format!(
                    "process {pid} of the server (role `{user}`, program `{program}`) has held a snapshot {since}, and dead rows stay \
                     in every table meanwhile, so that relays and takes slow down; end it by `select pg_terminate_backend({pid})` \
                     if nobody needs it"
                ),
            )
        })
        .collect();
    Ok(or_ok(found, WHAT, "none is so old that it keeps dead rows in the tables"))
}

async fn prepared(store: &Store<Postgres>, old: Duration) -> sqlx::Result<Vec<Finding>> {
    const WHAT: &str = "prepared transactions";
    let sql = "select gid, database::text, extract(epoch from clock_timestamp() - prepared)::bigint \
               from pg_catalog.pg_prepared_xacts where clock_timestamp() - prepared > $1 * interval '1 second' limit 10";
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as(sql).bind(seconds(old)).fetch_all(&store.pool).await?;
    let found: Vec<_> = rows
        .into_iter()
        .map(|(gid, database, seconds)| {
            let quoted = gid.replace('\'', "''");
            Finding::warning(
                WHAT,
                format!(
                    "`{gid}` in database `{database}` has waited for {} for its end, and keeps dead rows and locks meanwhile; commit \
                     it, or `rollback prepared '{quoted}'`, connected to that database",
                    lasted(seconds)
                ),
            )
        })
        .collect();
    Ok(or_ok(found, WHAT, "none has been forgotten"))
}

async fn slots(store: &Store<Postgres>) -> sqlx::Result<Vec<Finding>> {
    const WHAT: &str = "replication slots";
    let sql = "select slot_name::text, active, coalesce(greatest(age(xmin), age(catalog_xmin)), 0)::bigint, \
                 coalesce(pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() \
                   else pg_current_wal_lsn() end, restart_lsn), 0)::bigint \
               from pg_catalog.pg_replication_slots";
    let rows: Vec<(String, bool, i64, i64)> = sqlx::query_as(sql).fetch_all(&store.pool).await?;
    let found: Vec<_> = rows
        .into_iter()
        .filter(|(_, _, behind, kept)| *behind > FAR_BEHIND || *kept > MUCH)
        .map(|(name, active, behind, kept)| {
            let reader = if active { "is read too slowly" } else { "is read by nobody" };
            Finding::warning(
                WHAT,
                format!(
                    "`{name}` {reader}: it keeps {} MB of log, and is {behind} transactions behind, so that the disk fills and dead \
                     rows may stay; bring its reader back, or `select pg_drop_replication_slot('{name}')`",
                    kept >> 20
                ),
            )
        })
        .collect();
    Ok(or_ok(found, WHAT, "none lags behind"))
}

fn or_ok(found: Vec<Finding>, what: &str, says: &str) -> Vec<Finding> {
    if found.is_empty() { vec![Finding::ok(what, says)] } else { found }
}
