//! How long a failed child waits: pure functions of how often it failed, how long it was up, and chance.

use std::time::Duration;

use crate::plan::BackoffPlan;

/// The delay before the restart after `failures` earlier ones in a row; `random` is in 0.0 to 1.0 and spreads the
/// restarts of many by `jitter` to both sides. Never more than `max`.
pub(crate) fn delay(plan: &BackoffPlan, failures: u32, random: f64) -> Duration {
    let exponent = i32::try_from(failures).unwrap_or(i32::MAX);
    let grown = plan.min.as_secs_f64() * plan.factor.powi(exponent);
    let max = plan.max.as_secs_f64();
    let bounded = grown.min(max);
    let spread = 1.0 + plan.jitter * (2.0 * random - 1.0);
    Duration::try_from_secs_f64((bounded * spread).min(max)).unwrap_or(plan.max)
}

/// The failures in a row that count for the next delay, after the child was up for `up`.
pub(crate) fn failures_after(plan: &BackoffPlan, failures: u32, up: Option<Duration>) -> u32 {
    match up {
        Some(up) if up >= plan.reset_after => 0,
        _ => failures,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(jitter: f64) -> BackoffPlan {
        BackoffPlan {
            min: Duration::from_millis(50),
            max: Duration::from_secs(10),
            factor: 2.0,
            jitter,
            reset_after: Duration::from_secs(30),
        }
    }

    #[test]
    fn without_jitter_it_doubles_up_to_the_maximum() {
        let delays: Vec<u128> = (0..10).map(|n| delay(&plan(0.0), n, 0.5).as_millis()).collect();
        assert_eq!(delays, [50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }

    #[test]
    fn a_long_time_up_begins_anew() {
        assert_eq!(failures_after(&plan(0.0), 7, Some(Duration::from_secs(30))), 0);
        assert_eq!(failures_after(&plan(0.0), 7, Some(Duration::from_secs(29))), 7);
        assert_eq!(failures_after(&plan(0.0), 7, None), 7);
    }

    proptest! {
        #[test]
        fn a_delay_stays_within_its_jitter_and_maximum(failures in 0u32..2_000_000_000, random in 0.0f64..1.0, jitter in 0.0f64..=1.0) {
            let plan = plan(jitter);
            let exact = delay(&BackoffPlan { jitter: 0.0, ..plan }, failures, 0.5).as_secs_f64();
            let spread = delay(&plan, failures, random).as_secs_f64();
            prop_assert!(spread <= plan.max.as_secs_f64());
            prop_assert!(spread >= exact * (1.0 - jitter) - 1e-6 && spread <= exact * (1.0 + jitter) + 1e-6);
        }
    }
}
