//! What a run has found: a table for people, one JSON object for scripts.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::driver::{Case, Measured};
use crate::stats::{Latency, Spread, rounded};

/// A run's outcome. Every workload has this shape.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) workload: &'static str,
    pub(crate) settings: Map<String, Value>,
    pub(crate) results: Vec<Measured>,
    #[serde(serialize_with = "by_name")]
    pub(crate) ratios: Vec<Ratio>,
    /// What a reader of the table should know besides.
    #[serde(skip)]
    pub(crate) remarks: Vec<String>,
}

/// One case in relation to another.
#[derive(Debug)]
pub(crate) struct Ratio {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) to_reach: Option<f64>,
}

impl Report {
    /// Adds the ratio of two cases, where both were measured: the median of the rounds' ratios, since a machine that is
    /// slower for a while is so for both; of cases without rounds, the ratio of their medians.
    pub(crate) fn compare(&mut self, name: &'static str, of: &Case, to: &Case, to_reach: Option<f64>) {
        let find = |case: &Case| self.results.iter().find(|measured| measured.case == *case);
        if let (Some(of), Some(to)) = (find(of), find(to)) {
            let value = if of.rounds.is_empty() || to.rounds.is_empty() {
                of.per_s.median / to.per_s.median
            } else {
                Spread::of(of.rounds.iter().zip(&to.rounds).map(|(of, to)| of / to)).median
            };
            self.ratios.push(Ratio { name, value: rounded(value, 3), to_reach });
        }
    }

    /// Prints the table, and the object as the last line where it is asked for.
    pub(crate) fn print(&self, json: bool) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        self.table(&mut out)?;
        if json {
            serde_json::to_writer(&mut out, self)?;
            writeln!(out)?;
        }
        Ok(())
    }

    fn table(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "\n{}\n", self.workload)?;
        let latencies = self.results.iter().any(|measured| measured.latency_ms.is_some());
        let more = if latencies {
            format!(" {:>7} {:>7} {:>7}", "p50 ms", "p99 ms", "max ms")
        } else {
            String::new()
        };
        writeln!(
            out,
            "{:12} {:22} {:>9} {:11} {:>6} {:>10} {:>10} {:>10} {:>7} {:>7}{more}",
            "", "", "in flight", "dedupe", "rtt ms", "median /s", "min", "max", "RSS MB", "CPU µs"
        )?;
        for Measured { case, per_s, rss_mb, cpu_us, latency_ms, .. } in &self.results {
            let more = latency_ms.map_or_else(String::new, |Latency { p50, p99, max }| {
                format!(" {p50:>7.2} {p99:>7.2} {max:>7.2}")
            });
            writeln!(
                out,
                "{:12} {:22} {:>9} {:11} {:>6} {:>10} {:>10} {:>10} {:>7.0} {:>7.1}{more}",
                case.who,
                case.variant,
                case.in_flight,
                case.dedupe,
                case.rtt_ms,
                per_s.median,
                per_s.min,
                per_s.max,
                rss_mb,
                cpu_us
            )?;
        }
        writeln!(out)?;
        for Ratio { name, value, to_reach } in &self.ratios {
            let verdict = match to_reach {
                Some(to_reach) if value >= to_reach => format!("at least {to_reach}: reached"),
                Some(to_reach) => format!("at least {to_reach}: NOT reached"),
                None => String::new(),
            };
            writeln!(out, "{name:36} {value:>6.3}  {verdict}")?;
        }
        writeln!(out)?;
        for (name, value) in &self.settings {
            writeln!(out, "{name:24} {value}")?;
        }
        for remark in &self.remarks {
            writeln!(out, "\n{remark}")?;
        }
        writeln!(out)
    }
}

fn by_name<S: serde::Serializer>(ratios: &[Ratio], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(ratios.iter().map(|ratio| (ratio.name, ratio.value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(who: &'static str, median: f64) -> Measured {
        let case = Case { who, variant: "record", in_flight: 4, dedupe: "message_id", rtt_ms: 0.0 };
        Measured {
            case,
            per_s: Spread { min: median, median, max: median },
            rss_mb: 12.0,
            cpu_us: 3.0,
            latency_ms: None,
            rounds: Vec::new(),
        }
    }

    #[test]
    fn rounds_are_compared_with_each_other() {
        let with = |who, rounds: [f64; 3]| Measured { rounds: rounds.to_vec(), ..measured(who, 9.0) };
        // The machine slows down: 2, 3 and 4 times as fast, whatever the medians say.
        let results = vec![with("eos", [80.0, 60.0, 40.0]), with("handwritten", [40.0, 20.0, 10.0])];
        let (eos, hand) = (results[0].case, results[1].case);
        let mut report =
            Report { workload: "orders", settings: Map::new(), results, ratios: vec![], remarks: vec![] };
        report.compare("record_4_vs_handwritten", &eos, &hand, None);
        assert_eq!(report.ratios.first().map(|ratio| ratio.value), Some(3.0));
    }

    #[test]
    fn the_object_has_the_shape_that_scripts_read() {
        let results = vec![measured("eos", 3.0), measured("handwritten", 2.0)];
        let (eos, hand) = (results[0].case, results[1].case);
        let mut report =
            Report { workload: "orders", settings: Map::new(), results, ratios: vec![], remarks: vec![] };
        report.compare("record_4_vs_handwritten", &eos, &hand, Some(1.0));
        report.compare("record_1_vs_handwritten", &Case { in_flight: 1, ..eos }, &hand, None);
        assert_eq!(
            serde_json::to_string(&report).expect("serializable"),
            r#"{"workload":"orders","settings":{},"results":[{"impl":"eos","variant":"record","in_flight":4,"#
                .to_owned()
                + r#""dedupe":"message_id","rtt_ms":0.0,"per_s":{"min":3.0,"median":3.0,"max":3.0},"rss_mb":12.0},"#
                + r#"{"impl":"handwritten","variant":"record","in_flight":4,"dedupe":"message_id","rtt_ms":0.0,"#
                + r#""per_s":{"min":2.0,"median":2.0,"max":2.0},"rss_mb":12.0}],"#
                + r#""ratios":{"record_4_vs_handwritten":1.5}}"#
        );
    }
}
