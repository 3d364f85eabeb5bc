//! A relay's statements in a SQLite file. Whatever it writes waits for its turn like the attempts do.

use std::ops::Range;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Database, Row, Sqlite, SqliteConnection};

use super::NOW_MS;
use super::lock::{self, Turn};
use crate::store::outbox::{
    Afterwards, Change, Depth, Lane, Lanes, Look, REFUSED, Refusal, Refused, Sent, Slot, Unfinished, Waiting,
    Words, are_these, listed, relay_dialect, without_arrays,
};
use crate::store::{Store, hex};

const WORDS: Words = Words {
    now_ms: NOW_MS,
    stamp: NOW_MS,
    before: |ms| format!("{NOW_MS} - {ms}"),
    along_the_key: "",
    age_us: "(cast(1000 * (julianday('now') - 2440587.5) * 86400 as integer) - created_at) * 1000",
    text: "text",
    values: ["?", "?", "?", "?"],
    list: None,
    hex_text: |text| format!("cast(x'{}' as text)", hex(text)),
    key_column: "key",
    concatenated: "'outbox.event.' || aggregatetype",
    on_known: "on conflict (id) do update set alive_until =",
};

relay_dialect!(Sqlite, WORDS);
without_arrays!(Sqlite);

fn for_relay(store: &Store<Sqlite>) -> Store<Sqlite> {
    let options = (*store.pool.connect_options()).clone();
    super::connect(options, "", CONNECTIONS)
}

/// For reading and for the one that may write.
const CONNECTIONS: u32 = 3;

/// How long the file may be another's.
const PATIENCE: Duration = Duration::from_secs(30);

async fn begin_sharing(store: &Store<Sqlite>, connection: &mut SqliteConnection) -> sqlx::Result<Turn> {
    let begun = lock::begin(store, connection, PATIENCE, Some(PATIENCE), "begin immediate").await;
    begun.map(|(_, turn)| turn)
}

async fn write(store: &Store<Sqlite>, sql: String) -> sqlx::Result<u64> {
    let mut connection = Unfinished::new(store.pool.acquire().await?);
    let sql = format!("begin immediate; {sql}; commit");
    let (changed, _turn) = lock::begin(store, &mut connection, PATIENCE, Some(PATIENCE), &sql).await?;
    connection.finished();
    Ok(changed.get(1).copied().unwrap_or_default())
}
