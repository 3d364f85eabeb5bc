//! `k2k`: a record is read, changed a little, and written to another topic, exactly once.
//!
//! | file | what it is about |
//! |---|---|
//! | `by_hand.rs` | the loop that a good engineer writes with the same crates |
//! | `streams.rs` | Kafka Streams, in a virtual machine of its own |
//! | `check.rs` | whether each record's output is there, once and in order |
//!
//! A run reads a topic that is full from its beginning, in a group of its own, and writes to a topic of its own. It is
//! measured by a reader of what is committed, which is the same for all: the first quarter is for starting and warming up,
//! and the rate is that of the other three. Whatever its rate, a run counts only if its outputs pass the check.

pub(crate) mod by_hand;
mod check;
mod streams;

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, bail};
use rdkafka::message::BorrowedMessage;
use serde_json::{Map, json};
use tokio::process::Command;

use crate::bed::Bed;
use crate::child::{self, Running};
use crate::driver::{self, Case, Sample, Workload};
use crate::eos::{self, Listener};
use crate::producer;
use crate::report::Report;
use crate::watch::Watch;

/// `k2k`'s arguments.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// How many records there are, 200 bytes each [default: 1500000, or 2000 one by one]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1_000..))]
    records: Option<u64>,
    /// A transaction a record, in place of one each 100 ms
    #[arg(long)]
    one_by_one: bool,
    /// How often each case is run
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Also measures these
    #[arg(long, value_enum, value_delimiter = ',')]
    with: Vec<With>,
    /// Ends with one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum With {
    /// Kafka Streams, built by Maven
    Streams,
    /// The hand-written loop that leaves waiting to rdkafka's `commit_transaction`
    Flush,
}

const PARTITIONS: i32 = 4;
const INTERVAL_MS: u32 = 100;
/// What Spring Kafka reaches with a transaction a record on such a machine.
const SPRING_ONE_BY_ONE: f64 = 100.0;

/// Outputs have no header: `message_id = "off"`.
const EOS: Case = Case { who: "eos", variant: "commit_100ms", in_flight: 4, dedupe: "none", rtt_ms: 0.0 };
/// Each has an id that is the same whenever its record is handled, as is the default.
const EOS_IDS: Case = Case { variant: "commit_100ms_ids", ..EOS };
const BY_HAND: Case = Case { who: "handwritten", ..EOS };
const BY_HAND_FLUSH: Case = Case { variant: "commit_100ms_flush", ..BY_HAND };
const BY_HAND_IDS: Case = Case { who: BY_HAND.who, ..EOS_IDS };
const STREAMS: Case = Case { who: "streams", ..EOS };
/// One transaction is open at a time, as there is one member of the group.
const EOS_ONE_BY_ONE: Case = Case { variant: "one_by_one", in_flight: 1, ..EOS };
/// `concurrency = 4`: a member, and so a transaction, for each partition.
const EOS_ONE_BY_ONE_IN_FOUR: Case = Case { in_flight: 4, ..EOS_ONE_BY_ONE };
const BY_HAND_ONE_BY_ONE: Case = Case { who: BY_HAND.who, ..EOS_ONE_BY_ONE };

/// Runs the workload.
pub(crate) async fn run(args: &Args, bed: &mut Bed) -> anyhow::Result<Report> {
    let mut cases = if args.one_by_one {
        vec![BY_HAND_ONE_BY_ONE, EOS_ONE_BY_ONE, EOS_ONE_BY_ONE_IN_FOUR]
    } else {
        vec![BY_HAND, EOS, BY_HAND_IDS, EOS_IDS]
    };
    if args.with.contains(&With::Streams) {
        if args.one_by_one {
            bail!("Kafka Streams commits by time only; leave out `--one-by-one`, or `--with streams`");
        }
        streams::build().await?;
        cases.push(STREAMS);
    }
    if args.with.contains(&With::Flush) && !args.one_by_one {
        cases.push(BY_HAND_FLUSH);
    }
    let records = args.records.unwrap_or(if args.one_by_one { 2_000 } else { 1_500_000 });
    let topic = bed.topic("k2k", PARTITIONS).await?;
    producer::numbered(&bed.kafka, &topic, PARTITIONS, records).await?;
    let mut k2k = K2k { bed, topic, records, runs: 0 };
    let results = driver::rounds(&mut k2k, &cases, args.rounds).await?;
    let settings = settings(args, records);
    let mut report = Report { workload: "k2k", settings, results, ratios: Vec::new(), remarks: Vec::new() };
    report.compare("k2k_vs_handwritten", &EOS, &BY_HAND, Some(0.9));
    report.compare("k2k_vs_handwritten_flush", &EOS, &BY_HAND_FLUSH, None);
    report.compare("k2k_ids_vs_handwritten_ids", &EOS_IDS, &BY_HAND_IDS, Some(0.9));
    report.compare("k2k_ids_vs_handwritten", &EOS_IDS, &BY_HAND, None);
    report.compare("k2k_vs_streams", &EOS, &STREAMS, Some(1.0));
    report.compare("k2k_ids_vs_streams", &EOS_IDS, &STREAMS, Some(1.0));
    report.compare("k2k_one_by_one_vs_handwritten", &EOS_ONE_BY_ONE, &BY_HAND_ONE_BY_ONE, None);
    report.remarks = remarks(&report);
    Ok(report)
}

fn settings(args: &Args, records: u64) -> Map<String, serde_json::Value> {
    let mut settings = Map::new();
    let mut set = |name: &str, value| settings.insert(name.to_owned(), value);
    set("records", json!(records));
    set("rounds", json!(args.rounds));
    set("partitions", json!(PARTITIONS));
    set("payload_bytes", json!(producer::PAYLOAD_BYTES));
    set("commit", if args.one_by_one { json!("each record") } else { json!(format!("{INTERVAL_MS} ms")) });
    set("cores", json!(std::thread::available_parallelism().map_or(0, std::num::NonZero::get)));
    set("librdkafka", json!(rdkafka::util::get_rdkafka_version().1));
    if args.with.contains(&With::Streams) {
        set("kafka_streams", json!(streams::VERSION));
    }
    settings
}

fn remarks(report: &Report) -> Vec<String> {
    let mut remarks = vec![
        "each run's outputs were checked: each once to a reader of what is committed, in order for each key; the rate is \
         that of the last three quarters, as they arrive at such a reader in the benchmark's own process"
            .to_owned(),
    ];
    let one_by_one = [EOS_ONE_BY_ONE, EOS_ONE_BY_ONE_IN_FOUR];
    for eos in report.results.iter().filter(|measured| one_by_one.contains(&measured.case)) {
        let times = eos.per_s.median / SPRING_ONE_BY_ONE;
        let outcome = if times >= 3.0 { "reached" } else { "NOT reached" };
        remarks.push(format!(
            "{}: {times:.1} times Spring Kafka's {SPRING_ONE_BY_ONE} transactions a second, at least 3: {outcome}",
            eos.case
        ));
    }
    remarks
}

struct K2k<'a> {
    bed: &'a mut Bed,
    topic: String,
    records: u64,
    runs: u32,
}

impl K2k<'_> {
    /// What runs a case, in this group and to this topic.
    fn command(&self, case: &Case, group: &str, out: &str) -> anyhow::Result<Command> {
        if *case == STREAMS {
            return streams::command(&self.bed.kafka, group, &self.topic, out);
        }
        let mut command = child::this_program()?;
        if case.who == EOS.who {
            let listener = match *case {
                EOS => Listener::K2kWithoutIds,
                EOS_IDS => Listener::K2k,
                _ => Listener::K2kOneByOne,
            };
            command.arg("eos");
            eos::only(listener, &mut command, &self.bed.kafka, group, &self.topic).env("EOS__APP__OUT", out);
            if *case == EOS_ONE_BY_ONE_IN_FOUR {
                command.env("EOS__LISTENERS__K2K_ONE_BY_ONE__CONCURRENCY", "4");
            }
            return Ok(command);
        }
        command.args(["k2k-by-hand", "--kafka", &self.bed.kafka, "--group", group]);
        command.args(["--topic", &self.topic, "--out", out]);
        if *case == BY_HAND_ONE_BY_ONE {
            command.arg("--one-by-one");
        }
        if *case == BY_HAND_IDS {
            command.arg("--ids");
        }
        if *case == BY_HAND_FLUSH {
            command.arg("--flush");
        }
        Ok(command)
    }
}

impl Workload for K2k<'_> {
    async fn sample(&mut self, case: &Case) -> anyhow::Result<Sample> {
        self.runs += 1;
        let group = self.bed.unique(&format!("k2k_group_{}", self.runs));
        let out = self.bed.topic(&format!("k2k_out_{}", self.runs), PARTITIONS).await?;
        let watch = Watch::start(&self.bed.kafka, &out, PARTITIONS, timing(self.records))?;
        let mut command = self.command(case, &group, &out)?;
        let mut child = Running::start(case.who, &mut command, Stdio::null())?;
        let per_s = tokio::select! {
            per_s = watch.outcome() => per_s?,
            ended = child.done() => bail!("{case}: it does not say that it is done, but {ended:?}"),
        };
        let used = child.stop().await?;
        check::once_and_in_order(&self.bed.kafka, &out, self.records)
            .await
            .with_context(|| format!("{case} is wrong"))?;
        Ok(Sample::new(per_s, used, self.records))
    }
}

/// Sees so many records; how many a second they were after the first quarter.
fn timing(records: u64) -> impl FnMut(&BorrowedMessage<'_>) -> Option<f64> + Send + 'static {
    let first = records / 4;
    let (mut seen, mut began) = (0, None);
    move |_message| {
        seen += 1;
        if seen == first {
            began = Some(Instant::now());
        }
        let measured = (records - first) as f64;
        began.filter(|_| seen == records).map(|began| measured / began.elapsed().as_secs_f64())
    }
}

/// What is done to a payload, by all alike.
pub(crate) fn transformed(payload: &[u8]) -> Vec<u8> {
    payload.to_ascii_uppercase()
}
