//! The copy of the record, and what it proves.

use std::{sync::Arc, time::Duration};

use orinoco_domain::challenge::Challenge as Record;
use tokio::time::Instant;

use super::ChallengeView;

pub(super) struct Held {
    pub(super) record: Arc<Record>,
    /// The store's clock when it held this, and this daemon's then.
    now_ms: i64,
    at: Instant,
    /// The store held this at some moment after this one. Of the operating system's clock, which orders what happens even where a test
    /// pauses the runtime's.
    as_of: std::time::Instant,
}

impl Held {
    pub(super) fn new(record: Record, now_ms: i64, as_of: std::time::Instant) -> Self {
        Self { record: Arc::new(record), now_ms, at: Instant::now(), as_of }
    }

    /// Whether a request of that moment may be answered without asking the store: it saw the copy's state or an earlier one, or the copy
    /// never changes.
    pub(super) fn proves(&self, asked_at: std::time::Instant) -> bool {
        self.record.status.is_terminal() || self.as_of > asked_at
    }

    /// The store's clock by now, as far as this daemon knows.
    pub(super) fn now_ms(&self) -> i64 {
        self.now_ms.saturating_add(i64::try_from(self.at.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    /// As the store said it: its own clock, no guess.
    pub(super) fn view(&self) -> ChallengeView {
        ChallengeView { record: Arc::clone(&self.record), now_ms: self.now_ms }
    }

    /// When time alone changes something: the deadline, or the end of the readable minute.
    pub(super) fn next_at(&self) -> Instant {
        let record = &self.record;
        let due_ms = if record.status.is_terminal() { record.purge_at_ms() } else { record.deadline_ms };
        let wait_ms = u64::try_from(due_ms.saturating_sub(self.now_ms)).unwrap_or(0);
        self.at + Duration::from_millis(wait_ms)
    }
}
