//! Claims of ids on MySQL and MariaDB: a step is one message.
//!
//! The claim and the look behind it are two transactions, and need not be one: a claim that is ours when the inbox is looked at
//! later stays ours, and what is done stays done. The mark is one, which ends with its connection where anything goes wrong.

use std::time::Duration;

use sqlx::{AssertSqlSafe, MySql, Row};

use super::{Answers, message};
use crate::dedupe::Claim;
use crate::store::claims::{ClaimDialect, KEPT, Look, Marking};
use crate::store::lent::Lent;
use crate::store::{Store, hex_literal};

/// Of the statement's begin; UTC, in which no hour comes twice.
const NOW_MS: &str = "(timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000)";

impl ClaimDialect for MySql {
    /// Assignments behind ON DUPLICATE KEY UPDATE are made from left to right: where the token is ours in the end, so is the lease.
    async fn claim_id(
        store: &Store<Self>,
        stream: i32,
        claim: &Claim,
        lease: Duration,
    ) -> sqlx::Result<Look> {
        let schema = &store.schema;
        let (id, token, lease) = (hex_literal(claim.id()), hex_literal(claim.token()), lease.as_millis());
        let sql = format!(
            "insert into {schema}eos_claim(stream,message_id,token,leased_until) \
             select {stream},{id},{token},{NOW_MS}+{lease} from dual \
             where not exists (select 1 from {schema}eos_inbox where stream={stream} and message_id={id}) \
             on duplicate key update token=if(token={token} or leased_until<={NOW_MS},{token},token),\
             leased_until=if(token={token},{NOW_MS}+{lease},leased_until);\
             select exists (select 1 from {schema}eos_inbox where stream={stream} and message_id={id}),\
             c.token={token},c.leased_until-{NOW_MS} \
             from (select 1) one left join {schema}eos_claim c on c.stream={stream} and c.message_id={id}"
        );
        let answers = say(store, sql).await?;
        let row = answers.rows.last().ok_or(sqlx::Error::RowNotFound)?;
        Ok(Look {
            is_done: row.try_get_unchecked::<i64, _>(0)? != 0,
            is_ours: row.try_get_unchecked::<Option<i64>, _>(1)?.map(|ours| ours != 0),
            left_ms: row.try_get_unchecked(2)?,
        })
    }

    /// An id that is there already leaves a 1 as the last insert id, as in a claim of a position (see `attempt.rs`).
    async fn mark_id(store: &Store<Self>, stream: i32, claim: &Claim) -> sqlx::Result<Marking> {
        let schema = &store.schema;
        let (id, token) = (hex_literal(claim.id()), hex_literal(claim.token()));
        let sql = format!(
            "start transaction;\
             insert into {schema}eos_inbox(stream,message_id,seen_at) values({stream},{id},unix_timestamp()) \
             on duplicate key update outcome=outcome+0*last_insert_id(1);\
             delete from {schema}eos_claim where stream={stream} and message_id={id} and token={token};\
             select count(*) from {schema}eos_claim where stream={stream} and message_id={id};commit"
        );
        let answers = say(store, sql).await?;
        let (inbox, claim) = (answers.results.get(1), answers.results.get(2));
        let left = answers.rows.last().ok_or(sqlx::Error::RowNotFound)?;
        Ok(Marking {
            is_new: inbox.is_some_and(|inbox| inbox.last_insert_id() == 0),
            was_ours: claim.is_some_and(|claim| claim.rows_affected() == 1),
            is_anothers: left.try_get_unchecked::<i64, _>(0)? != 0,
        })
    }

    async fn release_id(store: &Store<Self>, stream: i32, claim: &Claim) -> sqlx::Result<()> {
        let sql = format!(
            "delete from {}eos_claim where stream={stream} and message_id={} and token={}",
            store.schema,
            hex_literal(claim.id()),
            hex_literal(claim.token())
        );
        say(store, sql).await.map(drop)
    }

    async fn sweep_claims(store: &Store<Self>) -> sqlx::Result<u64> {
        let schema = &store.schema;
        let sql =
            format!("delete from {schema}eos_claim where leased_until < {NOW_MS} - {}", KEPT.as_millis());
        Ok(sqlx::raw_sql(AssertSqlSafe(sql)).execute(&store.pool).await?.rows_affected())
    }
}

async fn say(store: &Store<MySql>, sql: String) -> sqlx::Result<Answers> {
    let mut connection = Lent::by(&store.pool).await?;
    let answers = message(&mut connection, sql).await.map_err(|(_, error)| error)?;
    connection.give_back();
    Ok(answers)
}
