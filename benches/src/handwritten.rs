//! The loop that a good engineer writes by hand, with the same crates, and tunes.
//!
//! One task a partition, each with a connection that it keeps (nothing is acquired, returned or pinged between two
//! records), statements prepared once, statement logging off, offsets stored after the commit and committed to Kafka
//! in the background. It keeps a table of ids, so a record that comes twice is applied once. It does not keep its
//! position in the database, and nothing fences an earlier owner of a partition.
//!
//! With `--batch` it takes what is queued, up to so many, and writes it by two statements over arrays in one transaction.

use std::collections::HashMap;
use std::str::FromStr as _;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use rdkafka::ClientConfig;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Acquire as _, ConnectOptions as _, PgConnection};

use crate::child::{Work, told_to_stop};
use crate::orders::{ChildArgs, OrderPlaced};

/// What the loop needs in the database.
pub(crate) const TABLES: &str = "create table inbox \
     (message_id text primary key, seen_at timestamptz not null default now())";

static WORK: Work = Work::new();

/// Works until it is told to stop.
pub(crate) async fn run(args: &ChildArgs) -> anyhow::Result<()> {
    WORK.expect(args.records);
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", &args.kafka)
        .set("group.id", &args.group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.offset.store", "false")
        .create()?;
    let consumer = Arc::new(consumer);
    let database = std::env::var("DATABASE_URL").context("DATABASE_URL is not set")?;
    let pool = PgPoolOptions::new()
        .max_connections(args.partitions.cast_unsigned())
        .test_before_acquire(false)
        .connect_with(PgConnectOptions::from_str(&database)?.disable_statement_logging())
        .await?;
    let batch = args.batch;
    let mut tasks = Vec::new();
    for partition in 0..args.partitions {
        let queue = consumer.split_partition_queue(&args.topic, partition).context("no such partition")?;
        let (consumer, pool) = (Arc::clone(&consumer), pool.clone());
        tasks.push(tokio::spawn(async move {
            let mut connection = pool.acquire().await?;
            loop {
                let message = queue.recv().await?;
                if batch < 2 {
                    apply(&mut connection, &message).await?;
                    consumer.store_offset_from_message(&message)?;
                    WORK.one_done();
                    continue;
                }
                let mut messages = vec![message];
                while messages.len() < batch
                    && let Some(message) = queue.recv().now_or_never()
                {
                    messages.push(message?);
                }
                apply_all(&mut connection, &messages).await?;
                if let Some(last) = messages.last() {
                    consumer.store_offset_from_message(last)?;
                }
                WORK.done(messages.len() as u64);
            }
            #[expect(unreachable_code, reason = "says what the task returns")]
            anyhow::Ok(())
        }));
    }
    consumer.subscribe(&[&args.topic])?;
    tokio::select! {
        // Serves the group; every record goes to its partition's queue.
        message = consumer.recv() => anyhow::bail!("nobody reads {message:?}"),
        stopped = told_to_stop() => Ok(stopped?),
        failed = async { for task in tasks { task.await??; } anyhow::Ok(()) } => failed,
    }
}

/// One record, one transaction.
async fn apply(connection: &mut PgConnection, message: &BorrowedMessage<'_>) -> anyhow::Result<()> {
    let order: OrderPlaced = serde_json::from_slice(message.payload().context("no payload")?)?;
    let id = message_id(message).context("no message id")?;
    let mut tx = connection.begin().await?;
    let inserted = sqlx::query("insert into inbox (message_id) values ($1) on conflict do nothing")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    if inserted.rows_affected() == 1 {
        sqlx::query("insert into orders (order_id, customer, amount_cents) values ($1, $2, $3)")
            .bind(order.order_id)
            .bind(&order.customer)
            .bind(order.amount_cents)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Many records, one transaction.
async fn apply_all(connection: &mut PgConnection, messages: &[BorrowedMessage<'_>]) -> anyhow::Result<()> {
    let mut orders = HashMap::with_capacity(messages.len());
    let mut ids = Vec::with_capacity(messages.len());
    for message in messages {
        let id = message_id(message).context("no message id")?;
        let order: OrderPlaced = serde_json::from_slice(message.payload().context("no payload")?)?;
        ids.push(id);
        orders.entry(id).or_insert(order);
    }
    ids.sort_unstable();
    ids.dedup();
    let mut tx = connection.begin().await?;
    let inserted: Vec<String> = sqlx::query_scalar(
        "insert into inbox (message_id) select unnest($1::text[]) on conflict do nothing returning message_id",
    )
    .bind(&ids)
    .fetch_all(&mut *tx)
    .await?;
    let (mut order_ids, mut customers, mut amounts) = (Vec::new(), Vec::new(), Vec::new());
    for order in inserted.iter().filter_map(|id| orders.remove(id.as_str())) {
        order_ids.push(order.order_id);
        customers.push(order.customer);
        amounts.push(order.amount_cents);
    }
    sqlx::query(INSERT_ORDERS).bind(order_ids).bind(customers).bind(amounts).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// One statement for any number of orders.
pub(crate) const INSERT_ORDERS: &str = "insert into orders (order_id, customer, amount_cents) \
     select * from unnest($1::uuid[], $2::text[], $3::bigint[])";

/// What a duplicate is known by.
pub(crate) fn message_id<'a>(message: &'a BorrowedMessage<'_>) -> Option<&'a str> {
    let headers = message.headers()?;
    let header = headers.iter().find(|header| header.key == "message-id")?;
    std::str::from_utf8(header.value?).ok()
}
