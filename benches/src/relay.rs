//! `relay`: events that were committed with their rows, on their way to Kafka.
//!
//! | file | what it is about |
//! |---|---|
//! | `drain.rs` | how fast an outbox that is full becomes empty, and what a publisher uses for it |
//! | `latency.rs` | how long after its COMMIT an event is there |
//! | `commits.rs` | what publishing costs those who commit |
//! | `by_hand.rs` | the relay that a good engineer writes with the same crates |
//! | `debezium.rs` | the relay that reads the database's log, on Kafka Connect |
//! | `publishing.rs` | a publisher at work: a child process, or a connector |
//! | `table.rs` | the lines of the table, how they are compared, and what they were to be |

pub(crate) mod by_hand;
pub(crate) mod commits;
mod debezium;
mod drain;
mod latency;
mod publishing;
mod table;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Map, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::Instant;

use crate::bed::{Bed, Database};
use crate::driver::{self, Case, Sample, Workload};
use crate::producer;
use crate::report::Report;

use debezium::Debezium;
use latency::Pace;
use table::{BATCHES, Delivery, Publisher, Task};

/// `relay`'s arguments.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// How eos publishes
    #[arg(long, value_enum, default_value = "both")]
    delivery: Deliveries,
    /// Entries that a drain begins with, 200 bytes each
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    entries: u32,
    /// Transactions of a run that counts commits
    #[arg(long, default_value_t = 16_000, value_parser = clap::value_parser!(u32).range(100..))]
    commits: u32,
    /// How long the delay of events is measured, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// How often each case is run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Also measures another publisher, which has to be up or is started
    #[arg(long, value_enum, value_delimiter = ',')]
    with: Vec<With>,
    /// Only these questions
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Question>,
    /// Ends with one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum Deliveries {
    AtLeastOnce,
    ExactlyOnce,
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum With {
    Debezium,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Question {
    Drain,
    Latency,
    Commits,
}

/// A topic's partitions.
const PARTITIONS: i32 = 4;
/// How many keys the entries of a drain have.
const KEYS: u32 = 1_000;
/// Runs the workload.
pub(crate) async fn run(args: &Args, bed: &mut Bed) -> anyhow::Result<Report> {
    let tasks = args.tasks();
    ensure!(!tasks.is_empty(), "these arguments leave no case");
    let mut relay = Relay::prepare(args, bed, &tasks).await?;
    let cases: Vec<Case> = tasks.iter().map(|task| task.case()).collect();
    let results = driver::rounds(&mut relay, &cases, args.rounds).await?;
    let settings = relay.settings().await?;
    let mut report = Report { workload: "relay", settings, results, ratios: Vec::new(), remarks: Vec::new() };
    table::compare(&mut report);
    report.remarks = table::remarks(&report, &relay.commit_ms);
    Ok(report)
}

impl Args {
    fn tasks(&self) -> Vec<Task> {
        let mut publishers: Vec<Publisher> = match self.delivery {
            Deliveries::AtLeastOnce => vec![Publisher::Eos(Delivery::AtLeastOnce)],
            Deliveries::ExactlyOnce => vec![Publisher::Eos(Delivery::ExactlyOnce)],
            Deliveries::Both => [Delivery::AtLeastOnce, Delivery::ExactlyOnce].map(Publisher::Eos).to_vec(),
        };
        publishers.extend(self.with.iter().map(|With::Debezium| Publisher::Debezium));
        let asked = |question| self.only.is_empty() || self.only.contains(&question);
        let mut tasks = Vec::new();
        if asked(Question::Drain) {
            tasks.extend(BATCHES.map(|batch| Task::Drain(Publisher::ByHand(batch))));
            tasks.extend(publishers.iter().copied().map(Task::Drain));
        }
        if asked(Question::Latency) {
            for pace in [Pace::Busy, Pace::Idle] {
                tasks.extend(publishers.iter().map(|publisher| Task::Latency(*publisher, pace)));
            }
        }
        if asked(Question::Commits) {
            tasks.extend(commits::WRITERS.map(Task::Commits));
        }
        tasks
    }
}

/// The workload with all that its runs share.
struct Relay<'a> {
    args: &'a Args,
    tasks: &'a [Task],
    bed: &'a mut Bed,
    /// With the tables of eos, of the hand-written relay, and of the writers.
    database: Database,
    debezium: Option<Debezium>,
    /// What a commit took in the last run of each case that measured delays.
    commit_ms: Vec<(Case, f64)>,
    runs: u32,
}

impl<'a> Relay<'a> {
    async fn prepare(args: &'a Args, bed: &'a mut Bed, tasks: &'a [Task]) -> anyhow::Result<Self> {
        let mut database = bed.database("relay").await?;
        tables_of_eos(&database).await?;
        database.execute(by_hand::TABLE).await?;
        database.execute(commits::TABLE).await?;
        // What its relay makes for markers.
        let id: uuid::Uuid =
            sqlx::query_scalar("select id from eos_identity").fetch_one(&mut database.connection).await?;
        bed.will_be_made(format!("eos.outbox.{}", id.simple()));
        let debezium =
            if args.with.contains(&With::Debezium) { Some(Debezium::prepare(bed).await?) } else { None };
        let mut relay = Relay { args, tasks, bed, database, debezium, commit_ms: Vec::new(), runs: 0 };
        if relay.debezium.is_some() {
            // Its virtual machine compiles while it works.
            drain::sample(&mut relay, Publisher::Debezium).await.context("Debezium's warm-up")?;
        }
        Ok(relay)
    }

    /// A topic for one run.
    async fn topic(&mut self) -> anyhow::Result<String> {
        self.runs += 1;
        self.bed.topic(&format!("relay_{}", self.runs), PARTITIONS).await
    }

    /// Where a publisher's events stand.
    fn database_of(&mut self, publisher: Publisher) -> anyhow::Result<&mut Database> {
        match publisher {
            Publisher::Eos(_) | Publisher::ByHand(_) => Ok(&mut self.database),
            Publisher::Debezium => {
                let debezium = self.debezium.as_mut().context("Debezium was not asked for")?;
                Ok(&mut debezium.database)
            }
        }
    }

    async fn settings(&mut self) -> anyhow::Result<Map<String, serde_json::Value>> {
        let args = self.args;
        let mut settings = Map::new();
        let mut set = |name: &str, value: serde_json::Value| settings.insert(name.to_owned(), value);
        set("entries", json!(args.entries));
        set("keys", json!(KEYS));
        set("partitions", json!(PARTITIONS));
        set("payload_bytes", json!(producer::PAYLOAD_BYTES));
        set("commits", json!(args.commits));
        set("seconds", json!(args.seconds));
        set("rounds", json!(args.rounds));
        set("cores", json!(std::thread::available_parallelism().map_or(0, std::num::NonZero::get)));
        set("librdkafka", json!(rdkafka::util::get_rdkafka_version().1));
        for name in ["server_version", "fsync", "synchronous_commit", "shared_buffers", "wal_level"] {
            set(&format!("postgres_{name}"), json!(self.database.setting(name).await?));
        }
        Ok(settings)
    }
}

impl Workload for Relay<'_> {
    async fn sample(&mut self, case: &Case) -> anyhow::Result<Sample> {
        let task = self.tasks.iter().copied().find(|task| task.case() == *case).context("no such case")?;
        let sampling = async {
            match task {
                Task::Drain(publisher) => drain::sample(self, publisher).await,
                Task::Latency(publisher, pace) => latency::sample(self, publisher, pace).await,
                Task::Commits(writer) => commits::sample(self, writer).await,
            }
        };
        sampling.await.with_context(|| format!("{}/{}", case.who, case.variant))
    }
}

/// Makes the tables of eos.
async fn tables_of_eos(database: &Database) -> anyhow::Result<()> {
    let pool = pool(&database.options, 1).await?;
    eos_runtime::migrate(&pool)
        .await
        .map_err(anyhow::Error::from_boxed)
        .context("the tables of eos are not made")?;
    pool.close().await;
    Ok(())
}

/// Connections, all of them made.
async fn pool(options: &PgConnectOptions, connections: u32) -> anyhow::Result<PgPool> {
    let pool = PgPoolOptions::new()
        .min_connections(connections)
        .max_connections(connections)
        .test_before_acquire(false);
    Ok(pool.connect_with(options.clone()).await?)
}

/// Waits until a table has no row.
async fn until_empty(database: &mut Database, table: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let sql = format!("select exists(select from {table})");
    while sqlx::query_scalar(AssertSqlSafe(sql.clone())).fetch_one(&mut database.connection).await? {
        ensure!(Instant::now() < deadline, "everything is published, and `{table}` does not become empty");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
