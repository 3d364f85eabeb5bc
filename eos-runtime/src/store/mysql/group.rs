//! The claim of many records at once on MySQL and MariaDB: one message for the position and a look at the inbox, one for
//! the ids that are new. One that another transaction puts there in between fails the claim.

use sqlx::{MySql, Row};

use super::attempt::{Claimed, write_position};
use super::{RowId, message};
use crate::store::dialect::{GroupAnswer, Store, StoreOptions};
use crate::store::{GroupClaim, Hold, Tx, hex_literal};

pub(super) async fn begin(
    store: &Store<MySql>,
    tx: &mut Tx<MySql>,
    options: StoreOptions,
    hold: &Hold<RowId>,
    claim: GroupClaim<'_>,
) -> sqlx::Result<GroupAnswer<MySql>> {
    let (schema, stream) = (&store.schema, hold.stream);
    let mut sql = String::with_capacity(512 + 40 * claim.ids.len());
    write_position(&mut sql, store, options, hold, claim.last);
    let ids = claim.ids.iter().map(|id| hex_literal(id)).collect::<Vec<_>>();
    if !ids.is_empty() {
        sql.push_str(&format!(
            "select message_id from {schema}eos_inbox where stream={stream} and message_id in ({})",
            ids.join(",")
        ));
    }
    let answers = message(tx, sql).await.map_err(|(_, error)| error)?;
    let ours = answers.results.first().is_some_and(|position| position.rows_affected() == 1);
    let seen = answers.rows.iter().map(|row| row.try_get_unchecked::<Vec<u8>, _>(0));
    let seen = seen.collect::<sqlx::Result<Vec<_>>>()?;
    let proof = Claimed::of(hold, claim.last);
    if !ours {
        return Ok(GroupAnswer { position: None, seen, proof });
    }
    let new = claim.ids.iter().zip(&ids).filter(|(id, _)| !seen.iter().any(|seen| seen == **id));
    let values = new.map(|(_, id)| format!("({stream},{id},unix_timestamp())")).collect::<Vec<_>>();
    let mut sql = String::new();
    if !values.is_empty() {
        sql =
            format!("insert into {schema}eos_inbox(stream,message_id,seen_at) values {};", values.join(","));
    }
    sql.push_str("savepoint eos_alive");
    message(tx, sql).await.map_err(|(_, error)| error)?;
    Ok(GroupAnswer { position: Some(hold.locator), seen, proof })
}
