//! `noop`: a listener that does nothing, against a raw poll loop that does nothing.
//!
//! What is left is the way of a record from librdkafka to the handler. Both count in the same way: a counter for each
//! partition, on a cache line of its own, and two looks at the clock. Which partition it is stands in the payload.

use std::process::Stdio;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use serde_json::{Map, json};

use crate::bed::Bed;
use crate::child::{self, Running, say_done, told_to_stop};
use crate::driver::{self, Case, Sample, Workload};
use crate::eos::{self, Listener};
use crate::producer;
use crate::report::Report;

/// `noop`'s arguments.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// How many records there are, 200 bytes each
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..))]
    records: u64,
    /// How often each case is run
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Ends with one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the raw loop is told.
#[derive(Debug, clap::Args)]
pub(crate) struct RawArgs {
    #[arg(long)]
    kafka: String,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    group: String,
    #[arg(long)]
    records: u64,
    /// Leaves librdkafka's properties as they are
    #[arg(long)]
    defaults: bool,
}

const PARTITIONS: usize = 4;

const EOS: Case = Case { who: "eos", variant: "noop", in_flight: 4, dedupe: "none", rtt_ms: 0.0 };
const RAW: Case = Case { who: "raw", ..EOS };
const RAW_DEFAULTS: Case = Case { variant: "noop_defaults", ..RAW };

/// How eos tunes reading. With librdkafka's defaults a loop that is fast empties the queue, and then the next request
/// for records is put off for a second.
pub(crate) const FETCHING: [(&str, &str); 5] = [
    ("queued.max.messages.kbytes", "1024"),
    ("queued.min.messages", "10000"),
    ("fetch.message.max.bytes", "524288"),
    ("fetch.queue.backoff.ms", "5"),
    ("fetch.wait.max.ms", "200"),
];

/// Runs the workload.
pub(crate) async fn run(args: &Args, bed: &mut Bed) -> anyhow::Result<Report> {
    let records = args.records / PARTITIONS as u64 * PARTITIONS as u64;
    let topic = bed.topic("noop", PARTITIONS as i32).await?;
    producer::blanks(&bed.kafka, &topic, PARTITIONS as i32, records).await?;
    let mut noop = Noop { bed, topic, records, runs: 0 };
    let results = driver::rounds(&mut noop, &[RAW, EOS, RAW_DEFAULTS], args.rounds).await?;
    let mut settings = Map::new();
    let mut set = |name: &str, value| settings.insert(name.to_owned(), value);
    set("records", json!(records));
    set("rounds", json!(args.rounds));
    set("payload_bytes", json!(producer::PAYLOAD_BYTES));
    set("cores", json!(std::thread::available_parallelism().map_or(0, std::num::NonZero::get)));
    set("librdkafka", json!(rdkafka::util::get_rdkafka_version().1));
    let mut report = Report { workload: "noop", settings, results, ratios: Vec::new(), remarks: Vec::new() };
    report.compare("noop_vs_raw", &EOS, &RAW, Some(0.9));
    report.compare("noop_vs_raw_defaults", &EOS, &RAW_DEFAULTS, None);
    Ok(report)
}

struct Noop<'a> {
    bed: &'a mut Bed,
    topic: String,
    records: u64,
    runs: u32,
}

impl Workload for Noop<'_> {
    async fn sample(&mut self, case: &Case) -> anyhow::Result<Sample> {
        self.runs += 1;
        let group = self.bed.unique(&format!("run_{}", self.runs));
        let records = self.records.to_string();
        let mut command = child::this_program()?;
        if *case == EOS {
            command.args(["eos", "--records", &records]);
            eos::only(Listener::Noop, &mut command, &self.bed.kafka, &group, &self.topic);
        } else {
            command.args(["raw", "--kafka", &self.bed.kafka, "--topic", &self.topic]);
            command.args(["--group", &group, "--records", &records]);
            if *case == RAW_DEFAULTS {
                command.arg("--defaults");
            }
        }
        let mut child = Running::start(case.who, &mut command, Stdio::null())?;
        let microseconds: u64 = child.done().await?.parse().context("a child says how long it took")?;
        let used = child.stop().await?;
        ensure!(microseconds > 0, "nothing takes no time");
        Ok(Sample::new((self.records - 1) as f64 / microseconds as f64 * 1e6, used, self.records))
    }
}

/// In the child: how many records each partition has had.
#[derive(Debug)]
pub(crate) struct Seen {
    partitions: [Counter; PARTITIONS],
    finished: AtomicU64,
    each: AtomicU64,
    began: OnceLock<Instant>,
}

#[derive(Debug)]
#[repr(align(128))]
struct Counter(AtomicU64);

impl Seen {
    /// Nothing yet; how much there is to see is said later.
    pub(crate) const fn new() -> Self {
        Seen {
            partitions: [const { Counter(AtomicU64::new(0)) }; PARTITIONS],
            finished: AtomicU64::new(0),
            each: AtomicU64::new(u64::MAX),
            began: OnceLock::new(),
        }
    }

    /// Says how many there are, in all partitions together.
    pub(crate) fn expect(&self, all: u64) {
        self.each.store(all / PARTITIONS as u64, Ordering::Relaxed);
    }

    /// One more, whose payload begins with its partition; the last of all tells the benchmark how long it took since
    /// the first.
    pub(crate) fn one(&self, payload: Option<&[u8]>) {
        let partition = payload.and_then(<[u8]>::first).copied().unwrap_or_default();
        let before = self.partitions[usize::from(partition) % PARTITIONS].0.fetch_add(1, Ordering::Relaxed);
        if before == 0 {
            self.began.get_or_init(Instant::now);
        }
        if before + 1 == self.each.load(Ordering::Relaxed)
            && self.finished.fetch_add(1, Ordering::AcqRel) + 1 == PARTITIONS as u64
        {
            let took = self.began.get().map_or(0, |began| began.elapsed().as_micros());
            say_done(&took.to_string());
        }
    }
}

/// The loop to compare with: polls, looks at the payload's first byte, and polls again. Offsets are stored and committed by
/// librdkafka itself, which is its default and costs the loop nothing.
pub(crate) async fn raw(args: RawArgs) -> anyhow::Result<()> {
    static SEEN: Seen = Seen::new();
    SEEN.expect(args.records);
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &args.kafka)
        .set("group.id", &args.group)
        .set("auto.offset.reset", "earliest");
    if !args.defaults {
        config.extend(FETCHING.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    let consumer: BaseConsumer = config.create()?;
    consumer.subscribe(&[&args.topic])?;
    std::thread::spawn(move || {
        loop {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => SEEN.one(message.payload()),
                Some(Err(error)) => eprintln!("{error}"),
                None => {}
            }
        }
    });
    Ok(told_to_stop().await?)
}
