//! The help that exporters show; the table in `metrics.rs` says more.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Every counter, with a few words.
const COUNTERS: [(&str, &str); 17] = [
    ("eos_records_applied_total", "Records whose handler ran and whose effects are committed"),
    ("eos_records_duplicate_total", "Records whose message id had been processed before"),
    ("eos_records_without_id_total", "Records without a message id, deduped by position alone"),
    ("eos_claims_lost_total", "Claims of ids that were gone before their record was marked as done"),
    ("eos_dedupe_left_out_total", "Claims and marks that were left out while Redis was down"),
    ("eos_records_set_aside_total", "Records that no attempt could handle, set aside as dead letters"),
    ("eos_records_replayed_total", "Dead letters that were handled after all"),
    ("eos_records_parked_total", "Records that were parked"),
    ("eos_records_unparked_total", "Records that were parked, and are handled"),
    ("eos_attempts_begun_total", "Calls of the handler"),
    ("eos_attempts_failed_total", "Attempts that failed, for whatever reason but an outage"),
    ("eos_attempts_retried_total", "Attempts that failed and are made again"),
    ("eos_partitions_taken_total", "Partitions that were taken"),
    ("eos_partitions_fenced_total", "Claims that found another owner"),
    ("eos_rebalances_total", "Changes of the assignment, as the group made them"),
    ("eos_outbox_published_total", "Entries of the outbox that were put into Kafka"),
    ("eos_outbox_refused_total", "Entries of the outbox that Kafka refused"),
];

/// Every gauge.
const GAUGES: [(&str, &str); 8] = [
    ("eos_partitions_owned", "Partitions that this process has"),
    ("eos_partitions_stopped", "Partitions that are stopped until a person has looked"),
    ("eos_listener_outage", "Whether the listener waits for something that is down"),
    ("eos_position", "The next offset to handle"),
    ("eos_lag_records", "Records behind the position"),
    ("eos_parked_records", "Records that are parked, of the partitions that this process has"),
    ("eos_outbox_waiting", "Entries of the outbox that are not in Kafka yet; an estimate beyond 10,000"),
    ("eos_outbox_oldest_seconds", "How long the oldest entry of the outbox waits"),
];

/// Every histogram; all are durations.
const HISTOGRAMS: [(&str, &str); 2] = [
    ("eos_handler_seconds", "How long calls of the handler take"),
    ("eos_outbox_latency_seconds", "From an entry's creation to its acknowledgement by Kafka"),
];

/// Tells the recorder that is installed what the names mean.
pub(crate) fn describe() {
    for (name, help) in COUNTERS {
        describe_counter!(name, help);
    }
    for (name, help) in GAUGES {
        describe_gauge!(name, help);
    }
    for (name, help) in HISTOGRAMS {
        describe_histogram!(name, Unit::Seconds, help);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_in_the_table_and_has_its_help() {
        let described = COUNTERS.iter().chain(&GAUGES).chain(&HISTOGRAMS).map(|(name, _)| *name);
        let described: BTreeSet<&str> = described.collect();
        let table = include_str!("../metrics.rs").lines().filter_map(|line| line.strip_prefix("//! | `"));
        let table: BTreeSet<&str> = table.filter_map(|line| line.split('`').next()).collect();
        assert_eq!(described, table);
    }
}
