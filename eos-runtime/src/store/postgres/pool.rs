//! Connections to PostgreSQL: named, with the claim prepared, and what their errors mean.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgPoolOptions};
use sqlx::{ConnectOptions, PgConnection, PgPool, Postgres};

use super::{claim, run};
use crate::store::Freshness;
use crate::store::dialect::{Fault, Store};

/// By this name our connections are known to people; a session's has its patience in milliseconds behind it.
pub(super) const APPLICATION_NAME: &str = "eos";

/// Opens eos's own pool: `[database] max_connections` and no pings, since an attempt on a dead connection has
/// claimed nothing and is begun again on a new one.
pub(crate) fn connect(options: PgConnectOptions, schema: &str, max_connections: u32) -> Store<Postgres> {
    let schema = qualifier(schema);
    let prepare = format!("{}; {}", prepare_claims(&schema), claim::prepare(&schema));
    let options = options.application_name(APPLICATION_NAME).disable_statement_logging();
    let freshness = Arc::new(Freshness::new());
    let pool: PgPool = PgPoolOptions::new()
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
        .after_connect(move |connection, _| {
            let prepare = prepare.clone();
            Box::pin(async move { run(connection, prepare).await })
        })
        .connect_lazy_with(options);
    Store::with(pool, schema, freshness)
}

/// A connection outside the pool, for what must not wait for one of its own.
pub(super) async fn beside(store: &Store<Postgres>) -> sqlx::Result<PgConnection> {
    store.pool.connect_options().connect().await
}

/// A schema's name as our SQL says it: quoted, with its dot.
pub(crate) fn qualifier(schema: &str) -> String {
    format!("\"{}\".", schema.replace('"', "\"\""))
}

/// The claim, prepared once a connection, the same without the inbox, and the proof that the transaction still lives,
/// which fails by a function whose error (2201G) no handler's statement is likely to have.
///
/// Which ids of a group were seen before is looked for only where some were.
///
/// In READ COMMITTED a claim that waited for another's commit looks at the row again and finds it changed: no row.
/// `next_offset = $3` is an equality on purpose: after a database that lost its tail came back, `<=` would jump
/// over what was lost.
fn prepare_claims(schema: &str) -> String {
    let advance = format!(
        "update {schema}eos_position set next_offset = $4 + 1, last_offset = $4, last_timestamp = $5, \
         last_checksum = $6, attempts = 0 where ctid = $1 and owner = $2 and next_offset = $3 returning ctid"
    );
    format!(
        "prepare eos_claim(tid, uuid, bigint, bigint, bigint, bigint, int, bytea) as \
         with p as ({advance}), \
         i as (insert into {schema}eos_inbox (stream, message_id) select $7, $8 from p on conflict do nothing returning 1) \
         select p.ctid, exists(select from i), pg_catalog.pg_current_xact_id() from p; \
         prepare eos_claim_group(tid, uuid, bigint, bigint, bigint, bigint, int, bytea[]) as \
         with p as ({advance}), \
         i as (insert into {schema}eos_inbox (stream, message_id) select $7, u.id from p, unnest($8) u(id) \
           on conflict do nothing returning message_id) \
         select p.ctid, pg_catalog.pg_current_xact_id(), \
           case when (select pg_catalog.count(*) from i) < pg_catalog.cardinality($8) then \
             (select pg_catalog.string_agg(pg_catalog.encode(s.id, 'hex'), ',') \
              from (select unnest($8) except select message_id from i) s(id)) end from p; \
         prepare eos_advance(tid, uuid, bigint, bigint, bigint, bigint) as \
         with p as ({advance}) \
         select p.ctid, true, pg_catalog.pg_current_xact_id() from p; \
         prepare eos_alive(xid8) as \
         select pg_catalog.width_bucket(0::float8, 0, 1, \
                coalesce((pg_catalog.pg_current_xact_id_if_assigned() = $1)::int, 0))"
    )
}

/// What an error means, by class of SQLSTATE.
/// Source: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub(super) fn fault(error: &sqlx::Error) -> Fault {
    let Some(database) = error.as_database_error() else { return Fault::of_driver(error) };
    match database.code().as_deref().unwrap_or_default() {
        "40001" | "40P01" => Fault::Transient,
        // No such user, password or database.
        "28000" | "28P01" | "3D000" => Fault::Refused,
        // A prepared statement that vanished, or whose table has changed: another connection makes it anew.
        "26000" => Fault::Unavailable,
        "0A000" if is_stale_plan(error) => Fault::Unavailable,
        // Read-only after a failover.
        "25006" => Fault::ReadOnly,
        // A row that a policy forbids is the row's fault; a missing right is not.
        "42501" if routine(error) == Some("ExecWithCheckOptions") => Fault::Failed,
        // No such table, column or schema, or no right to it: the program is ahead of its migration or its grant.
        "42P01" | "42703" | "3F000" | "42501" => Fault::Unready,
        // Out of memory, or past a limit of the configuration: one statement may be to blame.
        "53200" | "53400" => Fault::Failed,
        // The server ended an idle or overdue transaction.
        "25P03" | "25P04" => Fault::Unavailable,
        // The timeouts of a statement and of a lock.
        "57014" | "55P03" => Fault::Overdue,
        state if ["08", "53", "57", "58"].iter().any(|class| state.starts_with(class)) => Fault::Unavailable,
        _ => Fault::Failed,
    }
}

/// "Cached plan must not change result type" has the code of all that is not supported; the place that says it tells.
/// Source: `RevalidateCachedQuery` in `src/backend/utils/cache/plancache.c`.
fn is_stale_plan(error: &sqlx::Error) -> bool {
    routine(error) == Some("RevalidateCachedQuery")
}

/// The place in the server that said it.
fn routine(error: &sqlx::Error) -> Option<&str> {
    let error = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    error.and_then(PgDatabaseError::routine)
}

/// Tests a server once with these options, for a start-up error that names the setting.
pub(crate) async fn probe(options: &PgConnectOptions) -> sqlx::Result<()> {
    use sqlx::Connection as _;
    let connection = options.clone().application_name(APPLICATION_NAME).connect().await?;
    connection.close().await
}
