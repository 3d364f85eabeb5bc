//! `redis`: an idempotent listener against the loop that one writes by hand: claim the id, run, mark it as done.
//!
//! The handler does nothing, so that what is measured is the dedupe: both have a record's id in Redis twice, by a `SET NX` with
//! a lease and by a mark with a longer life, and store the offset after the mark. The loop by hand has one task a partition,
//! and all of them share a multiplexed connection, as the crate's documentation says. It renews no lease, waits for nobody, and
//! overwrites what another has claimed: what eos does besides has to fit into the same time.

use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ::redis::aio::MultiplexedConnection;
use anyhow::{Context as _, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::message::BorrowedMessage;
use serde_json::{Map, json};

use crate::bed::Bed;
use crate::child::{self, Running, say_done, told_to_stop};
use crate::driver::{self, Case, Sample, Workload};
use crate::eos::{self, Listener};
use crate::handwritten::message_id;
use crate::producer;
use crate::report::Report;

/// `redis`' arguments.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// How many records there are
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(100..))]
    records: u64,
    /// How often each case is run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Ends with one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the loop by hand is told.
#[derive(Debug, clap::Args)]
pub(crate) struct ChildArgs {
    #[arg(long)]
    kafka: String,
    #[arg(long)]
    redis: String,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    partitions: i32,
    #[arg(long)]
    group: String,
    #[arg(long)]
    records: u64,
}

const fn case(who: &'static str, in_flight: u32) -> Case {
    Case { who, variant: "redis", in_flight, dedupe: "message_id", rtt_ms: 0.0 }
}

const EOS: [Case; 2] = [case("eos", 1), case("eos", 4)];
const BY_HAND: [Case; 2] = [case("handwritten", 1), case("handwritten", 4)];

/// Runs the workload.
pub(crate) async fn run(args: &Args, bed: &mut Bed) -> anyhow::Result<Report> {
    // A database that nobody else uses, since it is emptied.
    let server = std::env::var("EOS_TEST_REDIS")
        .context("`EOS_TEST_REDIS` names no Redis: scripts/services env")?
        + "/9";
    let (one, four) = (bed.topic("redis_1", 1).await?, bed.topic("redis_4", 4).await?);
    // One in flight is slower.
    let (few, many) = (args.records * 2 / 5, args.records / 4 * 4);
    producer::orders(&bed.kafka, &one, 1, few).await?;
    producer::orders(&bed.kafka, &four, 4, many).await?;
    let mut ids = Ids { bed, server, topics: [(one, 1, few), (four, 4, many)], runs: 0 };
    let cases = [BY_HAND[0], EOS[0], BY_HAND[1], EOS[1]];
    let results = driver::rounds(&mut ids, &cases, args.rounds).await?;
    let mut settings = Map::new();
    settings.insert("records".to_owned(), json!(args.records));
    settings.insert("rounds".to_owned(), json!(args.rounds));
    settings.insert(
        "cores".to_owned(),
        json!(std::thread::available_parallelism().map_or(0, std::num::NonZero::get)),
    );
    let mut report = Report { workload: "redis", settings, results, ratios: Vec::new(), remarks: Vec::new() };
    report.compare("redis_vs_handwritten_1", &EOS[0], &BY_HAND[0], Some(0.9));
    report.compare("redis_vs_handwritten_4", &EOS[1], &BY_HAND[1], Some(0.9));
    Ok(report)
}

struct Ids<'a> {
    bed: &'a mut Bed,
    server: String,
    /// With one partition, and with four.
    topics: [(String, i32, u64); 2],
    runs: u32,
}

impl Workload for Ids<'_> {
    async fn sample(&mut self, case: &Case) -> anyhow::Result<Sample> {
        self.runs += 1;
        let group = self.bed.unique(&format!("redis_{}", self.runs));
        let (topic, partitions, count) = &self.topics[usize::from(case.in_flight > 1)];
        let records = count.to_string();
        let mut command = child::this_program()?;
        if case.who == "eos" {
            command.args(["eos", "--records", &records]);
            eos::only(Listener::Redis, &mut command, &self.bed.kafka, &group, topic);
            command.env("EOS_REDIS_URL", &self.server);
        } else {
            command.args([
                "redis-by-hand",
                "--kafka",
                &self.bed.kafka,
                "--redis",
                &self.server,
                "--topic",
                topic,
            ]);
            command.args(["--group", &group, "--records", &records, "--partitions", &partitions.to_string()]);
        }
        let mut child = Running::start(case.who, &mut command, Stdio::null())?;
        let microseconds: u64 = child.done().await?.parse().context("a child says how long it took")?;
        let used = child.stop().await?;
        ensure!(microseconds > 0, "nothing takes no time");
        let client = ::redis::Client::open(self.server.as_str())?;
        // What the next run finds is what this one found.
        let mut connection = client.get_multiplexed_async_connection().await?;
        let () = ::redis::cmd("FLUSHDB").query_async(&mut connection).await?;
        Ok(Sample::new((count - 1) as f64 / microseconds as f64 * 1e6, used, *count))
    }
}

/// In the child: how many records are done, and since when.
#[derive(Debug)]
pub(crate) struct Done {
    records: AtomicU64,
    all: AtomicU64,
    began: OnceLock<Instant>,
}

impl Done {
    pub(crate) const fn new() -> Self {
        Done { records: AtomicU64::new(0), all: AtomicU64::new(u64::MAX), began: OnceLock::new() }
    }

    /// Says how many there are, before the first is done.
    pub(crate) fn expect(&self, all: u64) {
        self.all.store(all, Ordering::Relaxed);
    }

    /// One more; the last tells the benchmark how long it took since the first.
    pub(crate) fn one(&self) {
        let began = *self.began.get_or_init(Instant::now);
        if self.records.fetch_add(1, Ordering::Relaxed) + 1 == self.all.load(Ordering::Relaxed) {
            say_done(&began.elapsed().as_micros().to_string());
        }
    }
}

/// The loop to compare with.
pub(crate) async fn by_hand(args: ChildArgs) -> anyhow::Result<()> {
    static DONE: Done = Done::new();
    DONE.expect(args.records);
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", &args.kafka)
        .set("group.id", &args.group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.offset.store", "false")
        .create()?;
    let consumer = Arc::new(consumer);
    let connection = ::redis::Client::open(args.redis.as_str())?.get_multiplexed_async_connection().await?;
    let mut tasks = Vec::new();
    for partition in 0..args.partitions {
        let queue = consumer.split_partition_queue(&args.topic, partition).context("no such partition")?;
        let (consumer, mut connection, group) =
            (Arc::clone(&consumer), connection.clone(), args.group.clone());
        tasks.push(tokio::spawn(async move {
            loop {
                let message = queue.recv().await?;
                apply(&mut connection, &group, &message, &DONE).await?;
                consumer.store_offset_from_message(&message)?;
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

/// Claims, runs and marks one record.
async fn apply(
    connection: &mut MultiplexedConnection,
    group: &str,
    message: &BorrowedMessage<'_>,
    done: &Done,
) -> anyhow::Result<()> {
    let id = message_id(message).context("no message id")?;
    let key = format!("{group}:{id}");
    let mut claim = ::redis::cmd("SET");
    claim.arg(&key).arg("claimed").arg("NX").arg("PX").arg(Duration::from_secs(30).as_millis() as u64);
    let claimed: bool = claim.query_async(connection).await?;
    if claimed {
        done.one();
        let mut mark = ::redis::cmd("SET");
        mark.arg(&key).arg("done").arg("PX").arg(Duration::from_secs(7 * 24 * 3600).as_millis() as u64);
        let () = mark.query_async(connection).await?;
    }
    Ok(())
}
