//! A histogram of durations in fixed logarithmic buckets of atomics: recording is two relaxed additions, and many
//! actors may share one.
//!
//! Buckets: four to each power of two of microseconds, so a quantile is at most 25 % above the true value.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// Four buckets to each of 32 powers of two: up to about 71 minutes.
const BUCKETS: usize = 128;

/// Durations, counted by size.
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    max_us: AtomicU64,
}

/// Quantiles in microseconds: upper bounds of the bucket they fall into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// How many durations were recorded.
    pub count: u64,
    /// Half of them were at most this long.
    pub p50_us: u64,
    /// 99 of 100 of them were at most this long.
    pub p99_us: u64,
    /// The longest, exactly.
    pub max_us: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU64::new(0)), max_us: AtomicU64::new(0) }
    }

    pub(crate) fn record(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(us)].fetch_add(1, Ordering::Relaxed);
        if us > self.max_us.load(Ordering::Relaxed) {
            self.max_us.fetch_max(us, Ordering::Relaxed);
        }
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let count = counts.iter().sum();
        let max_us = self.max_us.load(Ordering::Relaxed);
        Quantiles {
            count,
            p50_us: quantile(&counts, count, 50).min(max_us),
            p99_us: quantile(&counts, count, 99).min(max_us),
            max_us,
        }
    }
}

/// The bucket of a duration: below 4 µs one bucket a microsecond, then four a power of two.
fn bucket_of(us: u64) -> usize {
    if us < 4 {
        return us as usize;
    }
    let power = 63 - us.leading_zeros() as usize;
    let quarter = (us >> (power - 2)) as usize & 3;
    ((power - 1) * 4 + quarter).min(BUCKETS - 1)
}

/// The largest duration that falls into a bucket.
fn bucket_end_us(bucket: usize) -> u64 {
    if bucket < 4 {
        return bucket as u64;
    }
    let power = bucket / 4 + 1;
    let quarter = (bucket % 4) as u64;
    ((4 + quarter + 1) << (power - 2)) - 1
}

fn quantile(counts: &[u64], count: u64, percent: u64) -> u64 {
    let rank = (count * percent).div_ceil(100);
    let mut seen = 0;
    for (bucket, n) in counts.iter().enumerate() {
        seen += n;
        if seen >= rank && seen > 0 {
            return bucket_end_us(bucket);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bucket_holds_what_falls_into_it_within_a_quarter(us in 0u64..1 << 32) {
            let end = bucket_end_us(bucket_of(us));
            prop_assert!(end >= us);
            prop_assert!(end <= us + us / 4 + 1, "{us} -> {end}");
        }

        #[test]
        fn longer_durations_never_fall_into_lower_buckets(a in 0u64..u64::MAX, b in 0u64..u64::MAX) {
            let (short, long) = (a.min(b), a.max(b));
            prop_assert!(bucket_of(short) <= bucket_of(long));
        }
    }

    #[test]
    fn quantiles_of_known_durations_are_near_them() {
        let histogram = Histogram::new();
        for us in 1..=100 {
            histogram.record(Duration::from_micros(us));
        }
        let quantiles = histogram.quantiles();
        assert_eq!(quantiles.count, 100);
        assert!((50..=63).contains(&quantiles.p50_us), "{quantiles:?}");
        assert!((99..=100).contains(&quantiles.p99_us), "{quantiles:?}");
        assert_eq!(quantiles.max_us, 100);
    }

    #[test]
    fn an_empty_histogram_has_zero_quantiles() {
        assert_eq!(Histogram::new().quantiles().p99_us, 0);
    }
}
