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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use orinoco_domain::challenge::Status;

    use super::*;
    use crate::challenge::tests::record;

    #[test]
    fn a_copy_proves_what_was_asked_before_it_was_read_and_a_terminal_one_proves_all() {
        let before = std::time::Instant::now();
        let as_of = before + Duration::from_millis(1);
        let after = as_of + Duration::from_millis(1);
        let held = Held::new(record(Status::Pending), 0, as_of);
        assert!(held.proves(before) && !held.proves(as_of) && !held.proves(after));
        assert!(Held::new(record(Status::Denied), 0, as_of).proves(after));
    }

    #[tokio::test(start_paused = true)]
    async fn the_store_s_clock_goes_on_and_the_deadline_is_by_it() {
        let as_of = std::time::Instant::now();
        let pending = record(Status::Pending);
        let held = Held::new(pending.clone(), pending.deadline_ms - 30_000, as_of);
        assert_eq!(held.next_at() - Instant::now(), Duration::from_secs(30));
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(held.now_ms(), pending.deadline_ms - 10_000);
        assert_eq!(held.view().now_ms, pending.deadline_ms - 30_000, "a view is as the store said it");
        // Overdue, and of a record that has ended: the end of its readable minute.
        assert!(Held::new(pending.clone(), pending.deadline_ms + 5, as_of).next_at() <= Instant::now());
        let denied = record(Status::Denied);
        let held = Held::new(denied.clone(), denied.ended_at_ms.unwrap(), as_of);
        assert_eq!(held.next_at() - Instant::now(), Duration::from_secs(60));
    }
}
