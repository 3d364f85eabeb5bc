//! Claims of ids on PostgreSQL: a step is one simple-query message, which is one transaction to the server, without a BEGIN that
//! an error could leave open.
//!
//! Its level is said first, whatever the database's own default is: one that sees the same snapshot from its first statement to
//! its last would not see what was marked while it waited. The statements are PREPAREd once a connection (see `pool.rs`).
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-MULTI-STATEMENT>.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Postgres, Row};

use super::attempt::message;
use crate::dedupe::Claim;
use crate::store::Store;
use crate::store::claims::{ClaimDialect, KEPT, Look, Marking};
use crate::store::hex;
use crate::store::lent::Lent;

/// When the server ends a statement that waits for somebody's lock: before it is taken for one that hangs.
const LOCKED: Duration = Duration::from_secs(8);
const NOW_MS: &str = "(extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint";

/// The statements of every step.
///
/// A claim that finds another's row waits for whoever is at it, and then looks at the row's newest version; where it leaves the
/// row as it is, it has locked it all the same, so that the look behind it sees the same.
pub(super) fn prepare(schema: &str) -> String {
    let (inbox, claim) = (format!("{schema}eos_inbox"), format!("{schema}eos_claim"));
    format!(
        "prepare eos_claim_id(int, bytea, bytea, bigint) as \
         insert into {claim} as c (stream, message_id, token, leased_until) \
         select $1, $2, $3, {NOW_MS} + $4 \
         where not exists (select from {inbox} where stream = $1 and message_id = $2) \
         on conflict (stream, message_id) do update set token = excluded.token, leased_until = excluded.leased_until \
         where c.token = excluded.token or c.leased_until <= {NOW_MS}; \
         prepare eos_look_at_id(int, bytea, bytea) as \
         select exists (select from {inbox} where stream = $1 and message_id = $2), c.token = $3, c.leased_until - {NOW_MS} \
         from (values (1)) one(n) left join {claim} c on c.stream = $1 and c.message_id = $2; \
         prepare eos_mark_id(int, bytea, bytea) as \
         with i as (insert into {inbox} (stream, message_id) values ($1, $2) on conflict do nothing returning 1), \
         c as (delete from {claim} where stream = $1 and message_id = $2 and token = $3 returning 1) \
         select exists (select from i), exists (select from c), \
         exists (select from {claim} where stream = $1 and message_id = $2 and token <> $3); \
         prepare eos_release_id(int, bytea, bytea) as \
         delete from {claim} where stream = $1 and message_id = $2 and token = $3"
    )
}

impl ClaimDialect for Postgres {
    async fn claim_id(
        store: &Store<Self>,
        stream: i32,
        claim: &Claim,
        lease: Duration,
    ) -> sqlx::Result<Look> {
        let (key, lease) = (key(stream, claim), lease.as_millis());
        let steps = format!("execute eos_claim_id({key},'{lease}');execute eos_look_at_id({key})");
        let row = say(store, &steps).await?.ok_or(sqlx::Error::RowNotFound)?;
        let left: Option<&str> = row.try_get_unchecked(2)?;
        Ok(Look {
            is_done: is_true(&row, 0)?,
            is_ours: row.try_get_unchecked::<Option<&str>, _>(1)?.map(|ours| ours == "t"),
            left_ms: left.and_then(|left| left.parse().ok()),
        })
    }

    async fn mark_id(store: &Store<Self>, stream: i32, claim: &Claim) -> sqlx::Result<Marking> {
        let mark = format!("execute eos_mark_id({})", key(stream, claim));
        let row = say(store, &mark).await?.ok_or(sqlx::Error::RowNotFound)?;
        Ok(Marking { is_new: is_true(&row, 0)?, was_ours: is_true(&row, 1)?, is_anothers: is_true(&row, 2)? })
    }

    async fn release_id(store: &Store<Self>, stream: i32, claim: &Claim) -> sqlx::Result<()> {
        say(store, &format!("execute eos_release_id({})", key(stream, claim))).await.map(drop)
    }

    async fn sweep_claims(store: &Store<Self>) -> sqlx::Result<u64> {
        let schema = &store.schema;
        let sql =
            format!("delete from {schema}eos_claim where leased_until < {NOW_MS} - {}", KEPT.as_millis());
        Ok(sqlx::raw_sql(AssertSqlSafe(sql)).execute(&store.pool).await?.rows_affected())
    }
}

/// Stream, id and token, as the statements take them.
fn key(stream: i32, claim: &Claim) -> String {
    format!("'{stream}','\\x{}','\\x{}'", hex(claim.id()), hex(claim.token()))
}

/// One message; its last row. A wait that nobody waits for any more is ended by the server.
async fn say(store: &Store<Postgres>, steps: &str) -> sqlx::Result<Option<PgRow>> {
    let sql = format!(
        "set transaction isolation level read committed;set local statement_timeout={};{steps}",
        LOCKED.as_millis()
    );
    let mut connection = Lent::by(&store.pool).await?;
    let row = message(&mut connection, sql).await.map_err(|(_, error)| error)?;
    connection.give_back();
    Ok(row)
}

/// A message of text answers in text.
fn is_true(row: &PgRow, column: usize) -> sqlx::Result<bool> {
    Ok(row.try_get_unchecked::<&str, _>(column)? == "t")
}
