//! Many different records that fail one after another are no bad records: the program is.
//!
//! So that a bad deployment does not empty a topic into the dead letters, a listener that has set aside so many in a row,
//! with no success between them, goes on at a slow pace: one record each minute, while the others wait and are tried
//! again. The first success ends it. Nothing is blocked for ever by a producer that writes a hundred bad records.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How a listener's records were set aside of late.
#[derive(Debug)]
pub(crate) struct Breaker {
    /// In a row; 0 switches it off.
    limit: u32,
    /// Between two, beyond the limit.
    pace: Duration,
    /// Whether there was any since the last success, without a lock.
    any: AtomicBool,
    row: Mutex<Row>,
}

#[derive(Debug, Default)]
struct Row {
    count: u32,
    last: Option<Instant>,
    said: bool,
}

/// Whether a record may be set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admits {
    Now,
    /// Not before this has passed; and whether nobody has been told yet that it is so.
    After(Duration, bool),
}

impl Breaker {
    pub(crate) fn new(limit: u32, pace: Duration) -> Self {
        Breaker { limit, pace, any: AtomicBool::new(false), row: Mutex::default() }
    }

    /// Asks before a record is set aside; counts it where the answer is yes.
    pub(super) fn admits(&self) -> Admits {
        let mut row = self.lock();
        let since = row.last.map_or(Duration::MAX, |last| last.elapsed());
        if self.limit > 0 && row.count >= self.limit && since < self.pace {
            let first = !std::mem::replace(&mut row.said, true);
            return Admits::After(self.pace.saturating_sub(since), first);
        }
        row.count = row.count.saturating_add(1);
        row.last = Some(Instant::now());
        self.any.store(true, Ordering::Relaxed);
        Admits::Now
    }

    /// A record was handled.
    pub(super) fn succeeded(&self) {
        if self.any.load(Ordering::Relaxed) {
            self.any.store(false, Ordering::Relaxed);
            *self.lock() = Row::default();
        }
    }

    /// How many in a row are let pass.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    fn lock(&self) -> MutexGuard<'_, Row> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_a_row_pass_and_then_one_in_its_time() {
        let breaker = Breaker::new(3, Duration::from_millis(50));
        assert!((0..3).all(|_| breaker.admits() == Admits::Now));
        assert!(matches!(breaker.admits(), Admits::After(wait, true) if wait <= Duration::from_millis(50)));
        assert!(matches!(breaker.admits(), Admits::After(_, false)), "it is said once");
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(breaker.admits(), Admits::Now);
        assert!(matches!(breaker.admits(), Admits::After(..)));
    }

    #[test]
    fn a_success_begins_the_row_anew_and_zero_is_off() {
        let breaker = Breaker::new(2, Duration::from_secs(60));
        for _ in 0..10 {
            assert_eq!((breaker.admits(), breaker.admits()), (Admits::Now, Admits::Now));
            breaker.succeeded();
        }
        let off = Breaker::new(0, Duration::from_secs(60));
        assert!((0..100).all(|_| off.admits() == Admits::Now));
    }
}
