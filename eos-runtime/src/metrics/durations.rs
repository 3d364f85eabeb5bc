//! How long handlers take: all of those that come slowly, and a fair share of those that come fast.
//!
//! A histogram costs more than a record that does nothing. So of each partition the first thousand of a second are told,
//! and beyond that one in 64. Which these are hangs on their number alone and not on how long they take, so that the share
//! has the same distribution.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::Histogram;

/// All of so many…
const ALL_OF: u64 = 1024;
/// …in so many milliseconds…
const WINDOW_MS: u64 = 1000;
/// …and of the others one in so many.
const ONE_IN: u64 = 64;

/// The durations of one partition's handler. One worker writes; it is shared only so that it can be looked at.
#[derive(Debug)]
pub(crate) struct Durations {
    told: Histogram,
    /// Calls since the window began.
    seen: AtomicU64,
    /// When it began, in milliseconds of the caller's clock.
    window: AtomicU64,
}

impl Durations {
    /// Told to the recorder that is installed by now.
    pub(crate) fn of(listener: &str) -> Self {
        Durations::told(metrics::histogram!("eos_handler_seconds", "listener" => listener.to_owned()))
    }

    fn told(told: Histogram) -> Self {
        Durations { told, seen: AtomicU64::new(0), window: AtomicU64::new(0) }
    }

    /// Whether the call that begins now is one of those that are told.
    pub(crate) fn wants(&self, now_ms: u64) -> bool {
        let seen = self.seen.load(Ordering::Relaxed);
        self.seen.store(seen + 1, Ordering::Relaxed);
        if seen < ALL_OF {
            return true;
        }
        if !seen.is_multiple_of(ONE_IN) {
            return false;
        }
        if now_ms.saturating_sub(self.window.load(Ordering::Relaxed)) >= WINDOW_MS {
            self.window.store(now_ms, Ordering::Relaxed);
            self.seen.store(1, Ordering::Relaxed);
        }
        true
    }

    /// It took so long.
    pub(crate) fn tell(&self, took: Duration) {
        self.told.record(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_of(durations: &Durations, calls: std::ops::Range<u64>, calls_a_ms: u64) -> usize {
        calls.filter(|call| durations.wants(call / calls_a_ms)).count()
    }

    #[test]
    fn what_comes_slowly_is_told_and_what_comes_fast_is_told_in_part() {
        let slow = Durations::told(Histogram::noop());
        let told = (0..10_000).filter(|call| slow.wants(call * 10)).count();
        assert!(told >= 9_990, "a hundred a second: {told}");

        let fast = Durations::told(Histogram::noop());
        let told = told_of(&fast, 0..300_000, 300);
        assert!((5_000..6_500).contains(&told), "three hundred thousand in a second: {told}");
        let told = told_of(&fast, 300_000..600_000, 300);
        assert!((5_000..6_500).contains(&told), "and in the next: {told}");
    }
}
