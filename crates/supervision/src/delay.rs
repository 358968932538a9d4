//! One queue for all deadlines of a pool: an ordered map and one timer, in place of a timer for each child.
//!
//! An own structure because `tokio_util::time::DelayQueue` walks its lists at each removal in debug builds (2 ms for a
//! child that ends among 100,000); here it is a logarithm in any build.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::sync::lock;

/// What a deadline means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// The child's time is over.
    Ttl,
    /// The child may have been idle for too long.
    Idle,
    /// The child's backoff is over.
    Restart,
    /// A message that a child sends to itself is due.
    Alarm,
}

/// Who is told about a deadline.
pub(crate) trait Due: Send + Sync {
    fn due(self: Arc<Self>, deadline: Deadline);
}

/// Names an entry: its time, and a number that makes it unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(Instant, u64);

struct Queue {
    entries: BTreeMap<Key, (Arc<dyn Due>, Deadline)>,
    next_number: u64,
}

/// Deadlines in order. Entries are taken out when a child ends, so the queue is as large as the pool, not its history.
pub(crate) struct Delays {
    queue: Mutex<Queue>,
    /// Told when an entry becomes the first.
    earlier: Notify,
}

impl Delays {
    pub(crate) fn new() -> Self {
        let queue = Queue { entries: BTreeMap::new(), next_number: 0 };
        Self { queue: Mutex::new(queue), earlier: Notify::new() }
    }

    pub(crate) fn insert(&self, who: Arc<dyn Due>, deadline: Deadline, at: Instant) -> Key {
        let mut queue = lock(&self.queue);
        let key = Key(at, queue.next_number);
        queue.next_number += 1;
        let first = queue.entries.first_key_value().is_none_or(|(first, _)| key < *first);
        queue.entries.insert(key, (who, deadline));
        drop(queue);
        if first {
            self.earlier.notify_one();
        }
        key
    }

    /// Takes a deadline out; one that has passed meanwhile is no error.
    pub(crate) fn remove(&self, key: &Key) {
        let removed = lock(&self.queue).entries.remove(key);
        // Dropped here, outside of the lock: it may be the last reference to a child.
        drop(removed);
    }

    /// How many deadlines are pending.
    pub(crate) fn len(&self) -> usize {
        lock(&self.queue).entries.len()
    }

    /// Tells each deadline, for ever.
    pub(crate) async fn drive(&self) {
        loop {
            let now = Instant::now();
            let next = {
                let mut queue = lock(&self.queue);
                match queue.entries.first_entry() {
                    Some(first) if first.key().0 <= now => Ok(first.remove()),
                    Some(first) => Err(Some(first.key().0)),
                    None => Err(None),
                }
            };
            match next {
                Ok((who, deadline)) => {
                    who.due(deadline);
                    // Many may be due at once: let others have their turn too.
                    tokio::task::consume_budget().await;
                }
                Err(None) => self.earlier.notified().await,
                Err(Some(at)) => {
                    tokio::select! {
                        () = sleep_until(at) => {}
                        () = self.earlier.notified() => {}
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    struct Told(u64, Arc<Mutex<Vec<(u64, u128)>>>, Instant);

    impl Due for Told {
        fn due(self: Arc<Self>, _: Deadline) {
            lock(&self.1).push((self.0, self.2.elapsed().as_millis()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_not_removed_is_told_once_at_its_time_in_order(
            plan in prop::collection::vec((0u64..5_000, any::<bool>()), 1..40),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let Ok(runtime) = runtime else { return Err(TestCaseError::fail("no runtime")) };
            let told = runtime.block_on(async {
                let begin = Instant::now();
                let told = Arc::new(Mutex::new(Vec::new()));
                let delays = Arc::new(Delays::new());
                let driven = Arc::clone(&delays);
                let driver = tokio::spawn(async move { driven.drive().await });
                for (number, (at_ms, removed)) in plan.iter().enumerate() {
                    let who = Arc::new(Told(number as u64, Arc::clone(&told), begin));
                    let key = delays.insert(who, Deadline::Ttl, begin + Duration::from_millis(*at_ms));
                    if *removed {
                        delays.remove(&key);
                        delays.remove(&key);
                    }
                }
                tokio::time::sleep(Duration::from_secs(10)).await;
                driver.abort();
                assert_eq!(delays.len(), 0);
                std::mem::take(&mut *lock(&told))
            });
            let mut expected: Vec<(u64, u64)> = plan.iter().enumerate()
                .filter(|(_, (_, removed))| !removed)
                .map(|(number, (at_ms, _))| (number as u64, *at_ms))
                .collect();
            expected.sort_by_key(|(number, at_ms)| (*at_ms, *number));
            let numbers: Vec<u64> = told.iter().map(|(number, _)| *number).collect();
            prop_assert_eq!(numbers, expected.iter().map(|(number, _)| *number).collect::<Vec<_>>());
            for ((_, told_ms), (_, at_ms)) in told.iter().zip(&expected) {
                let late_ms = told_ms - u128::from(*at_ms);
                prop_assert!(late_ms <= 1, "{} ms late", late_ms);
            }
        }
    }
}
