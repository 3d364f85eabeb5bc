//! Whether a poll thread turns: it says so each time round, and anybody may look.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// One thread's.
#[derive(Debug)]
pub(crate) struct Pulse {
    origin: Instant,
    /// Milliseconds since the origin, when it turned last.
    last: AtomicU64,
}

impl Default for Pulse {
    /// It counts as having turned just now.
    fn default() -> Self {
        Pulse { origin: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Pulse {
    /// It turns.
    pub(super) fn beat(&self, now: Instant) {
        self.last.store(millis(now.duration_since(self.origin)), Ordering::Relaxed);
    }

    /// How long ago it did so last.
    #[cfg(any(feature = "admin", test))]
    pub(crate) fn since_last(&self) -> Duration {
        let now = millis(self.origin.elapsed());
        Duration::from_millis(now.saturating_sub(self.last.load(Ordering::Relaxed)))
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
