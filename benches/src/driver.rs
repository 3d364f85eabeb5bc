//! Rounds: every case once, again and again, so that a machine that grows slower or faster does so for all of them.

use serde::Serialize;

use crate::child::Used;
use crate::stats::{Latency, Spread};

/// One line of the table: who does the work, and how.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Case {
    #[serde(rename = "impl")]
    pub(crate) who: &'static str,
    pub(crate) variant: &'static str,
    pub(crate) in_flight: u32,
    pub(crate) dedupe: &'static str,
    pub(crate) rtt_ms: f64,
}

/// One run of a case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) per_s: f64,
    pub(crate) rss_mb: f64,
    /// Processor time a record.
    pub(crate) cpu_us: f64,
    /// How long events took, where that is the question.
    pub(crate) latency_ms: Option<Latency>,
}

/// All runs of a case.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    #[serde(flatten)]
    pub(crate) case: Case,
    pub(crate) per_s: Spread,
    /// The most that any of its processes had resident.
    pub(crate) rss_mb: f64,
    /// The median of what its processes used; a figure that depends little on what else the machine does.
    #[serde(skip)]
    pub(crate) cpu_us: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency_ms: Option<Latency>,
    /// Its rate in each round, in order.
    #[serde(skip)]
    pub(crate) rounds: Vec<f64>,
}

/// Something that can be done by several implementations.
pub(crate) trait Workload {
    /// Runs one case once, in a process of its own.
    async fn sample(&mut self, case: &Case) -> anyhow::Result<Sample>;
}

/// Runs every case `rounds` times; each other round goes through them backwards.
pub(crate) async fn rounds(
    workload: &mut impl Workload,
    cases: &[Case],
    rounds: u32,
) -> anyhow::Result<Vec<Measured>> {
    let mut samples = vec![Vec::new(); cases.len()];
    for round in 0..rounds {
        for step in 0..cases.len() {
            let index = if round % 2 == 0 { step } else { cases.len() - 1 - step };
            let case = &cases[index];
            let sample = workload.sample(case).await?;
            eprintln!("round {} of {rounds}: {case} {:.0}/s", round + 1, sample.per_s);
            samples[index].push(sample);
        }
    }
    Ok(cases.iter().zip(samples).map(|(case, samples)| Measured::of(*case, &samples)).collect())
}

impl Sample {
    /// From a rate, and what a process used for so many records.
    pub(crate) fn new(per_s: f64, used: Used, records: u64) -> Self {
        Sample {
            per_s,
            rss_mb: used.rss_mb,
            cpu_us: used.cpu.as_secs_f64() * 1e6 / records as f64,
            latency_ms: None,
        }
    }
}

impl Measured {
    /// What a case's samples come to.
    pub(crate) fn of(case: Case, samples: &[Sample]) -> Self {
        Measured {
            case,
            per_s: Spread::of(samples.iter().map(|sample| sample.per_s)).rounded(),
            rss_mb: samples.iter().fold(0.0, |most, sample| sample.rss_mb.max(most)),
            cpu_us: Spread::of(samples.iter().map(|sample| sample.cpu_us)).median,
            latency_ms: Latency::over(samples.iter().filter_map(|sample| sample.latency_ms)),
            rounds: samples.iter().map(|sample| sample.per_s).collect(),
        }
    }
}

/// A short name: `eos/record_4_position`.
impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Case { who, variant, in_flight, dedupe, rtt_ms } = self;
        write!(f, "{who}/{variant}_{in_flight}")?;
        if *dedupe == "position" {
            write!(f, "_position")?;
        }
        if *rtt_ms > 0.0 { write!(f, "_rtt") } else { Ok(()) }
    }
}
