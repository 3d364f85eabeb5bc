//! What is so at the moment. Handles are made once; what is over is set to zero, since the facade cannot take it back.

use std::time::Duration;

use metrics::Gauge;

/// A listener as a whole.
#[derive(Debug)]
pub(crate) struct ListenerGauges {
    pub(crate) owned: Gauge,
    pub(crate) stopped: Gauge,
    pub(crate) outage: Gauge,
}

impl Default for ListenerGauges {
    /// Tells nobody.
    fn default() -> Self {
        ListenerGauges { owned: Gauge::noop(), stopped: Gauge::noop(), outage: Gauge::noop() }
    }
}

impl ListenerGauges {
    /// Told to the recorder that is installed by now.
    pub(crate) fn of(listener: &str) -> Self {
        let listener = listener.to_owned();
        ListenerGauges {
            owned: metrics::gauge!("eos_partitions_owned", "listener" => listener.clone()),
            stopped: metrics::gauge!("eos_partitions_stopped", "listener" => listener.clone()),
            outage: metrics::gauge!("eos_listener_outage", "listener" => listener),
        }
    }
}

/// One of its partitions; zero once it is dropped.
#[derive(Debug)]
pub(crate) struct PartitionGauges {
    position: Gauge,
    lag: Gauge,
    parked: Gauge,
}

impl PartitionGauges {
    /// Told to the recorder that is installed by now.
    pub(crate) fn of(listener: &str, topic: &str, partition: i32) -> Self {
        let labels = [
            ("listener", listener.to_owned()),
            ("topic", topic.to_owned()),
            ("partition", partition.to_string()),
        ];
        PartitionGauges {
            position: metrics::gauge!("eos_position", &labels),
            lag: metrics::gauge!("eos_lag_records", &labels),
            parked: metrics::gauge!("eos_parked_records", &labels),
        }
    }

    /// What is known of it by now.
    pub(crate) fn tell(&self, position: Option<i64>, lag: Option<i64>, parked: i64) {
        self.parked.set(number(parked));
        if let Some(position) = position {
            self.position.set(number(position));
        }
        if let Some(lag) = lag {
            self.lag.set(number(lag));
        }
    }
}

impl Drop for PartitionGauges {
    fn drop(&mut self) {
        self.tell(Some(0), Some(0), 0);
    }
}

/// An outbox.
#[derive(Debug)]
pub(crate) struct OutboxGauges {
    waiting: Gauge,
    oldest: Gauge,
}

impl OutboxGauges {
    /// Told to the recorder that is installed by now.
    pub(crate) fn of(database: &str) -> Self {
        let database = database.to_owned();
        OutboxGauges {
            waiting: metrics::gauge!("eos_outbox_waiting", "database" => database.clone()),
            oldest: metrics::gauge!("eos_outbox_oldest_seconds", "database" => database),
        }
    }

    /// So many wait, the oldest for so long.
    pub(crate) fn tell(&self, waiting: i64, oldest: Duration) {
        self.waiting.set(number(waiting));
        self.oldest.set(oldest.as_secs_f64());
    }
}

/// As a gauge has it: exact up to 9 × 10¹⁵.
fn number(number: i64) -> f64 {
    number as f64
}
