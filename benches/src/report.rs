//! What a run has found: a table for people, one JSON object for scripts.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::driver::{Case, Measured};
use crate::stats::rounded;

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

/// One median in relation to another.
#[derive(Debug)]
pub(crate) struct Ratio {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) to_reach: Option<f64>,
}

impl Report {
    /// Adds the ratio of two cases' medians, where both were measured.
    pub(crate) fn compare(&mut self, name: &'static str, of: &Case, to: &Case, to_reach: Option<f64>) {
        let median = |case: &Case| {
            let measured = self.results.iter().find(|measured| measured.case == *case)?;
            Some(measured.per_s.median)
        };
        if let (Some(of), Some(to)) = (median(of), median(to)) {
            self.ratios.push(Ratio { name, value: rounded(of / to, 3), to_reach });
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
        writeln!(
            out,
            "{:12} {:22} {:>9} {:11} {:>6} {:>10} {:>10} {:>10} {:>7} {:>7}",
            "", "", "in flight", "dedupe", "rtt ms", "median /s", "min", "max", "RSS MB", "CPU µs"
        )?;
        for Measured { case, per_s, rss_mb, cpu_us } in &self.results {
            writeln!(
                out,
                "{:12} {:22} {:>9} {:11} {:>6} {:>10} {:>10} {:>10} {:>7.0} {:>7.1}",
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
    use crate::stats::Spread;

    fn measured(who: &'static str, median: f64) -> Measured {
        let case = Case { who, variant: "record", in_flight: 4, dedupe: "message_id", rtt_ms: 0.0 };
        Measured { case, per_s: Spread { min: median, median, max: median }, rss_mb: 12.0, cpu_us: 3.0 }
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
