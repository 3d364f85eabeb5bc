//! When a service is killed: once in each of as many stretches of the work as there are kills, at a random place.

use std::time::Duration;

use fastrand::Rng;

/// The kills of a run, from its seed.
pub(crate) struct Kills {
    /// Counted in runs of the handler, rising.
    places: Vec<u64>,
    done: usize,
    random: Rng,
}

impl Kills {
    pub(crate) fn new(kills: u32, orders: u32, mut random: Rng) -> Self {
        // One stretch more than kills: the last service that dies leaves work behind.
        let stretch = u64::from(orders) / (u64::from(kills) + 1);
        let places = (0..u64::from(kills)).map(|kill| kill * stretch + random.u64(..=stretch)).collect();
        Kills { places, done: 0, random }
    }

    pub(crate) fn is_due(&self, runs: u64) -> bool {
        self.places.get(self.done).is_some_and(|&place| runs >= place)
    }

    /// Counts the kill that is due, and waits a little, so that it can strike at any point of an attempt.
    pub(crate) async fn aim(&mut self) -> &mut Rng {
        self.done += 1;
        tokio::time::sleep(Duration::from_micros(self.random.u64(..10_000))).await;
        &mut self.random
    }

    pub(crate) fn done(&self) -> u64 {
        self.done as u64
    }

    pub(crate) fn all_done(&self) -> bool {
        self.done == self.places.len()
    }
}
