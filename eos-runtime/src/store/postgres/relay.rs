//! A relay's statements on PostgreSQL.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt};
use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Database, PgConnection, PgPool, Postgres, Row};
use uuid::Uuid;

use super::outbox::CHANNEL;
use super::run;
use crate::store::outbox::{
    Afterwards, Change, Depth, Lane, Lanes, Look, REFUSED, Refusal, Refused, Sent, Slot, Unfinished, Waiting,
    Words, listed, relay_dialect,
};
use crate::store::{Store, hex};

const WORDS: Words = Words {
    now_ms: "(extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint",
    stamp: "pg_catalog.clock_timestamp()",
    before: |ms| format!("pg_catalog.clock_timestamp() - {ms} * interval '1 millisecond'"),
    // The table is seldom analysed: left alone, the planner takes it for an empty one, and reads and sorts all of it.
    along_the_key: "set local enable_seqscan = off; set local enable_bitmapscan = off; ",
    // By way of a double: a numeric would cost more than all else of the row.
    age_us: "(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - created_at) * 1000000)::bigint",
    text: "text",
    values: ["$1", "$2", "$3", "$4"],
    list: Some("$5::bigint[]"),
    hex_text: |text| format!("pg_catalog.convert_from('\\x{}'::bytea, 'UTF8')", hex(text)),
    key_column: "key",
    concatenated: "'outbox.event.' || aggregatetype",
    on_known: "on conflict (id) do update set alive_until =",
};

relay_dialect!(Postgres, WORDS);

/// Few connections; the order of the numbers is always read from their index, since the table is seldom analysed.
fn for_relay(store: &Store<Postgres>) -> Store<Postgres> {
    let options = (*store.pool.connect_options()).clone().application_name("eos relay");
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(10))
        .after_connect(|connection, _| {
            let settings = "set default_transaction_isolation = 'read committed'; set enable_seqscan = off; \
                            set enable_bitmapscan = off; set idle_in_transaction_session_timeout = '30s'";
            Box::pin(run(connection, settings.to_owned()))
        })
        .connect_lazy_with(options);
    Store::of(pool, Arc::clone(&store.home))
}

/// For reading, deleting, sharing, and listening.
const CONNECTIONS: u32 = 4;

/// The lock is one that readers do not notice, and only one at a time has.
async fn begin_sharing(store: &Store<Postgres>, connection: &mut PgConnection) -> sqlx::Result<()> {
    run(connection, format!("begin; lock table {}eos_lane in share row exclusive mode", store.schema)).await
}

async fn write(store: &Store<Postgres>, sql: String) -> sqlx::Result<u64> {
    Ok(sqlx::raw_sql(AssertSqlSafe(sql)).execute(&store.pool).await?.rows_affected())
}

async fn with_seqs(store: &Store<Postgres>, how: String, and: &str, seqs: &[i64]) -> sqlx::Result<u64> {
    let sql = format!("{how} where seq = any($1){and}");
    Ok(sqlx::query(AssertSqlSafe(sql)).bind(seqs).execute(&store.pool).await?.rows_affected())
}

fn with_taken<'q>(
    query: Query<'q, Postgres, <Postgres as Database>::Arguments>,
    taken: &'q [i64],
) -> Query<'q, Postgres, <Postgres as Database>::Arguments> {
    query.bind(taken)
}

/// What others announce on a connection of its own. While it is lost nothing is heard, so each end of it counts as an
/// announcement, and so does each beginning.
fn announcements(store: &Store<Postgres>) -> impl Stream<Item = ()> + Send + 'static {
    let pool = store.pool.clone();
    futures_util::stream::unfold(None::<PgListener>, move |listener| {
        let pool = pool.clone();
        async move {
            let Some(mut listener) = listener else { return Some(((), Some(listen(&pool).await))) };
            match listener.try_recv().await {
                Ok(_) => Some(((), Some(listener))),
                Err(error) => {
                    tracing::debug!(%error, "announcements of other processes are not heard for a while");
                    Some(((), None))
                }
            }
        }
    })
}

async fn listen(pool: &PgPool) -> PgListener {
    loop {
        let listening = async {
            let mut listener = PgListener::connect_with(pool).await?;
            listener.listen(CHANNEL).await?;
            Ok::<_, sqlx::Error>(listener)
        };
        if let Ok(listener) = listening.await {
            return listener;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// By their numbers, which are in the index, and by their ids. Nothing is left to the planner: after a vacuum under an old
/// snapshot it takes a table of a million dead rows for an empty one, and would join by reading all of it for each batch. A
/// sub-query below `is true` is no join, but a hash that each row that was found is looked up in.
async fn with_entries(store: &Store<Postgres>, how: String, entries: &[Sent]) -> sqlx::Result<u64> {
    let sql = format!(
        "{how} where seq = any($1) and \
         ((seq, id) in (select seq, id from unnest($1::bigint[], $2::uuid[]) e(seq, id))) is true"
    );
    // What was read from a column of ids is one.
    let known = |sent: &Sent| Some((sent.seq, Uuid::try_parse(&sent.id).ok()?));
    let (seqs, ids): (Vec<i64>, Vec<Uuid>) = entries.iter().filter_map(known).unzip();
    Ok(sqlx::query(AssertSqlSafe(sql)).bind(seqs).bind(ids).execute(&store.pool).await?.rows_affected())
}
