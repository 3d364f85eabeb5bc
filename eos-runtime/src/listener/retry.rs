//! How often a record is tried, and how long to wait before trying again: exponential, capped, with jitter.

use std::time::Duration;

/// `retry(…)` of a listener, or `[retry]` of the settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RetryPolicy {
    /// Attempts in all, the first included, after which a record is set aside.
    pub(crate) max: u32,
    pub(crate) backoff: Duration,
    pub(crate) factor: f64,
    pub(crate) max_backoff: Duration,
    /// The part of a wait that is random, 0 to 1, so that many partitions do not knock at once.
    pub(crate) jitter: f64,
}

impl RetryPolicy {
    /// The wait after this many failures in a row (1 and up).
    pub(crate) fn wait(&self, failures: u32) -> Duration {
        let grown = self.backoff.as_secs_f64() * self.factor.powi(failures.saturating_sub(1).min(64) as i32);
        self.with_jitter(grown)
    }

    /// The wait between two looks at something that has been down for this long: the same growth, whoever looked.
    pub(crate) fn pace(&self, down_for: Duration) -> Duration {
        let grown = down_for.as_secs_f64() * (self.factor - 1.0);
        self.with_jitter(grown.max(self.backoff.as_secs_f64()))
    }

    fn with_jitter(&self, grown: f64) -> Duration {
        let capped = grown.min(self.max_backoff.as_secs_f64());
        Duration::from_secs_f64(capped * (1.0 - self.jitter * random_unit()))
    }
}

/// A number from 0 to 1, from the random bits of a UUID.
fn random_unit() -> f64 {
    (uuid::Uuid::new_v4().as_u128() >> 96) as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_never_beyond() {
        let policy = RetryPolicy {
            max: 5,
            backoff: Duration::from_millis(200),
            factor: 2.0,
            max_backoff: Duration::from_secs(10),
            jitter: 0.0,
        };
        assert_eq!(policy.wait(1), Duration::from_millis(200));
        assert_eq!(policy.wait(3), Duration::from_millis(800));
        assert_eq!(policy.wait(u32::MAX), Duration::from_secs(10));
        assert_eq!(policy.pace(Duration::ZERO), Duration::from_millis(200));
        assert_eq!(policy.pace(Duration::from_secs(3)), Duration::from_secs(3));
        assert_eq!(policy.pace(Duration::from_secs(3600)), Duration::from_secs(10));
        let jittered = RetryPolicy { jitter: 0.5, ..policy };
        for _ in 0..100 {
            let wait = jittered.wait(1);
            assert!(wait >= Duration::from_millis(100) && wait <= Duration::from_millis(200));
        }
    }
}
