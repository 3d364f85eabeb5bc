//! Forgetting old ids, a stretch of the key at a time.
//!
//! The inbox has no index on time: it would cost every insert. A step walks the next keys of one stream without a
//! lock, and then deletes those that are old by their keys alone, so that it never waits for an id in flight.

use std::time::Duration;

use sqlx::{AssertSqlSafe, MySql, Row};

use crate::store::dialect::{Store, SweepCursor, Swept};
use crate::store::hex_literal;

/// Keys in one step.
const ROWS: usize = 2_000;

pub(super) async fn sweep(
    store: &Store<MySql>,
    from: SweepCursor,
    retention: Duration,
) -> sqlx::Result<Swept> {
    let inbox = format!("{}eos_inbox", store.schema);
    let (stream, id) = match from.0.split_first_chunk::<4>() {
        Some((stream, id)) => (i32::from_be_bytes(*stream), Some(id)),
        None => (i32::MIN, None),
    };
    let old = format!("seen_at < unix_timestamp() - {}", retention.as_secs());
    let after = id.map_or_else(String::new, |id| format!("and message_id > {}", hex_literal(id)));
    let sql = format!(
        "select message_id, {old} from {inbox} where stream = {stream} {after} order by message_id limit {ROWS}"
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&store.pool).await?;
    let rows = rows
        .iter()
        .map(|row| Ok((row.try_get_unchecked(0)?, row.try_get_unchecked(1)?)))
        .collect::<sqlx::Result<Vec<(Vec<u8>, bool)>>>()?;

    let overdue: Vec<_> = rows.iter().filter(|(_, old)| *old).map(|(id, _)| hex_literal(id)).collect();
    let mut deleted = 0;
    if !overdue.is_empty() {
        let sql = format!(
            "delete from {inbox} where stream = {stream} and message_id in ({}) and {old}",
            overdue.join(",")
        );
        deleted = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&store.pool).await?.rows_affected();
    }
    let next = match rows.last() {
        Some((last, _)) if rows.len() == ROWS => Some(cursor(stream, last)),
        Some(_) | None => next_stream(store, stream).await?,
    };
    Ok(Swept { deleted, next })
}

/// A cursor is the last key that was looked at: the stream's number, then the id's bytes.
fn cursor(stream: i32, id: &[u8]) -> SweepCursor {
    SweepCursor([&stream.to_be_bytes()[..], id].concat())
}

/// The beginning of the next stream. The empty id comes before all others; `>` would leave it out, so the cursor of
/// a new stream is the one before it.
async fn next_stream(store: &Store<MySql>, stream: i32) -> sqlx::Result<Option<SweepCursor>> {
    let sql = format!("select min(id) from {}eos_stream where id > ?", store.schema);
    let next: Option<i32> =
        sqlx::query_scalar(AssertSqlSafe(sql)).bind(stream).fetch_one(&store.pool).await?;
    Ok(next.map(|next| SweepCursor(next.to_be_bytes().to_vec())))
}
