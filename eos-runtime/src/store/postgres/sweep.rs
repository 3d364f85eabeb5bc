//! Forgetting old ids, a few blocks of the table at a time.
//!
//! The inbox has no index on time: it would cost every insert. The sweep walks the table itself by ranges of blocks
//! (a TID range scan, PostgreSQL 14 and later), deletes what is old in them, and comes round again.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Postgres};

use crate::store::dialect::{Store, SweepCursor, Swept};

/// Blocks of 8 KiB in one step: about 25,000 rows, a few milliseconds.
const BLOCKS: i64 = 256;

pub(super) async fn sweep(
    store: &Store<Postgres>,
    from: SweepCursor,
    retention: Duration,
) -> sqlx::Result<Swept> {
    let first = from.0.try_into().map_or(0, i64::from_be_bytes);
    let table = format!("{}eos_inbox", store.schema);
    let size = "select pg_catalog.pg_relation_size(pg_catalog.to_regclass($1)) \
                / pg_catalog.current_setting('block_size')::bigint";
    let blocks: i64 = sqlx::query_scalar(size).bind(&table).fetch_one(&store.pool).await?;
    let end = first + BLOCKS;
    let sql = format!(
        "delete from {table} where ctid >= '({first},0)' and ctid < '({end},0)' \
         and seen_at < now() - {} * interval '1 millisecond'",
        retention.as_millis()
    );
    let deleted = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&store.pool).await?.rows_affected();
    Ok(Swept { deleted, next: (end < blocks).then(|| SweepCursor(end.to_be_bytes().to_vec())) })
}
