//! The same work under eos, as a user writes it. Which listener runs is a setting; see [`only`].

use std::time::Duration;

use eos_runtime::Batch;
use eos_runtime::prelude::*;
use tokio::process::Command;

use crate::child::Work;
use crate::handwritten;
use crate::k2k;
use crate::noop::Seen;
use crate::orders::OrderPlaced;
use crate::redis::Done;

const ORDERS: &str = "orders";
const ORDERS_BY_POSITION: &str = "orders_by_position";
const ORDERS_IN_GROUPS: &str = "orders_in_groups";
const ORDERS_IN_BATCHES: &str = "orders_in_batches";
const ORDERS_THAT_WAIT: &str = "orders_that_wait";
const NOOP: &str = "noop";
const REDIS: &str = "redis";
const K2K: &str = "k2k";
const K2K_WITHOUT_IDS: &str = "k2k_without_ids";
const K2K_ONE_BY_ONE: &str = "k2k_one_by_one";
const ALL: [&str; 10] = [
    ORDERS,
    ORDERS_BY_POSITION,
    ORDERS_IN_GROUPS,
    ORDERS_IN_BATCHES,
    ORDERS_THAT_WAIT,
    NOOP,
    REDIS,
    K2K,
    K2K_WITHOUT_IDS,
    K2K_ONE_BY_ONE,
];

static WORK: Work = Work::new();
static SEEN: Seen = Seen::new();
static DONE: Done = Done::new();

/// What a child of this kind is told; the rest is in eos's own settings.
#[derive(Debug, clap::Args)]
pub(crate) struct ChildArgs {
    /// When so many are handled, the benchmark is told; one whose outcome is elsewhere tells nothing
    #[arg(long, default_value_t = u64::MAX)]
    records: u64,
}

#[kafka_listener(id = "orders", topic = "${app.topic}", transactional)]
async fn on_order(tx: &mut PgTx, Json(order): Json<OrderPlaced>) -> HandlerResult {
    insert(tx, order).await
}

#[kafka_listener(id = "orders_by_position", topic = "${app.topic}", transactional(dedupe = "position"))]
async fn on_order_by_position(tx: &mut PgTx, Json(order): Json<OrderPlaced>) -> HandlerResult {
    insert(tx, order).await
}

#[kafka_listener(id = "orders_in_groups", topic = "${app.topic}", transactional(group_commit = 100))]
async fn on_order_in_a_group(tx: &mut PgTx, Json(order): Json<OrderPlaced>) -> HandlerResult {
    insert(tx, order).await
}

#[kafka_listener(id = "orders_in_batches", topic = "${app.topic}", transactional, max_batch = 500)]
async fn on_orders(tx: &mut PgTx, orders: Batch<Json<OrderPlaced>>) -> HandlerResult {
    let (mut ids, mut customers, mut amounts) = (Vec::new(), Vec::new(), Vec::new());
    let count = orders.len() as u64;
    for Json(order) in orders {
        ids.push(order.order_id);
        customers.push(order.customer);
        amounts.push(order.amount_cents);
    }
    sqlx::query(handwritten::INSERT_ORDERS).bind(ids).bind(customers).bind(amounts).execute(&mut *tx).await?;
    WORK.done(count);
    Ok(())
}

/// As one does that asks another service.
#[kafka_listener(id = "orders_that_wait", topic = "${app.topic}", transactional)]
async fn on_order_that_waits(tx: &mut PgTx, Json(order): Json<OrderPlaced>) -> HandlerResult {
    tokio::time::sleep(Duration::from_millis(5)).await;
    insert(tx, order).await
}

async fn insert(tx: &mut PgTx, order: OrderPlaced) -> HandlerResult {
    sqlx::query("insert into orders (order_id, customer, amount_cents) values ($1, $2, $3)")
        .bind(order.order_id)
        .bind(&order.customer)
        .bind(order.amount_cents)
        .execute(&mut *tx)
        .await?;
    WORK.one_done();
    Ok(())
}

#[kafka_listener(id = "noop", topic = "${app.topic}")]
#[expect(clippy::unused_async, reason = "a listener is async, and this one does nothing")]
async fn nothing(record: &Record) -> HandlerResult {
    SEEN.one(record.payload());
    Ok(())
}

#[kafka_listener(id = "redis", topic = "${app.topic}", idempotent(redis))]
#[expect(clippy::unused_async, reason = "a listener is async, and this one does nothing")]
async fn nothing_twice(_: &Record) -> HandlerResult {
    DONE.one();
    Ok(())
}

#[kafka_listener(id = "k2k", topic = "${app.topic}", exactly_once)]
async fn pass_on(out: &mut KafkaTx, record: &Record) -> HandlerResult {
    pass(out, record).await
}

#[kafka_listener(id = "k2k_without_ids", topic = "${app.topic}", exactly_once(message_id = "off"))]
async fn pass_on_without_ids(out: &mut KafkaTx, record: &Record) -> HandlerResult {
    pass(out, record).await
}

#[kafka_listener(id = "k2k_one_by_one", topic = "${app.topic}", exactly_once(commit_records = 1))]
async fn pass_on_one_by_one(out: &mut KafkaTx, record: &Record) -> HandlerResult {
    pass(out, record).await
}

async fn pass(out: &mut KafkaTx, record: &Record) -> HandlerResult {
    out.send_to("${app.out}", record.key(), record.payload().map(k2k::transformed), Headers::default()).await
}

/// Runs until it is told to stop.
pub(crate) async fn run(args: &ChildArgs) -> anyhow::Result<()> {
    WORK.expect(args.records);
    SEEN.expect(args.records);
    DONE.expect(args.records);
    Ok(eos_runtime::run().await?)
}

/// Settings by which a child runs one of the listeners.
pub(crate) fn only<'c>(
    listener: Listener,
    command: &'c mut Command,
    kafka: &str,
    group: &str,
    topic: &str,
) -> &'c mut Command {
    let id = match listener {
        Listener::Orders => ORDERS,
        Listener::OrdersByPosition => ORDERS_BY_POSITION,
        Listener::OrdersInGroups => ORDERS_IN_GROUPS,
        Listener::OrdersInBatches => ORDERS_IN_BATCHES,
        Listener::OrdersThatWait => ORDERS_THAT_WAIT,
        Listener::Noop => NOOP,
        Listener::Redis => REDIS,
        Listener::K2k => K2K,
        Listener::K2kWithoutIds => K2K_WITHOUT_IDS,
        Listener::K2kOneByOne => K2K_ONE_BY_ONE,
    };
    for other in ALL.iter().filter(|other| **other != id) {
        command.env(format!("EOS__LISTENERS__{}__ENABLED", other.to_uppercase()), "false");
    }
    command
        .env("EOS_KAFKA_BOOTSTRAP_SERVERS", kafka)
        .env("EOS_KAFKA_GROUP", group)
        .env("EOS__APP__TOPIC", topic)
        .env("EOS__APP__OUT", "nowhere")
        .env("RUST_LOG", "warn")
}

/// One of this file's listeners.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Listener {
    Orders,
    OrdersByPosition,
    OrdersInGroups,
    OrdersInBatches,
    OrdersThatWait,
    Noop,
    Redis,
    /// What they write goes to `EOS__APP__OUT`.
    K2k,
    K2kWithoutIds,
    K2kOneByOne,
}
