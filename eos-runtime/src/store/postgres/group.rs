//! The claim of many records at once on PostgreSQL: one message, whatever their number.

use std::fmt::Write as _;

use sqlx::{Postgres, Row};

use super::attempt::{after_claim, begin_words, message};
use super::{Ctid, Xid};
use crate::store::dialect::{GroupAnswer, StoreOptions};
use crate::store::{GroupClaim, Hold, Tx};

pub(super) async fn begin(
    tx: &mut Tx<Postgres>,
    options: StoreOptions,
    hold: &Hold<Ctid>,
    claim: GroupClaim<'_>,
) -> sqlx::Result<GroupAnswer<Postgres>> {
    let row = message(tx, statement(options, hold, claim)).await.map_err(|(_, error)| error)?;
    // BEGIN has no row.
    let Some(row) = row else {
        return Ok(GroupAnswer { position: None, seen: Vec::new(), proof: Xid(0) });
    };
    let number: &str = row.try_get_unchecked(1)?;
    let number = number.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    let seen = row.try_get_unchecked::<Option<&str>, _>(2)?.unwrap_or_default();
    let seen = seen.split(',').filter(|id| !id.is_empty()).map(bytes).collect::<Option<_>>();
    let seen = seen.ok_or_else(|| sqlx::Error::Decode("an id that is not in hex".into()))?;
    let position = hold.locator.moved_to(Ctid::parse(row.try_get_unchecked(0)?)?);
    tx.watch(number);
    Ok(GroupAnswer { position: Some(position), seen, proof: Xid(number) })
}

#[expect(clippy::expect_used, reason = "writing to a String cannot fail")]
fn statement(options: StoreOptions, hold: &Hold<Ctid>, claim: GroupClaim<'_>) -> String {
    let last = claim.last;
    let mut sql = String::with_capacity(256 + 40 * claim.ids.len());
    write!(
        sql,
        "{}execute eos_claim_group('{}','{}','{}','{}','{}','{}','{}','{{",
        begin_words(options.isolation),
        hold.locator,
        hold.token.as_hyphenated(),
        hold.next_offset,
        last.offset,
        last.timestamp_ms,
        last.checksum,
        hold.stream,
    )
    .expect("to a String");
    for (at, id) in claim.ids.iter().enumerate() {
        sql.push_str(if at == 0 { r#""\\x"# } else { r#","\\x"# });
        for byte in *id {
            write!(sql, "{byte:02x}").expect("to a String");
        }
        sql.push('"');
    }
    sql.push_str("}')");
    sql.push_str(after_claim(options.isolation));
    sql
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = (0..hex.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}
