//! Which connections of a pool are still good: after a failover those to the former primary can only read, and each would
//! fail one attempt before it goes. They are closed when somebody asks for them instead.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The time from which on connections are good.
#[derive(Debug)]
pub(crate) struct Freshness {
    origin: Instant,
    /// Milliseconds since the origin.
    good_since: AtomicU64,
}

impl Freshness {
    pub(crate) fn new() -> Self {
        Freshness { origin: Instant::now(), good_since: AtomicU64::new(0) }
    }

    /// No connection that was made before now is good.
    pub(crate) fn renew(&self) {
        self.good_since.store(millis(self.origin.elapsed()), Ordering::Relaxed);
    }

    /// Whether a connection of this age is good.
    pub(crate) fn admits(&self, age: Duration) -> bool {
        millis(self.origin.elapsed().saturating_sub(age)) >= self.good_since.load(Ordering::Relaxed)
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_before_a_renewal_is_not_good_and_what_comes_after_is() {
        let freshness = Freshness::new();
        assert!(freshness.admits(Duration::from_secs(3600)), "nothing has happened yet");
        std::thread::sleep(Duration::from_millis(20));
        freshness.renew();
        assert!(!freshness.admits(Duration::from_millis(10)));
        assert!(freshness.admits(Duration::ZERO));
    }
}
