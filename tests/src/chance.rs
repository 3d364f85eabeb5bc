//! Choices that look random and can be repeated, and how many of them are made.

use std::time::{Duration, Instant};

/// A number from the environment of the test, where there is one.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// How long a test with random kills goes on, and how many records it writes at least: what it asks for, unless
/// `EOS_TEST_SECONDS` and `EOS_TEST_RECORDS` ask for more.
#[derive(Debug)]
pub struct Course {
    began: Instant,
    during: Duration,
    records: usize,
}

impl Course {
    /// It begins.
    pub fn of_this_run(during: Duration) -> Self {
        let during = number("EOS_TEST_SECONDS").map_or(during, Duration::from_secs);
        let records = usize::try_from(number("EOS_TEST_RECORDS").unwrap_or(0)).expect("not as many");
        Course { began: Instant::now(), during, records }
    }

    /// Whether it goes on, where so many records are written.
    pub fn goes_on(&self, written: usize) -> bool {
        self.began.elapsed() < self.during || written < self.records
    }
}

/// Numbers that a seed repeats (SplitMix64).
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// Of a new seed, which it says; `EOS_TEST_SEED` repeats a run's choices.
    pub fn of_this_run() -> Self {
        let seed = number("EOS_TEST_SEED").unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
        eprintln!("EOS_TEST_SEED={seed}");
        Chance(seed)
    }

    /// Another one of the same seed.
    pub fn other(&mut self) -> Self {
        Chance(self.below(u64::MAX))
    }

    /// A number below that.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
