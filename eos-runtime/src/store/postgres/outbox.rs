//! The outbox on PostgreSQL: one statement for any number of entries, and NOTIFY to wake relays.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, PgConnection, Pool, Postgres, SqlSafeStr, SqlStr};

use super::attempt::commit_rolled_back;
use super::pool;
use crate::error::BoxError;
use crate::listener::spec::Isolation;
use crate::store::Tx;
use crate::store::dialect::{Dialect as _, Fault, Store};
use crate::store::migrate::Mode;
use crate::store::outbox::{Entry, OutboxDialect};

/// Where relays listen. The payload is empty: they look for themselves.
const CHANNEL: &str = "eos_outbox";

impl OutboxDialect for Postgres {
    const ANNOUNCES: bool = true;

    fn identity(options: &PgConnectOptions) -> String {
        let place = options.get_socket().map_or_else(
            || options.get_host().to_owned(),
            |socket| socket.to_string_lossy().into_owned(),
        );
        let database = options.get_database().unwrap_or(options.get_username());
        format!("postgres://{place}:{}/{database}", options.get_port())
    }

    async fn begin_at(_connection: &mut PgConnection, isolation: Isolation) -> sqlx::Result<SqlStr> {
        let begin = format!("begin isolation level {}", isolation.sql());
        Ok(AssertSqlSafe(begin).into_sql_str())
    }

    async fn prove_alive(tx: &mut Tx<Self>) -> sqlx::Result<()> {
        sqlx::raw_sql("select 1").execute(&mut **tx).await.map(drop)
    }

    fn rolled_back(error: &sqlx::Error) -> bool {
        commit_rolled_back(error)
    }

    fn gave_way(error: &sqlx::Error) -> bool {
        pool::fault(error) == Fault::Transient
    }

    fn ends_transaction(_error: &sqlx::Error) -> bool {
        // It is aborted, and says so to every further statement.
        false
    }

    /// `order by` makes the numbers follow the entries' order.
    async fn write_entries(tx: &mut Tx<Self>, schema: &str, entries: &[Entry]) -> sqlx::Result<()> {
        let sql = format!(
            "insert into {schema}eos_outbox (id, topic, aggregatetype, aggregateid, key, type, payload, headers) \
             select id, topic, topic, aggregateid, key, type, payload, headers from unnest($1::uuid[], $2::text[], \
             $3::text[], $4::bytea[], $5::text[], $6::bytea[], $7::text[]) \
             with ordinality e(id, topic, aggregateid, key, type, payload, headers, n) order by n"
        );
        let aggregate_ids: Vec<_> = entries.iter().map(Entry::aggregate_id).collect();
        sqlx::query(AssertSqlSafe(sql))
            .bind(entries.iter().map(|entry| entry.id).collect::<Vec<_>>())
            .bind(entries.iter().map(|entry| entry.topic.as_str()).collect::<Vec<_>>())
            .bind(aggregate_ids.iter().map(|id| id.as_deref()).collect::<Vec<_>>())
            .bind(entries.iter().map(Entry::binary_key).collect::<Vec<_>>())
            .bind(entries.iter().map(|entry| &*entry.type_name).collect::<Vec<_>>())
            .bind(entries.iter().map(|entry| entry.payload.as_deref()).collect::<Vec<_>>())
            .bind(entries.iter().map(|entry| entry.headers.as_deref()).collect::<Vec<_>>())
            .execute(tx)
            .await
            .map(drop)
    }

    async fn migrate_outbox(pool: &Pool<Self>, schema: &str) -> Result<(), BoxError> {
        let store = Store::new(pool.clone(), schema.to_owned());
        Ok(Self::migrate(&store, Mode::Auto).await?)
    }

    async fn announce(pool: &Pool<Self>) -> sqlx::Result<()> {
        sqlx::query("select pg_catalog.pg_notify($1, '')").bind(CHANNEL).execute(pool).await.map(drop)
    }

    fn usual_schema() -> &'static str {
        "public"
    }

    fn qualified(schema: &str) -> String {
        pool::qualifier(schema)
    }
}
