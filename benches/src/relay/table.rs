//! The lines of the table, how they are compared, and what they were to be.

use super::commits::Writer;
use super::latency::Pace;
use crate::driver::Case;
use crate::report::Report;

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    Drain(Publisher),
    Latency(Publisher, Pace),
    Commits(Writer),
}

/// Who brings the events to Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publisher {
    Eos(Delivery),
    ByHand(Batch),
    Debezium,
}

/// How eos publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    AtLeastOnce,
    ExactlyOnce,
}

/// How many entries the hand-written relay takes at once; the best is what eos is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Batch {
    Of500,
    Of1000,
    Of5000,
}

pub(super) const BATCHES: [Batch; 3] = [Batch::Of500, Batch::Of1000, Batch::Of5000];

/// What a relay alone may have resident.
const RESIDENT_MB: f64 = 30.0;

impl Task {
    pub(super) fn case(self) -> Case {
        let case = |who, variant| Case { who, variant, in_flight: 1, dedupe: "none", rtt_ms: 0.0 };
        let eos = |variants: [&'static str; 2], delivery| match delivery {
            Delivery::AtLeastOnce => case("eos", variants[0]),
            Delivery::ExactlyOnce => case("eos", variants[1]),
        };
        match self {
            Task::Drain(Publisher::Eos(delivery)) => {
                eos(["drain_at_least_once", "drain_exactly_once"], delivery)
            }
            Task::Latency(Publisher::Eos(delivery), Pace::Busy) => {
                eos(["busy_at_least_once", "busy_exactly_once"], delivery)
            }
            Task::Latency(Publisher::Eos(delivery), Pace::Idle) => {
                eos(["idle_at_least_once", "idle_exactly_once"], delivery)
            }
            Task::Drain(Publisher::ByHand(Batch::Of500)) => case("handwritten", "drain_500"),
            Task::Drain(Publisher::ByHand(Batch::Of1000)) => case("handwritten", "drain_1000"),
            Task::Drain(Publisher::ByHand(Batch::Of5000)) => case("handwritten", "drain_5000"),
            Task::Latency(Publisher::ByHand(_), Pace::Busy) => case("handwritten", "busy"),
            Task::Latency(Publisher::ByHand(_), Pace::Idle) => case("handwritten", "idle"),
            // Its worker publishes in Kafka transactions.
            Task::Drain(Publisher::Debezium) => case("debezium", "drain_exactly_once"),
            Task::Latency(Publisher::Debezium, Pace::Busy) => case("debezium", "busy_exactly_once"),
            Task::Latency(Publisher::Debezium, Pace::Idle) => case("debezium", "idle_exactly_once"),
            Task::Commits(writer) => writer.case(),
        }
    }
}

/// The ratios that are promised, and some that are good to know.
pub(super) fn compare(report: &mut Report) {
    let drain = |publisher| Task::Drain(publisher).case();
    let (at_least_once, exactly_once) =
        (drain(Publisher::Eos(Delivery::AtLeastOnce)), drain(Publisher::Eos(Delivery::ExactlyOnce)));
    let by_hand = BATCHES.map(|batch| drain(Publisher::ByHand(batch)));
    let best = report.results.iter().filter(|measured| by_hand.contains(&measured.case));
    let best = best.max_by(|one, other| one.per_s.median.total_cmp(&other.per_s.median));
    if let Some(best) = best.map(|measured| measured.case) {
        report.compare("drain_vs_handwritten", &at_least_once, &best, Some(1.0));
        report.compare("drain_exactly_once_vs_handwritten", &exactly_once, &best, None);
    }
    report.compare("drain_exactly_vs_at_least_once", &exactly_once, &at_least_once, Some(0.75));
    let debezium = drain(Publisher::Debezium);
    report.compare("drain_vs_debezium", &at_least_once, &debezium, Some(2.5));
    report.compare("drain_exactly_once_vs_debezium", &exactly_once, &debezium, Some(2.5));
    let commits = |writer: Writer| writer.case();
    report.compare("commits_vs_plain", &commits(Writer::Eos), &commits(Writer::Plain), None);
    report.compare("commits_vs_handwritten", &commits(Writer::Eos), &commits(Writer::ByHand), None);
    report.compare("commits_relayed_vs_plain", &commits(Writer::EosRelayed), &commits(Writer::Plain), None);
}

/// What the figures mean, and what they were to be.
pub(super) fn remarks(report: &Report, commit_ms: &[(Case, f64)]) -> Vec<String> {
    let verdict = |value: f64, most: f64| {
        let outcome = if value <= most { "reached" } else { "NOT reached" };
        format!("{value:.2}, at most {most}: {outcome}")
    };
    let mut remarks = vec![
        "drain: from the first record's making to the last one's arrival at a read_committed consumer, which runs in \
         the benchmark's own process, for all alike; the deletion of the last batch is not in it"
            .to_owned(),
    ];
    if !commit_ms.is_empty() {
        remarks.push(
            "busy and idle: a commit each 2 ms and each 100 ms; from right before COMMIT (with eos's own INSERT, which is \
             sent with it) to the arrival at a read_committed consumer"
                .to_owned(),
        );
    }
    if report.results.iter().any(|measured| measured.case.who == "debezium") {
        remarks.push(
            "debezium: memory and processor time are the whole Kafka Connect worker's, where it runs on this machine"
                .to_owned(),
        );
    }
    for (case, ms) in commit_ms {
        remarks.push(format!("{}/{}: the commit itself is {ms:.2} ms of it (p50)", case.who, case.variant));
    }
    let find = |task: Task| report.results.iter().find(|measured| measured.case == task.case());
    for (delivery, p50, p99) in [(Delivery::AtLeastOnce, 3.0, 20.0), (Delivery::ExactlyOnce, 7.0, 75.0)] {
        let publisher = Publisher::Eos(delivery);
        if let Some(busy) = find(Task::Latency(publisher, Pace::Busy))
            && let Some(latency) = busy.latency_ms
        {
            let (p50, p99) = (verdict(latency.p50, p50), verdict(latency.p99, p99));
            remarks.push(format!("eos/{}: p50 ms {p50}; p99 ms {p99}", busy.case.variant));
        }
        if let Some(drain) = find(Task::Drain(publisher)) {
            let resident = verdict(drain.rss_mb, RESIDENT_MB);
            remarks.push(format!("eos/{}: MB resident {resident}", drain.case.variant));
        }
    }
    remarks
}
