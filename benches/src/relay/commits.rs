//! What publishing costs those who commit.
//!
//! Eight clients in one process, each on a connection of the pool: a transaction with one order; the same with one event
//! that is published with it; the same with a row that is written by hand into a plain table. Then with a relay beside them.

use std::process::Stdio;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use clap::ValueEnum;
use eos_runtime::prelude::*;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection, PgPool};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::publishing::Publishing;
use super::table::{Delivery, Publisher};
use super::{Relay, by_hand, pool};
use crate::child::{self, Running, say_done, told_to_stop};
use crate::driver::{Case, Sample};

/// What the writers write to besides.
pub(super) const TABLE: &str = "create table orders (\
     order_id uuid primary key, customer text not null, amount_cents bigint not null)";

/// Who commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    Plain,
    Eos,
    /// With a relay that publishes meanwhile.
    EosRelayed,
    ByHand,
}

pub(super) const WRITERS: [Writer; 4] = [Writer::Plain, Writer::Eos, Writer::ByHand, Writer::EosRelayed];

const CLIENTS: u32 = 8;
/// Transactions of each client that do not count: statements are prepared.
const WARM_UP: u32 = 20;

/// What a child of writers is told; the database's address is in `DATABASE_URL`, the topic in `EOS__APP__TOPIC`.
#[derive(Debug, clap::Args)]
pub(crate) struct ChildArgs {
    #[arg(long, value_enum)]
    event: How,
    #[arg(long)]
    clients: u32,
    /// How many transactions they commit together
    #[arg(long)]
    commits: u32,
}

/// Where a transaction's event goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum How {
    Nowhere,
    Published,
    Inserted,
}

#[derive(Debug, Event, Serialize, Deserialize)]
#[event(topic = "${app.topic}", key = order_id)]
struct OrderPlaced {
    order_id: Uuid,
    customer: String,
    amount_cents: i64,
    note: String,
}

impl Writer {
    pub(super) fn case(self) -> Case {
        let (who, variant) = match self {
            Writer::Plain => ("plain", "commits"),
            Writer::Eos => ("eos", "commits"),
            Writer::EosRelayed => ("eos", "commits_relayed"),
            Writer::ByHand => ("handwritten", "commits"),
        };
        Case { who, variant, in_flight: CLIENTS, dedupe: "none", rtt_ms: 0.0 }
    }
}

/// One run.
pub(super) async fn sample(relay: &mut Relay<'_>, writer: Writer) -> anyhow::Result<Sample> {
    let topic = relay.topic().await?;
    relay.database.execute(format!("truncate orders, eos_outbox, {}", by_hand::OUTBOX)).await?;
    let how = match writer {
        Writer::Plain => "nowhere",
        Writer::Eos | Writer::EosRelayed => "published",
        Writer::ByHand => "inserted",
    };
    let commits = relay.args.commits / CLIENTS * CLIENTS;
    let mut command = child::this_program()?;
    command.args(["writers", "--event", how, "--clients", &CLIENTS.to_string()]);
    command.args(["--commits", &commits.to_string()]);
    command.env("DATABASE_URL", relay.database.url(None)).env("EOS__APP__TOPIC", &topic);
    let publishing = match writer {
        Writer::Plain | Writer::Eos | Writer::ByHand => None,
        Writer::EosRelayed => Some(Publishing::start(relay, Publisher::Eos(Delivery::AtLeastOnce)).await?),
    };
    let mut writers = Running::start("the writers", &mut command, Stdio::null())?;
    let microseconds: u64 = writers.done().await?.parse().context("the writers say how long it took")?;
    let used = writers.stop().await?;
    if let Some(publishing) = publishing {
        publishing.stop().await?;
    }
    Ok(Sample::new(f64::from(commits) / microseconds as f64 * 1e6, used, commits.into()))
}

/// In the child: commits, says how long it took, and waits to be stopped.
pub(crate) async fn run(args: &ChildArgs) -> anyhow::Result<()> {
    // Listens from here on: it may be stopped as soon as it has said that it is done.
    let stopped = tokio::spawn(told_to_stop());
    let database = std::env::var("DATABASE_URL").context("DATABASE_URL is not set")?;
    let topic = std::env::var("EOS__APP__TOPIC").context("EOS__APP__TOPIC is not set")?;
    let options = PgConnectOptions::from_str(&database)?.disable_statement_logging();
    // One more than there are clients: eos says to relays elsewhere that something was committed.
    let pool = pool(&options, args.clients + 1).await?;
    let barrier = Arc::new(Barrier::new(args.clients as usize + 1));
    let mut clients = JoinSet::new();
    for _ in 0..args.clients {
        let (pool, topic, barrier) = (pool.clone(), topic.clone(), Arc::clone(&barrier));
        let (how, count) = (args.event, args.commits / args.clients);
        clients.spawn(async move {
            for _ in 0..WARM_UP {
                transaction(&pool, how, &topic).await?;
            }
            barrier.wait().await;
            for _ in 0..count {
                transaction(&pool, how, &topic).await?;
            }
            anyhow::Ok(())
        });
    }
    let began = tokio::select! {
        _ = barrier.wait() => Instant::now(),
        // A client that fails never comes to the barrier.
        Some(failed) = clients.join_next() => { failed??; Instant::now() }
    };
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    say_done(&began.elapsed().as_micros().to_string());
    stopped.await??;
    pool.close().await;
    Ok(())
}

async fn transaction(pool: &PgPool, how: How, topic: &str) -> anyhow::Result<()> {
    let placed = OrderPlaced {
        order_id: Uuid::new_v4(),
        customer: "customer-004711".to_owned(),
        amount_cents: 990,
        note: ".".repeat(75),
    };
    match how {
        How::Published => {
            let mut tx = eos_runtime::begin(pool).await?;
            insert(&mut tx, &placed).await?;
            tx.publish(&placed).await?;
            tx.commit().await?;
        }
        How::Inserted => {
            let mut tx = pool.begin().await?;
            insert(&mut tx, &placed).await?;
            let sql = "insert into outbox (topic, key, type, payload) values ($1, $2, 'OrderPlaced', $3)";
            let insert = sqlx::query(sql).bind(topic).bind(placed.order_id.to_string());
            insert.bind(serde_json::to_vec(&placed)?).execute(&mut *tx).await?;
            tx.commit().await?;
        }
        How::Nowhere => {
            let mut tx = pool.begin().await?;
            insert(&mut tx, &placed).await?;
            tx.commit().await?;
        }
    }
    Ok(())
}

async fn insert(connection: &mut PgConnection, order: &OrderPlaced) -> sqlx::Result<()> {
    sqlx::query("insert into orders (order_id, customer, amount_cents) values ($1, $2, $3)")
        .bind(order.order_id)
        .bind(&order.customer)
        .bind(order.amount_cents)
        .execute(connection)
        .await
        .map(drop)
}
