//! Claims of ids on SQLite: a step is one turn at writing.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Row, Sqlite};

use super::lock::Turn;
use super::{NOW_MS, attempt, lock, statements, write};
use crate::dedupe::Claim;
use crate::store::claims::{ClaimDialect, KEPT, Look, Marking, PATIENCE};
use crate::store::{Store, Tx, hex_literal};

impl ClaimDialect for Sqlite {
    async fn claim_id(
        store: &Store<Self>,
        stream: i32,
        claim: &Claim,
        lease: Duration,
    ) -> sqlx::Result<Look> {
        let schema = &store.schema;
        let (id, token, lease) = (hex_literal(claim.id()), hex_literal(claim.token()), lease.as_millis());
        let (mut tx, _, turn) = begin(
            store,
            &format!(
                "insert into {schema}eos_claim as c(stream,message_id,token,leased_until) \
                 select {stream},{id},{token},{NOW_MS}+{lease} \
                 where not exists (select 1 from {schema}eos_inbox where stream={stream} and message_id={id}) \
                 on conflict (stream,message_id) do update set token=excluded.token,leased_until=excluded.leased_until \
                 where c.token=excluded.token or c.leased_until<={NOW_MS}"
            ),
        )
        .await?;
        let look = format!(
            "select exists (select 1 from {schema}eos_inbox where stream={stream} and message_id={id}),\
             c.token={token},c.leased_until-{NOW_MS} \
             from (select 1) left join {schema}eos_claim c on c.stream={stream} and c.message_id={id}"
        );
        let row = sqlx::query(AssertSqlSafe(look)).persistent(false).fetch_one(&mut *tx).await?;
        commit(tx, turn).await?;
        Ok(Look { is_done: row.try_get(0)?, is_ours: row.try_get(1)?, left_ms: row.try_get(2)? })
    }

    async fn mark_id(store: &Store<Self>, stream: i32, claim: &Claim) -> sqlx::Result<Marking> {
        let schema = &store.schema;
        let (id, token) = (hex_literal(claim.id()), hex_literal(claim.token()));
        let (mut tx, changed, turn) = begin(
            store,
            &format!(
                "insert into {schema}eos_inbox(stream,message_id) values({stream},{id}) on conflict do nothing;\
                 delete from {schema}eos_claim where stream={stream} and message_id={id} and token={token}"
            ),
        )
        .await?;
        let left =
            format!("select count(*) from {schema}eos_claim where stream={stream} and message_id={id}");
        let left: i64 = sqlx::query_scalar(AssertSqlSafe(left)).persistent(false).fetch_one(&mut *tx).await?;
        commit(tx, turn).await?;
        let one = |at: usize| changed.get(at) == Some(&1);
        Ok(Marking { is_new: one(1), was_ours: one(2), is_anothers: left != 0 })
    }

    async fn release_id(store: &Store<Self>, stream: i32, claim: &Claim) -> sqlx::Result<()> {
        let sql = format!(
            "delete from {}eos_claim where stream={stream} and message_id={} and token={}",
            store.schema,
            hex_literal(claim.id()),
            hex_literal(claim.token())
        );
        let (tx, _, turn) = begin(store, &sql).await?;
        commit(tx, turn).await
    }

    /// A turn at writing is taken only where there is something to delete.
    async fn sweep_claims(store: &Store<Self>) -> sqlx::Result<u64> {
        let old =
            format!("from {}eos_claim where leased_until < {NOW_MS} - {}", store.schema, KEPT.as_millis());
        let there = format!("select count(*) {old}");
        if sqlx::query_scalar::<_, i64>(AssertSqlSafe(there)).fetch_one(&store.pool).await? == 0 {
            return Ok(0);
        }
        write(store, sqlx::query(AssertSqlSafe(format!("delete {old}")))).await
    }
}

/// Statements in a turn; each one's changes, behind those of the BEGIN.
async fn begin(store: &Store<Sqlite>, sql: &str) -> sqlx::Result<(Tx<Sqlite>, Vec<u64>, Turn)> {
    let mut tx = attempt::open(store.pool.acquire().await?).await?;
    let sql = format!("begin immediate;{sql}");
    let (changed, turn) = lock::begin(store, &mut tx, PATIENCE, None, &sql).await?;
    Ok((tx, changed, turn))
}

async fn commit(mut tx: Tx<Sqlite>, turn: Turn) -> sqlx::Result<()> {
    statements(&mut tx, "commit".to_owned()).await.map_err(|(_, error)| error)?;
    drop(turn);
    attempt::close(tx).await
}
