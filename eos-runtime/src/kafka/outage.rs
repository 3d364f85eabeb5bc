//! One report when brokers cannot be reached, and one when they can be again, however many notice.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
#[cfg(feature = "admin")]
use std::time::Duration;
use std::time::Instant;

use super::failure::Fault;

/// Whether an outage is known.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Arc<Mutex<Option<Instant>>>,
}

/// The outage that its holder reported; dropping it forgets the outage.
#[derive(Debug)]
pub(super) struct Over {
    since: Arc<Mutex<Option<Instant>>>,
}

impl Outage {
    /// Reports the outage, if it is news; whoever gets the answer finds out when it is over.
    pub(super) fn begin(&self, fault: &Fault, bootstrap_servers: &str) -> Option<Over> {
        let mut since = lock(&self.since);
        if since.is_some() {
            return None;
        }
        *since = Some(Instant::now());
        tracing::warn!(
            target: "eos::kafka", code = %fault.code,
            "Kafka at {bootstrap_servers} cannot be reached: {}; still trying", fault.reason
        );
        Some(Over { since: Arc::clone(&self.since) })
    }
}

/// Whether brokers can be reached, for who looks; it keeps no client alive.
#[cfg(feature = "admin")]
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    lost_since: Arc<Mutex<Option<Instant>>>,
}

#[cfg(feature = "admin")]
impl Reach {
    pub(super) fn of(outage: &Outage) -> Self {
        Reach { lost_since: Arc::clone(&outage.since) }
    }

    /// For how long they could not, where they cannot.
    pub(crate) fn lost_for(&self) -> Option<Duration> {
        lock(&self.lost_since).map(|since| since.elapsed())
    }
}

impl Over {
    /// Reports that it is over.
    pub(super) fn end(self) {
        let seconds = lock(&self.since).map_or(0, |since| since.elapsed().as_secs());
        tracing::info!(target: "eos::kafka", seconds, "Kafka answers again");
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        *lock(&self.since) = None;
    }
}

fn lock(since: &Mutex<Option<Instant>>) -> MutexGuard<'_, Option<Instant>> {
    since.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::types::RDKafkaErrorCode as Code;

    #[test]
    fn an_outage_is_reported_once_until_it_is_over() {
        let outage = Outage::default();
        let fault = Fault { code: Code::BrokerTransportFailure, reason: "127.0.0.1:1: refused".to_owned() };
        let over = outage.begin(&fault, "127.0.0.1:1").expect("news");
        assert!(outage.begin(&fault, "127.0.0.1:1").is_none());
        over.end();
        assert!(outage.begin(&fault, "127.0.0.1:1").is_some());
    }
}
