//! Forgetting old ids, a stretch of the key at a time.
//!
//! The inbox has no index on time: it would cost every insert. A step walks the next keys in order, and deletes what
//! is old among them; it writes only where there is something to delete, and then for a few milliseconds.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Row, Sqlite};

use super::{attempt, lock};
use crate::store::dialect::{Store, SweepCursor, Swept};

/// Keys in one step.
const ROWS: usize = 2_000;
/// How long a step may wait for its turn at writing, and then write.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn sweep(
    store: &Store<Sqlite>,
    from: SweepCursor,
    retention: Duration,
) -> sqlx::Result<Swept> {
    let (stream, id) = split(&from);
    let old = format!("seen_at < cast(strftime('%s', 'now') as integer) - {}", retention.as_secs());
    let sql = format!(
        "select stream, message_id, {old} from {}eos_inbox where (stream, message_id) > ({stream}, x'{id}') \
         order by stream, message_id limit {ROWS}",
        store.schema
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&store.pool).await?;
    let Some(last) = rows.last() else { return Ok(Swept { deleted: 0, next: None }) };
    let next = cursor(last.try_get(0)?, last.try_get(1)?);
    let mut deleted = 0;
    if rows.iter().any(|row| row.try_get(2).unwrap_or(false)) {
        let (last_stream, last_id) = split(&next);
        let sql = format!(
            "begin immediate; delete from {}eos_inbox where (stream, message_id) > ({stream}, x'{id}') \
             and (stream, message_id) <= ({last_stream}, x'{last_id}') and {old}; commit",
            store.schema
        );
        let mut tx = attempt::open(store.pool.acquire().await?).await?;
        let (changed, turn) = lock::begin(store, &mut tx, PATIENCE, Some(PATIENCE), &sql).await?;
        drop(turn);
        attempt::close(tx).await?;
        deleted = changed.get(1).copied().unwrap_or(0);
    }
    Ok(Swept { deleted, next: (rows.len() == ROWS).then_some(next) })
}

/// A cursor is the last key that was looked at: the stream's number, then the id's bytes.
fn cursor(stream: i32, id: &[u8]) -> SweepCursor {
    SweepCursor([&stream.to_be_bytes()[..], id].concat())
}

/// The stream and the id in hex, as SQL says them; before all rows where there is no cursor yet.
fn split(cursor: &SweepCursor) -> (i32, String) {
    match cursor.0.split_first_chunk::<4>() {
        Some((stream, id)) => {
            (i32::from_be_bytes(*stream), id.iter().map(|byte| format!("{byte:02x}")).collect())
        }
        None => (i32::MIN, String::new()),
    }
}
