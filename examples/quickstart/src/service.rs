//! The service: the program that a user of eos writes, run in several processes.
//!
//! Its settings are in the environment, as they would be in a container: `EOS_KAFKA_BOOTSTRAP_SERVERS`,
//! `EOS_KAFKA_GROUP`, `EOS_DATABASE_URL`, and the topic's name as `EOS__APP__TOPIC`.

mod at_least_once;
mod mysql;
mod postgres;

use std::io::Read;
use std::time::Duration;

use eos_runtime::prelude::*;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::database::Home;
use crate::diary::Diary;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OrderPlaced {
    pub(crate) order_no: i64,
    pub(crate) customer: String,
    pub(crate) amount_cents: i64,
}

#[kafka_listener(topic = "${app.topic}", transactional)]
async fn on_order(
    tx: &mut SqliteTx,
    Json(order): Json<OrderPlaced>,
    State(diary): State<Diary>,
) -> HandlerResult {
    diary.note_a_run()?; // for the demonstration, which counts
    sqlx::query("insert into orders (order_no, customer, amount_cents) values (?, ?, ?)")
        .bind(order.order_no)
        .bind(&order.customer)
        .bind(order.amount_cents)
        .execute(&mut *tx)
        .await?;
    more_work().await;
    Ok(())
}

/// What else a handler does. The row is written and not committed: here most of the kills strike.
async fn more_work() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}

/// Runs one of the listeners, until SIGTERM stops it in order or SIGKILL does not.
pub(crate) async fn run(listener: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    die_with_the_demonstration();
    let mut app = eos_runtime::app().state(Diary::from_environment()?).listeners([listener]);
    if listener == Listener::AtLeastOnce.id() {
        app = app.state(at_least_once::pool().await?);
    }
    Ok(app.run().await?)
}

/// Which of the listeners a process runs, since this program has one for each database; yours has those it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    Sqlite,
    Postgres,
    MySql,
    /// Without a transaction, on SQLite.
    AtLeastOnce,
}

impl Listener {
    pub(crate) fn choose(home: &Home, at_least_once: bool) -> Self {
        match home {
            Home::Sqlite(..) if at_least_once => Listener::AtLeastOnce,
            Home::Sqlite(..) => Listener::Sqlite,
            Home::Postgres(..) => Listener::Postgres,
            Home::MySql(..) => Listener::MySql,
        }
    }

    /// The function's path, by which eos knows it.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Listener::Sqlite => "quickstart::service::on_order",
            Listener::Postgres => "quickstart::service::postgres::on_order",
            Listener::MySql => "quickstart::service::mysql::on_order",
            Listener::AtLeastOnce => "quickstart::service::at_least_once::on_order",
        }
    }
}

/// The demonstration holds the other end of our standard input: when it is gone, whyever, nothing of it must remain.
fn die_with_the_demonstration() {
    std::thread::spawn(|| {
        std::io::stdin().read_to_end(&mut Vec::new()).ok();
        std::process::exit(1);
    });
}
