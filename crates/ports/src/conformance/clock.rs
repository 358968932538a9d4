//! A clock that stands still until it is moved.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::Clock;

/// Starts at 2026-01-02T03:04:05.678Z.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl Default for ManualClock {
    fn default() -> Self {
        Self(AtomicI64::new(1_767_323_045_678))
    }
}

impl ManualClock {
    /// Moves it; backwards where `by_ms` is negative, as a wall clock may go.
    pub fn advance(&self, by_ms: i64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }

    /// Sets it to this time, ms since 1970.
    pub fn set(&self, now_ms: i64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}
