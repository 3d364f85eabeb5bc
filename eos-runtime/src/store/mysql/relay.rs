//! A relay's statements on MySQL and MariaDB.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Database, MySql, MySqlConnection, Row};

use super::run;
use crate::store::outbox::{
    Afterwards, Change, Depth, Lane, Lanes, Look, REFUSED, Refusal, Refused, Sent, Slot, Unfinished, Waiting,
    Words, are_these, listed, relay_dialect, without_arrays,
};
use crate::store::{Store, hex};

const WORDS: Words = Words {
    now_ms: "cast(unix_timestamp(now(3)) * 1000 as signed)",
    stamp: "cast(unix_timestamp(now(3)) * 1000 as signed)",
    before: |ms| format!("cast(unix_timestamp(now(3)) * 1000 as signed) - {ms}"),
    along_the_key: "",
    age_us: "cast(timestampdiff(microsecond, created_at, current_timestamp(6)) as signed)",
    text: "char",
    values: ["?", "?", "?", "?"],
    list: None,
    hex_text: |text| format!("convert(x'{}' using utf8mb4)", hex(text)),
    key_column: "`key`",
    concatenated: "concat('outbox.event.', aggregatetype)",
    on_known: "on duplicate key update alive_until =",
};

relay_dialect!(MySql, WORDS);
without_arrays!(MySql);

fn for_relay(store: &Store<MySql>) -> Store<MySql> {
    let options = (*store.pool.connect_options()).clone();
    let pool = MySqlPoolOptions::new()
        .max_connections(CONNECTIONS)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(10))
        .after_connect(|connection, _| {
            Box::pin(run(connection, "set session transaction isolation level read committed"))
        })
        .connect_lazy_with(options);
    Store::of(pool, Arc::clone(&store.home))
}

/// For reading, deleting, sharing, and one to spare.
const CONNECTIONS: u32 = 4;

/// The row of this database's own id is what everybody locks; it never changes.
async fn begin_sharing(store: &Store<MySql>, connection: &mut MySqlConnection) -> sqlx::Result<()> {
    let lock = format!("select one from {}eos_identity where one = 1 for update", store.schema);
    run(connection, format!("start transaction; {lock}")).await
}

async fn write(store: &Store<MySql>, sql: String) -> sqlx::Result<u64> {
    Ok(sqlx::raw_sql(AssertSqlSafe(sql)).execute(&store.pool).await?.rows_affected())
}
