//! A service whose handlers do what the record tells them to, well or badly. Its table has no unique key, so that a
//! second application would show; and each handler tells a file that it began, also if it is rolled back.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each match is about a few ways to behave, and not about the others"
)]

use std::path::Path;
use std::time::Duration;

use eos_runtime::Batch;
use eos_runtime::prelude::*;
use eos_tests::{Order, What, tell};
use sqlx::{Connection as _, Executor as _};

#[kafka_listener(topic = "${app.topic}", transactional)]
async fn postgres(tx: &mut PgTx, Json(order): Json<Order>, meta: RecordMeta) -> HandlerResult {
    on_postgres(tx, &order, &meta).await
}

#[kafka_listener(topic = "${app.topic}", transactional(group_commit = 50))]
async fn postgres_in_groups(tx: &mut PgTx, Json(order): Json<Order>, meta: RecordMeta) -> HandlerResult {
    on_postgres(tx, &order, &meta).await
}

async fn on_postgres(tx: &mut PgTx, order: &Order, meta: &RecordMeta) -> HandlerResult {
    begins(meta);
    sqlx::query("insert into public.applied (order_id, part, off, pid) values ($1, $2, $3, $4)")
        .bind(order.order_id.to_string())
        .bind(meta.partition)
        .bind(meta.offset)
        .bind(pid())
        .execute(&mut *tx)
        .await?;
    behaves(order, meta).await?;
    misbehaves(tx, order, meta).await?;
    ends(meta);
    Ok(())
}

#[kafka_listener(topic = "${app.topic}", transactional)]
async fn mariadb(tx: &mut MySqlTx, Json(order): Json<Order>, meta: RecordMeta) -> HandlerResult {
    on_mariadb(tx, &order, &meta).await
}

#[kafka_listener(topic = "${app.topic}", transactional(group_commit = 50))]
async fn mariadb_in_groups(tx: &mut MySqlTx, Json(order): Json<Order>, meta: RecordMeta) -> HandlerResult {
    on_mariadb(tx, &order, &meta).await
}

async fn on_mariadb(tx: &mut MySqlTx, order: &Order, meta: &RecordMeta) -> HandlerResult {
    begins(meta);
    sqlx::query("insert into applied (order_id, part, off, pid) values (?, ?, ?, ?)")
        .bind(order.order_id.to_string())
        .bind(meta.partition)
        .bind(meta.offset)
        .bind(pid())
        .execute(&mut *tx)
        .await?;
    behaves(order, meta).await?;
    ends(meta);
    Ok(())
}

#[kafka_listener(topic = "${app.topic}", transactional)]
async fn sqlite(tx: &mut SqliteTx, Json(order): Json<Order>, meta: RecordMeta) -> HandlerResult {
    on_sqlite(tx, &order, &meta).await
}

#[kafka_listener(topic = "${app.topic}", transactional(group_commit = 50))]
async fn sqlite_in_groups(tx: &mut SqliteTx, Json(order): Json<Order>, meta: RecordMeta) -> HandlerResult {
    on_sqlite(tx, &order, &meta).await
}

async fn on_sqlite(tx: &mut SqliteTx, order: &Order, meta: &RecordMeta) -> HandlerResult {
    begins(meta);
    sqlx::query("insert into applied (order_id, part, off, pid) values (?, ?, ?, ?)")
        .bind(order.order_id.to_string())
        .bind(meta.partition)
        .bind(meta.offset)
        .bind(pid())
        .execute(&mut *tx)
        .await?;
    behaves(order, meta).await?;
    ends(meta);
    Ok(())
}

/// Many orders at once; those who misbehave do so for all.
#[kafka_listener(topic = "${app.topic}", transactional, max_batch = 50)]
async fn batches(tx: &mut PgTx, orders: Batch<(RecordMeta, Json<Order>)>) -> HandlerResult {
    orders.iter().for_each(|(meta, _)| begins(meta));
    let ids: Vec<String> = orders.iter().map(|(_, Json(order))| order.order_id.to_string()).collect();
    let (parts, offsets): (Vec<i32>, Vec<i64>) =
        orders.iter().map(|(meta, _)| (meta.partition, meta.offset)).unzip();
    sqlx::query(
        "insert into public.applied (order_id, part, off, pid) \
         select *, $4::bigint from unnest($1::text[], $2::int[], $3::bigint[])",
    )
    .bind(ids)
    .bind(parts)
    .bind(offsets)
    .bind(pid())
    .execute(&mut *tx)
    .await?;
    for (meta, Json(order)) in &orders {
        behaves(order, meta).await?;
    }
    orders.iter().for_each(|(meta, _)| ends(meta));
    Ok(())
}

/// The same, which waits for more.
#[kafka_listener(topic = "${app.topic}", transactional, max_batch = 50, max_wait = "2s")]
async fn patient_batches(tx: &mut PgTx, orders: Batch<(RecordMeta, Json<Order>)>) -> HandlerResult {
    batches(tx, orders).await
}

/// Keeps what it was given, byte for byte.
#[kafka_listener(topic = "${app.topic}", transactional)]
async fn keeper(
    tx: &mut PgTx,
    record: &Record,
    meta: RecordMeta,
    headers: Headers,
    id: Option<MessageId>,
) -> HandlerResult {
    let (names, values): (Vec<Vec<u8>>, Vec<Option<Vec<u8>>>) =
        headers.iter().map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec))).unzip();
    sqlx::query("insert into kept (part, off, key, payload, names, header_values, id) values ($1, $2, $3, $4, $5, $6, $7)")
        .bind(meta.partition)
        .bind(meta.offset)
        .bind(record.key())
        .bind(record.payload())
        .bind(names)
        .bind(values)
        .bind(id.map(|id| id.as_bytes().to_vec()))
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// A plain one: tells and does nothing else.
#[kafka_listener(topic = "${app.topic}")]
async fn plain(_record: &Record, meta: RecordMeta) -> HandlerResult {
    begins(&meta);
    tokio::task::yield_now().await;
    ends(&meta);
    Ok(())
}

/// A plain one that does what it is told, and tells what it has done.
#[kafka_listener(topic = "${app.topic}")]
async fn plain_orders(Json(order): Json<Order>, meta: RecordMeta) -> HandlerResult {
    begins(&meta);
    behaves(&order, &meta).await?;
    ends(&meta);
    Ok(())
}

/// One that is told at most once.
#[kafka_listener(topic = "${app.topic}", at_most_once(commit_records = 20))]
async fn hints(Json(order): Json<Order>, meta: RecordMeta) -> HandlerResult {
    begins(&meta);
    behaves(&order, &meta).await?;
    ends(&meta);
    Ok(())
}

/// Its effect is not in a database: it is what it tells at its end.
#[kafka_listener(topic = "${app.topic}", idempotent(redis, ttl = "1h", lease = "2s"))]
async fn idempotent(Json(order): Json<Order>, meta: RecordMeta) -> HandlerResult {
    on_idempotent(&order, &meta).await
}

/// The same, which goes on while Redis is down.
#[kafka_listener(topic = "${app.topic}", idempotent(redis, lease = "2s", on_outage = "process"))]
async fn idempotent_always(Json(order): Json<Order>, meta: RecordMeta) -> HandlerResult {
    on_idempotent(&order, &meta).await
}

/// Those that remember in the scene's database.
#[kafka_listener(topic = "${app.topic}", idempotent(database, lease = "2s"))]
async fn remembering(Json(order): Json<Order>, meta: RecordMeta) -> HandlerResult {
    on_idempotent(&order, &meta).await
}

#[kafka_listener(
    topic = "${app.topic}",
    idempotent(database = "default", lease = "2s", on_outage = "process")
)]
async fn remembering_always(Json(order): Json<Order>, meta: RecordMeta) -> HandlerResult {
    on_idempotent(&order, &meta).await
}

/// Those that know a duplicate by something else.
#[kafka_listener(topic = "${app.topic}", idempotent(redis, id = "position", lease = "2s"))]
async fn idempotent_by_position(Json(order): Json<Order>, meta: RecordMeta) -> HandlerResult {
    on_idempotent(&order, &meta).await
}

#[kafka_listener(topic = "${app.topic}", idempotent(redis, id = "key", lease = "2s"))]
async fn idempotent_by_key(Json(order): Json<Order>, meta: RecordMeta) -> HandlerResult {
    on_idempotent(&order, &meta).await
}

#[kafka_listener(topic = "${app.topic}", idempotent(redis, id = field("order_id"), lease = "2s"))]
async fn idempotent_by_field(Json(order): Json<Order>, meta: RecordMeta) -> HandlerResult {
    on_idempotent(&order, &meta).await
}

#[kafka_listener(topic = "${app.topic}", idempotent(redis, id = header("message-id"), lease = "2s"))]
async fn idempotent_by_header(Json(order): Json<Order>, meta: RecordMeta) -> HandlerResult {
    on_idempotent(&order, &meta).await
}

async fn on_idempotent(order: &Order, meta: &RecordMeta) -> HandlerResult {
    begins(meta);
    tokio::task::yield_now().await;
    behaves(order, meta).await?;
    ends(meta);
    Ok(())
}

/// Sixteen keys of a partition side by side; each order takes as long as its id says, up to 20 ms.
#[kafka_listener(topic = "${app.topic}", concurrency_per_partition = 16)]
async fn parallel(Json(order): Json<Order>, meta: RecordMeta) -> HandlerResult {
    on_parallel(&order, &meta).await
}

/// The same, where a duplicate is not handled again.
#[kafka_listener(topic = "${app.topic}", idempotent(redis, lease = "2s"), concurrency_per_partition = 16)]
async fn parallel_idempotent(Json(order): Json<Order>, meta: RecordMeta) -> HandlerResult {
    on_parallel(&order, &meta).await
}

async fn on_parallel(order: &Order, meta: &RecordMeta) -> HandlerResult {
    begins(meta);
    tokio::time::sleep(Duration::from_millis(u64::from(order.order_id.as_bytes()[1] % 20))).await;
    behaves(order, meta).await?;
    ends(meta);
    Ok(())
}

/// The table, and a topic as well.
#[kafka_listener(topic = "${app.topic}", transactional, dead_letter = topic("${app.topic}-dead"))]
async fn told_twice(tx: &mut PgTx, Json(order): Json<Order>, meta: RecordMeta) -> HandlerResult {
    on_postgres(tx, &order, &meta).await
}

/// From Kafka to Kafka: each order goes on, with where it came from.
#[kafka_listener(topic = "${app.topic}", exactly_once, retry(backoff = "20ms", max_backoff = "100ms"))]
async fn kafka(
    out: &mut KafkaTx,
    Json(order): Json<Order>,
    record: &Record,
    meta: RecordMeta,
) -> HandlerResult {
    begins(&meta);
    let passed =
        serde_json::json!({ "order_id": order.order_id, "part": meta.partition, "off": meta.offset });
    out.send_to("${app.topic}.out", record.key(), passed.to_string(), Headers::default()).await?;
    if order.what == What::TooLarge {
        out.send_to("${app.topic}.out", record.key(), "x".repeat(200_000), Headers::default()).await?;
    }
    behaves(&order, &meta).await?;
    ends(&meta);
    Ok(())
}

/// What it makes of an order.
#[derive(Event, Serialize, Deserialize)]
#[event(topic = "${app.topic}.out", key = customer)]
struct Passed {
    customer: String,
    order_id: Uuid,
    part: i32,
    off: i64,
}

/// The same, by what it returns, and without ids.
#[kafka_listener(
    topic = "${app.topic}",
    exactly_once(commit_records = 1, message_id = "off"),
    to = "${app.topic}.out"
)]
async fn kafka_one_by_one(
    Json(order): Json<Order>,
    meta: RecordMeta,
) -> Result<Option<Passed>, HandlerError> {
    begins(&meta);
    behaves(&order, &meta).await?;
    ends(&meta);
    let is_passed = order.what != What::Hold;
    let passed =
        Passed { customer: order.customer, order_id: order.order_id, part: meta.partition, off: meta.offset };
    Ok(is_passed.then_some(passed))
}

/// What any database's handler can do.
async fn behaves(order: &Order, meta: &RecordMeta) -> HandlerResult {
    if std::env::var_os("SINK_FIXED").is_some() {
        return Ok(());
    }
    match order.what {
        What::Hold => hold().await,
        What::Slow => tokio::time::sleep(Duration::from_millis(333)).await,
        What::Dawdle => tokio::time::sleep(order.time()).await,
        What::FailTwice if meta.attempt <= 2 => return Err("not yet".into()),
        What::FailSome if meta.attempt <= order.failures() => return Err("not yet".into()),
        What::FailWhileClosed if is_closed() => return Err("the gate is closed".into()),
        What::DoubtWhileClosed if meta.attempt == 1 => return Err("not yet".into()),
        What::FailAlways => return Err("never yet".into()),
        What::Outage if is_closed() => {
            return Err(HandlerError::outage("the payment service answers 503"));
        }
        What::Kill => std::process::abort(),
        What::KillLate => {
            tokio::time::sleep(Duration::from_millis(200)).await;
            std::process::abort();
        }
        What::PanicAlways => panic!("no such customer, ever"),
        What::Fatal => return Err(HandlerError::fatal("this order can never be served")),
        What::Panic if meta.attempt == 1 => panic!("no such customer"),
        What::Block if meta.attempt == 1 => std::thread::sleep(Duration::from_secs(3)),
        What::Oversleep if meta.attempt == 1 => tokio::time::sleep(Duration::from_secs(3600)).await,
        _ => {}
    }
    Ok(())
}

/// What PostgreSQL's handler does to its transaction.
async fn misbehaves(tx: &mut PgTx, order: &Order, meta: &RecordMeta) -> HandlerResult {
    if std::env::var_os("SINK_FIXED").is_some() {
        return Ok(());
    }
    match order.what {
        What::SwallowTwice if meta.attempt <= 2 => {
            drop(sqlx::query("select 1 / 0").execute(&mut *tx).await);
        }
        What::MoveSearchPath => {
            sqlx::query("set search_path = decoy").execute(&mut *tx).await?;
        }
        What::CommitOnce if meta.attempt == 1 => {
            sqlx::query("commit").execute(&mut *tx).await?;
        }
        What::MeetWhileClosed if is_closed() => {
            sqlx::query("do $$ begin raise exception 'they met' using errcode = '40001'; end $$")
                .execute(&mut *tx)
                .await?;
        }
        What::DoubtWhileClosed if is_closed() => {
            let own: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *tx).await?;
            let mut other = sqlx::PgConnection::connect(&variable("EOS_DATABASE_URL")).await?;
            sqlx::query("select pg_terminate_backend($1)").bind(own).execute(&mut other).await?;
        }
        What::CommitPastTheGuard => {
            (**tx).execute("commit").await?;
            sqlx::query("insert into public.strays (order_id) values ($1)")
                .bind(order.order_id.to_string())
                .execute(&mut *tx)
                .await?;
        }
        What::RollbackPastTheGuard => {
            (**tx).execute("rollback").await?;
        }
        What::OversleepInTheDatabase if meta.attempt == 1 => {
            sqlx::query("select pg_sleep(3600)").execute(&mut *tx).await?;
        }
        _ => {}
    }
    Ok(())
}

fn is_closed() -> bool {
    Path::new(&variable("SINK_GATE")).exists()
}

/// Waits while the gate is closed.
async fn hold() {
    while is_closed() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn begins(meta: &RecordMeta) {
    tell(Path::new(&variable("SINK_TOLD")), "begin", meta.partition, meta.offset);
}

fn ends(meta: &RecordMeta) {
    tell(Path::new(&variable("SINK_TOLD")), "end", meta.partition, meta.offset);
}

fn pid() -> i64 {
    std::process::id().into()
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("the test sets {name}"))
}

#[tokio::main]
async fn main() -> eos_runtime::Result<()> {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let listener = format!("sinks::{}", variable("SINK_LISTENER"));
    eos_runtime::app().listeners([listener]).run().await
}
