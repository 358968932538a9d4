//! How many restarts are borne: a pure function of when they happened.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The restarts within the period, never more than `intensity + 1` of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    restarts: VecDeque<Instant>,
}

impl Window {
    /// Counts a restart; false when it is one too many within `period`, as in OTP: `intensity` of them are borne.
    pub(crate) fn admit(&mut self, now: Instant, intensity: u32, period: Duration) -> bool {
        self.forget(now, period);
        self.restarts.push_back(now);
        let borne = self.restarts.len() <= intensity as usize;
        if !borne {
            self.restarts.pop_front();
        }
        borne
    }

    /// How many restarts are within the period at present.
    pub(crate) fn count(&self, now: Instant, period: Duration) -> usize {
        self.restarts.iter().filter(|at| now.saturating_duration_since(**at) <= period).count()
    }

    fn forget(&mut self, now: Instant, period: Duration) {
        while let Some(oldest) = self.restarts.front() {
            if now.saturating_duration_since(*oldest) <= period {
                return;
            }
            self.restarts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_restart_is_refused_exactly_when_more_than_intensity_fall_into_the_period(
            gaps in prop::collection::vec(0u64..2_000, 1..60),
            intensity in 0u32..6,
            period_ms in 1u64..5_000,
        ) {
            let period = Duration::from_millis(period_ms);
            let begin = Instant::now();
            let mut window = Window::default();
            let mut times: Vec<Instant> = Vec::new();
            let mut now = begin;
            for gap in gaps {
                now += Duration::from_millis(gap);
                times.push(now);
                let within = times.iter().filter(|at| now - **at <= period).count();
                prop_assert_eq!(window.admit(now, intensity, period), within <= intensity as usize);
                prop_assert!(window.restarts.len() <= intensity as usize + 1);
            }
        }
    }

    #[test]
    fn intensity_zero_bears_nothing() {
        assert!(!Window::default().admit(Instant::now(), 0, Duration::from_secs(1)));
    }
}
