//! The store's clock: the machine's, but never running backwards.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use orinoco_ports::Clock;

/// Shows the machine's time unless that lies behind what was shown before, by this run or, as far as the file knows, by an earlier one.
/// Then it goes on from there at the pace of a clock that nobody sets: were it to stand still until the machine's time is there again,
/// a challenge would live for so much longer.
pub(super) struct StoreClock {
    machine: Arc<dyn Clock>,
    shown: Mutex<Shown>,
}

struct Shown {
    highest_ms: i64,
    /// What was shown when the machine's time was last good, and when that was.
    good_ms: i64,
    good_at: Instant,
}

impl StoreClock {
    /// Goes on from `highest_ms`, which the file knows.
    pub(super) fn new(machine: Arc<dyn Clock>, highest_ms: i64) -> Self {
        let shown = Shown { highest_ms, good_ms: highest_ms, good_at: Instant::now() };
        Self { machine, shown: Mutex::new(shown) }
    }

    /// ms since 1970.
    pub(super) fn now_ms(&self) -> i64 {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let machine_ms = self.machine.now_ms();
        if machine_ms >= shown.highest_ms {
            *shown = Shown { highest_ms: machine_ms, good_ms: machine_ms, good_at: Instant::now() };
        } else {
            let passed_ms = i64::try_from(shown.good_at.elapsed().as_millis()).unwrap_or(i64::MAX);
            shown.highest_ms = shown.highest_ms.max(shown.good_ms.saturating_add(passed_ms));
        }
        shown.highest_ms
    }

    /// How far the machine's time lies behind.
    pub(super) fn behind_ms(&self) -> i64 {
        self.now_ms().saturating_sub(self.machine.now_ms()).max(0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use orinoco_ports::conformance::{clock::ManualClock, until};

    use super::*;

    #[test]
    fn it_shows_the_machine_s_time() {
        let machine = Arc::new(ManualClock::default());
        let clock = StoreClock::new(machine.clone(), 5);
        for by_ms in [0, 0, 1, 100_000] {
            machine.advance(by_ms);
            assert_eq!((clock.now_ms(), clock.behind_ms()), (machine.now_ms(), 0));
        }
    }

    #[tokio::test]
    async fn when_the_machine_s_clock_is_set_back_it_goes_on() {
        let machine = Arc::new(ManualClock::default());
        let clock = StoreClock::new(machine.clone(), 0);
        let before_ms = clock.now_ms();
        machine.advance(-3_600_000);
        assert!(clock.now_ms() >= before_ms);
        until("it moves", async || (clock.now_ms() > before_ms).then_some(())).await;
        assert!(clock.behind_ms() >= 3_600_000);
        machine.set(before_ms + 60_000);
        let later_ms = clock.now_ms();
        assert!(later_ms >= before_ms + 60_000, "the machine's time is good again");
    }

    #[tokio::test]
    async fn it_goes_on_where_an_earlier_run_stopped() {
        let machine = Arc::new(ManualClock::default());
        let earlier_ms = machine.now_ms() + 1_000;
        let clock = StoreClock::new(machine.clone(), earlier_ms);
        assert!(clock.now_ms() >= earlier_ms);
        until("it moves", async || (clock.now_ms() > earlier_ms).then_some(())).await;
        // However often it is asked.
        let (asked_ms, asked_at) = (clock.now_ms(), Instant::now());
        while asked_at.elapsed() < Duration::from_millis(20) {
            clock.now_ms();
        }
        assert!(clock.now_ms() >= asked_ms + 19);
    }
}
