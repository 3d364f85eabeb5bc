//! What is said of several samples: the least, the one in the middle, the most; and of times, how long nearly all took.

use std::time::Duration;

use serde::Serialize;

/// Where samples lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of one sample or more; all zero where there is none.
    pub(crate) fn of(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        let last = sorted.len().saturating_sub(1);
        Spread { min: at(0), median: f64::midpoint(at(last / 2), at(last.div_ceil(2))), max: at(last) }
    }

    /// Without digits that mean nothing.
    pub(crate) fn rounded(self) -> Self {
        Spread { min: self.min.round(), median: self.median.round(), max: self.max.round() }
    }
}

/// How long events took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Latency {
    /// Of one event or more; all zero where there is none.
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        // The nearest rank: the least time that so many percent did not exceed.
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times.get(rank - 1).map_or(0.0, |time| rounded(time.as_secs_f64() * 1e3, 3))
        };
        Latency { p50: at(50), p99: at(99), max: at(100) }
    }

    /// Of several rounds: the median of each percentile, and the worst of all; none where there was no round.
    pub(crate) fn over(rounds: impl Iterator<Item = Self>) -> Option<Self> {
        let rounds: Vec<Self> = rounds.collect();
        let median = |which: fn(&Self) -> f64| rounded(Spread::of(rounds.iter().map(which)).median, 3);
        let max = rounds.iter().map(|round| round.max).reduce(f64::max)?;
        Some(Latency { p50: median(|round| round.p50), p99: median(|round| round.p99), max })
    }
}

/// To `digits` after the point.
pub(crate) fn rounded(number: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    (number * unit).round() / unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { min: 1.0, median: 2.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]), Spread { min: 1.0, median: 2.5, max: 4.0 });
        assert_eq!(Spread::of([7.0]), Spread { min: 7.0, median: 7.0, max: 7.0 });
        assert_eq!(Spread::of([]), Spread { min: 0.0, median: 0.0, max: 0.0 });
    }

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times = |count: u64| (1..=count).rev().map(Duration::from_millis).collect();
        assert_eq!(Latency::of(times(200)), Latency { p50: 100.0, p99: 198.0, max: 200.0 });
        assert_eq!(Latency::of(times(1)), Latency { p50: 1.0, p99: 1.0, max: 1.0 });
        assert_eq!(Latency::of(times(0)), Latency { p50: 0.0, p99: 0.0, max: 0.0 });
    }

    #[test]
    fn rounds_have_the_percentiles_of_their_middle_and_the_worst_of_all() {
        let rounds = [(1.0, 9.0, 50.0), (2.0, 7.0, 8.0), (3.0, 8.0, 9.0)];
        let rounds = rounds.map(|(p50, p99, max)| Latency { p50, p99, max });
        assert_eq!(Latency::over(rounds.into_iter()), Some(Latency { p50: 2.0, p99: 8.0, max: 50.0 }));
        assert_eq!(Latency::over(std::iter::empty()), None);
    }
}
