//! The claim of many records at once in a SQLite file, which nobody else writes to meanwhile.

use sqlx::{AssertSqlSafe, Row, Sqlite};

use super::attempt::write_begin_position;
use super::{RowId, lock, statements};
use crate::store::dialect::{GroupAnswer, Store, StoreOptions};
use crate::store::{GroupClaim, Hold, Tx, hex_literal};

pub(super) async fn begin(
    store: &Store<Sqlite>,
    tx: &mut Tx<Sqlite>,
    options: StoreOptions,
    hold: &Hold<RowId>,
    claim: GroupClaim<'_>,
) -> sqlx::Result<GroupAnswer<Sqlite>> {
    let (schema, stream) = (&store.schema, hold.stream);
    let mut sql = String::with_capacity(512);
    write_begin_position(&mut sql, store, hold, claim.last);
    let patience = options.patience();
    let (changed, turn) = lock::begin(store, tx, patience, Some(patience), &sql).await?;
    if changed.get(1) != Some(&1) {
        return Ok(GroupAnswer { position: None, seen: Vec::new(), proof: turn });
    }
    let ids = claim.ids.iter().map(|id| hex_literal(id)).collect::<Vec<_>>();
    let look = format!(
        "select message_id from {schema}eos_inbox where stream={stream} and message_id in ({})",
        ids.join(",")
    );
    let seen = sqlx::raw_sql(AssertSqlSafe(look)).fetch_all(&mut **tx).await?;
    let seen = seen.iter().map(|row| row.try_get::<Vec<u8>, _>(0)).collect::<sqlx::Result<Vec<_>>>()?;
    let mut sql = String::with_capacity(64 + 40 * ids.len());
    if !ids.is_empty() {
        let values = ids.iter().map(|id| format!("({stream},{id})")).collect::<Vec<_>>();
        sql = format!(
            "insert into {schema}eos_inbox(stream,message_id) values {} on conflict do nothing;",
            values.join(",")
        );
    }
    sql.push_str("savepoint eos_alive");
    statements(tx, sql).await.map_err(|(_, error)| error)?;
    Ok(GroupAnswer { position: Some(hold.locator), seen, proof: turn })
}
