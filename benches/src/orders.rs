//! `orders`: each record is one transaction with one inbox row and one order row.
//!
//! Every implementation finds the same records in Kafka and writes to tables that are made anew for each run. How fast
//! it was is read from the rows that it wrote, for all in the same way: the database stamps each row as it is
//! inserted, and the rate is what lies between the first stamp and the last. Nothing is asked of the database while
//! a run lasts.

mod full_inbox;
mod held_snapshot;

use std::net::ToSocketAddrs as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, json};
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use uuid::Uuid;

use crate::bed::{Bed, Database};
use crate::child::{self, Running};
use crate::driver::{self, Case, Sample, Workload};
use crate::eos::Listener;
use crate::pgbench::Pgbench;
use crate::proxy::Proxy;
use crate::report::Report;
use crate::stats::{Spread, rounded};
use crate::{eos, handwritten, producer};

use full_inbox::FullInboxes;

/// What a record says, as every implementation reads it.
#[derive(Debug, Deserialize)]
pub(crate) struct OrderPlaced {
    pub(crate) order_id: Uuid,
    pub(crate) customer: String,
    pub(crate) amount_cents: i64,
}

/// `orders`' arguments.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// How many records a transaction has: one, as many as are queued (`group`: the handler sees one at a time; `batch`: it
    /// sees all of them); `slots`: one, in 16 slots of a single partition, where the handler waits for 5 ms
    #[arg(long, value_enum, default_value_t = Mode::Record)]
    mode: Mode,
    /// Records of a run with four in flight; runs with one in flight or a longer round trip take 2/5 of them, and those
    /// of groups and batches five times as many; those that wait a twentieth
    #[arg(long, default_value_t = 40_000, value_parser = clap::value_parser!(u64).range(100..))]
    records: u64,
    /// How often each case is run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// What a round trip to the database costs in the runs through a delaying proxy; 0 leaves them out
    #[arg(long, default_value = "0.5ms", value_parser = milliseconds)]
    rtt: Duration,
    /// Also measures with so many ids in the inbox already (a minute for ten million, and 3 GB of disk)
    #[arg(long, default_value_t = 0)]
    inbox_rows: u64,
    /// Also measures with a snapshot held open on the database for a minute (three minutes more)
    #[arg(long)]
    held_snapshot: bool,
    /// Only these: implementations, or single cases by the names that are shown meanwhile (`eos,handwritten/record_4`)
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Ends with one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the hand-written loop is told; the database's address is in `DATABASE_URL`.
#[derive(Debug, clap::Args)]
pub(crate) struct ChildArgs {
    #[arg(long)]
    pub(crate) kafka: String,
    #[arg(long)]
    pub(crate) topic: String,
    #[arg(long)]
    pub(crate) partitions: i32,
    #[arg(long)]
    pub(crate) group: String,
    /// When so many are done, the benchmark is told
    #[arg(long)]
    pub(crate) records: u64,
    /// So many records at most in one transaction
    #[arg(long, default_value_t = 1)]
    pub(crate) batch: usize,
}

/// `--mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    Record,
    Group,
    Batch,
    Slots,
}

/// A batch's most, for both.
const BATCH: &str = "500";

pub(crate) const EOS: &str = "eos";
pub(crate) const HANDWRITTEN: &str = "handwritten";
const PGBENCH: &str = "pgbench";
const RECORD: &str = "record";
const GROUP: &str = "group";
const SET: &str = "batch";
const WAITS: &str = "waits";
const SLOTS: &str = "waits_16_slots";
const MESSAGE_ID: &str = "message_id";
const POSITION: &str = "position";

const fn case(who: &'static str, variant: &'static str, in_flight: u32) -> Case {
    Case { who, variant, in_flight, dedupe: MESSAGE_ID, rtt_ms: 0.0 }
}

/// Runs the workload.
pub(crate) async fn run(args: &Args, bed: &mut Bed) -> anyhow::Result<Report> {
    let mut orders = Orders::prepare(args, bed).await?;
    let cases = args.cases();
    ensure!(!cases.is_empty(), "these arguments leave no case");
    let results = driver::rounds(&mut orders, &cases, args.rounds).await?;
    let settings = orders.settings().await?;
    let remarks = orders.remarks();
    let mut report = Report { workload: "orders", settings, results, ratios: Vec::new(), remarks };
    if args.held_snapshot {
        held_snapshot::measure(&mut orders, &mut report).await?;
    }
    args.compare(&mut report);
    Ok(report)
}

impl Args {
    fn cases(&self) -> Vec<Case> {
        let mut cases = match self.mode {
            Mode::Record => self.cases_by_record(),
            Mode::Group => vec![case(HANDWRITTEN, RECORD, 4), case(EOS, GROUP, 4)],
            Mode::Slots => vec![case(EOS, WAITS, 1), case(EOS, SLOTS, 1)],
            Mode::Batch => vec![case(HANDWRITTEN, RECORD, 4), case(HANDWRITTEN, SET, 4), case(EOS, SET, 4)],
        };
        let wanted =
            |case: &Case| self.only.iter().any(|only| *only == case.who || *only == case.to_string());
        cases.retain(|case| self.only.is_empty() || wanted(case));
        cases
    }

    fn cases_by_record(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for in_flight in [1, 4] {
            cases.extend([HANDWRITTEN, EOS, PGBENCH].map(|who| case(who, RECORD, in_flight)));
        }
        cases.push(Case { dedupe: POSITION, ..case(EOS, RECORD, 4) });
        if self.rtt > Duration::ZERO {
            cases.extend([HANDWRITTEN, EOS].map(|who| self.far_away(case(who, RECORD, 4))));
        }
        if self.inbox_rows > 0 {
            cases.extend([HANDWRITTEN, EOS].map(|who| case(who, full_inbox::VARIANT, 4)));
        }
        cases
    }

    fn far_away(&self, case: Case) -> Case {
        Case { rtt_ms: self.rtt.as_secs_f64() * 1e3, ..case }
    }

    fn compare(&self, report: &mut Report) {
        let eos = |in_flight| case(EOS, RECORD, in_flight);
        let hand = |in_flight| case(HANDWRITTEN, RECORD, in_flight);
        let by_position = Case { dedupe: POSITION, ..eos(4) };
        report.compare("record_1_vs_handwritten", &eos(1), &hand(1), Some(1.25));
        report.compare("record_4_vs_handwritten", &eos(4), &hand(4), Some(1.0));
        report.compare("record_4_position_vs_handwritten", &by_position, &hand(4), Some(1.15));
        let (eos_far, hand_far) = (self.far_away(eos(4)), self.far_away(hand(4)));
        if self.rtt > Duration::ZERO {
            report.compare("record_4_rtt_vs_handwritten", &eos_far, &hand_far, Some(1.6));
        }
        report.compare("record_1_vs_pgbench", &eos(1), &case(PGBENCH, RECORD, 1), None);
        report.compare("record_4_vs_pgbench", &eos(4), &case(PGBENCH, RECORD, 4), None);
        report.compare("group_4_vs_handwritten_record", &case(EOS, GROUP, 4), &hand(4), Some(4.0));
        report.compare("batch_4_vs_handwritten_record", &case(EOS, SET, 4), &hand(4), None);
        report.compare("batch_4_vs_handwritten", &case(EOS, SET, 4), &case(HANDWRITTEN, SET, 4), Some(0.8));
        report.compare("slots_16_vs_one_at_a_time", &case(EOS, SLOTS, 1), &case(EOS, WAITS, 1), Some(10.0));
        full_inbox::compare(report);
        held_snapshot::compare(report);
    }

    /// How many records a run of this case has.
    fn records_of(&self, case: &Case) -> u64 {
        let records = if case.variant == GROUP || case.variant == SET {
            self.records * 5
        } else if case.variant == WAITS || case.variant == SLOTS {
            self.records / 20
        } else if case.in_flight == 1 || case.rtt_ms > 0.0 {
            self.records * 2 / 5
        } else {
            self.records
        };
        records / 4 * 4
    }
}

/// The workload with all that its runs share.
struct Orders<'a> {
    args: &'a Args,
    bed: &'a mut Bed,
    database: Database,
    /// By case: the same records for every implementation.
    topics: Vec<(Topic, String)>,
    full_inboxes: FullInboxes,
    proxy: Option<Proxy>,
    pgbench: Option<Pgbench>,
    /// Measured round trips in ms: directly and through the proxy.
    round_trip_ms: Option<(f64, f64)>,
    /// How many round trips a record took, by implementation, in the runs through the proxy.
    round_trips: Vec<(&'static str, f64)>,
    runs: u32,
}

/// What distinguishes the topics of two cases.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Topic {
    partitions: i32,
    records: u64,
}

impl<'a> Orders<'a> {
    async fn prepare(args: &'a Args, bed: &'a mut Bed) -> anyhow::Result<Self> {
        let cases = args.cases();
        let pgbench = cases.iter().any(|case| case.who == PGBENCH).then(Pgbench::find).transpose()?;
        let database = bed.database("orders").await?;
        let proxy = if cases.iter().any(|case| case.rtt_ms > 0.0) {
            let options = &database.options;
            let mut addresses = (options.get_host(), options.get_port()).to_socket_addrs()?;
            let upstream = addresses.next().context("PostgreSQL's host has no address")?;
            Some(Proxy::start(upstream, args.rtt)?)
        } else {
            None
        };
        let round_trip_ms = match &proxy {
            Some(proxy) => {
                let far = proxy.address();
                let far = database.options.clone().host(&far.ip().to_string()).port(far.port());
                Some((round_trip_ms(&database.options).await?, round_trip_ms(&far).await?))
            }
            None => None,
        };
        Ok(Orders {
            args,
            bed,
            database,
            topics: Vec::new(),
            full_inboxes: FullInboxes::default(),
            proxy,
            pgbench,
            round_trip_ms,
            round_trips: Vec::new(),
            runs: 0,
        })
    }

    /// The topic with so many records in so many partitions, filled at the first use.
    async fn topic(&mut self, wanted: Topic) -> anyhow::Result<String> {
        if let Some((_, name)) = self.topics.iter().find(|(topic, _)| *topic == wanted) {
            return Ok(name.clone());
        }
        let Topic { partitions, records } = wanted;
        let name = self.bed.topic(&format!("orders_{}", self.topics.len()), partitions).await?;
        producer::orders(&self.bed.kafka, &name, partitions, records).await?;
        self.topics.push((wanted, name.clone()));
        Ok(name)
    }

    /// Starts the implementation of a case; its group is a new one unless it is given.
    fn start(
        &mut self,
        case: &Case,
        topic: &str,
        group: Option<&str>,
        database: &str,
        records: u64,
    ) -> anyhow::Result<Running> {
        self.runs += 1;
        let new_group = self.bed.unique(&format!("run_{}", self.runs));
        let group = group.unwrap_or(&new_group);
        let partitions = case.in_flight.to_string();
        let records = records.to_string();
        let mut command = child::this_program()?;
        if case.who == EOS {
            let listener = match (case.variant, case.dedupe) {
                (GROUP, _) => Listener::OrdersInGroups,
                (SET, _) => Listener::OrdersInBatches,
                (WAITS | SLOTS, _) => Listener::OrdersThatWait,
                (_, POSITION) => Listener::OrdersByPosition,
                (_, _) => Listener::Orders,
            };
            command.args(["eos", "--records", &records]).env("EOS_DATABASE_URL", database);
            eos::only(listener, &mut command, &self.bed.kafka, group, topic);
            if case.variant == SLOTS {
                command.env("EOS__LISTENERS__ORDERS_THAT_WAIT__KEY_SLOTS", "16");
                command.env("EOS__DATABASE__MAX_CONNECTIONS", "20");
            }
        } else {
            command
                .args(["handwritten", "--kafka", &self.bed.kafka, "--topic", topic, "--group", group])
                .args(["--partitions", &partitions, "--records", &records])
                .args(["--batch", if case.variant == SET { BATCH } else { "1" }])
                .env("DATABASE_URL", database);
        }
        Running::start(case.who, &mut command, Stdio::null())
    }

    async fn settings(&mut self) -> anyhow::Result<Map<String, serde_json::Value>> {
        let args = self.args;
        let mut settings = Map::new();
        let mut set = |name: &str, value: serde_json::Value| settings.insert(name.to_owned(), value);
        set("records", json!(args.records));
        set("rounds", json!(args.rounds));
        set("group_commit", json!(100));
        set("max_batch", json!(BATCH));
        set("payload_bytes", json!(producer::PAYLOAD_BYTES));
        set("cores", json!(std::thread::available_parallelism().map_or(0, std::num::NonZero::get)));
        set("inbox_rows", json!(args.inbox_rows));
        if let Some((near, far)) = self.round_trip_ms {
            set("round_trip_ms", json!(rounded(near, 3)));
            set("round_trip_ms_proxied", json!(rounded(far, 3)));
        }
        set("librdkafka", json!(rdkafka::util::get_rdkafka_version().1));
        for name in ["server_version", "fsync", "synchronous_commit", "shared_buffers", "wal_level"] {
            set(&format!("postgres_{name}"), json!(self.database.setting(name).await?));
        }
        Ok(settings)
    }

    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        for (who, per_record) in &self.round_trips {
            remarks.push(format!("{who}: {per_record:.2} round trips to the database a record"));
        }
        remarks
    }
}

impl Workload for Orders<'_> {
    async fn sample(&mut self, case: &Case) -> anyhow::Result<Sample> {
        if case.variant == full_inbox::VARIANT {
            return full_inbox::sample(self, case).await;
        }
        let records = self.args.records_of(case);
        fresh_tables(&mut self.database).await?;
        let used = if case.who == PGBENCH {
            let pgbench = self.pgbench.as_ref().context("pgbench was not looked for")?;
            let each = records / u64::from(case.in_flight);
            pgbench.run(&self.database.options, case.in_flight, each).await?
        } else {
            let topic = self.topic(Topic { partitions: case.in_flight.cast_signed(), records }).await?;
            let proxy = self.proxy.as_ref().filter(|_| case.rtt_ms > 0.0);
            let url = self.database.url(proxy.map(Proxy::address));
            let mut child = self.start(case, &topic, None, &url, records)?;
            child.done().await?;
            child.stop().await?
        };
        if let Some(proxy) = self.proxy.as_ref().filter(|_| case.rtt_ms > 0.0) {
            let per_record = proxy.take_round_trips() as f64 / records as f64;
            self.round_trips.retain(|(who, _)| *who != case.who);
            self.round_trips.push((case.who, per_record));
        }
        Ok(Sample::new(rate(&mut self.database, records).await?, used, records))
    }
}

/// Empty tables. No CHECKPOINT: after one, the first change of every page would be logged with the whole page.
async fn fresh_tables(database: &mut Database) -> anyhow::Result<()> {
    database.execute("drop schema public cascade; create schema public").await?;
    database.execute(ORDERS).await?;
    database.execute(handwritten::TABLES).await
}

const ORDERS: &str = "create table orders (\
     order_id uuid primary key, customer text not null, amount_cents bigint not null, \
     applied_at timestamptz not null default clock_timestamp())";

/// Rows a second, from the first to the last; all of them must be there.
async fn rate(database: &mut Database, records: u64) -> anyhow::Result<f64> {
    let (rows, seconds): (i64, Option<f64>) = sqlx::query_as(
        "select count(*), extract(epoch from max(applied_at) - min(applied_at))::float8 from orders",
    )
    .fetch_one(&mut database.connection)
    .await?;
    let seconds = seconds.filter(|seconds| *seconds > 0.0).unwrap_or(f64::INFINITY);
    if rows.cast_unsigned() != records {
        bail!("{records} records were handled, and {rows} orders are in the table");
    }
    Ok((rows - 1) as f64 / seconds)
}

/// What a round trip takes.
async fn round_trip_ms(options: &PgConnectOptions) -> anyhow::Result<f64> {
    let mut connection = options.connect().await?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        sqlx::query("select 1").execute(&mut connection).await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Spread::of(times).median)
}

/// `0.5ms`, `500us`, `0`.
fn milliseconds(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => match text.strip_suffix("us") {
            Some(number) => (number, 1e-6),
            None => (text, 0.0),
        },
    };
    match number.trim().parse::<f64>() {
        Ok(number) if (0.0..=1e6).contains(&number) && (unit > 0.0 || number == 0.0) => {
            Ok(Duration::from_secs_f64(number * unit))
        }
        _ => Err("expected a duration such as 0.5ms or 500us, or 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_is_said_in_milliseconds_or_microseconds() {
        assert_eq!(milliseconds("0.5ms"), Ok(Duration::from_micros(500)));
        assert_eq!(milliseconds("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(milliseconds("0"), Ok(Duration::ZERO));
        assert!(milliseconds("5").is_err() && milliseconds("-1ms").is_err() && milliseconds("x").is_err());
    }
}
