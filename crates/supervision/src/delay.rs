//! One delay queue for all deadlines of a pool: a timer wheel in place of a timer for each child.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use tokio::time::Instant;
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key;

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
}

/// Who is told about a deadline.
pub(crate) trait Due: Send + Sync {
    fn due(self: Arc<Self>, deadline: Deadline);
}

/// Deadlines in order. Entries are taken out when a child ends, so the queue is as large as the pool, not its history.
pub(crate) struct Delays {
    queue: Mutex<DelayQueue<(Arc<dyn Due>, Deadline)>>,
}

impl Delays {
    pub(crate) fn new() -> Self {
        Self { queue: Mutex::new(DelayQueue::new()) }
    }

    pub(crate) fn insert(&self, who: Arc<dyn Due>, deadline: Deadline, at: Instant) -> Key {
        lock(&self.queue).insert_at((who, deadline), at)
    }

    /// Takes a deadline out; one that has passed meanwhile is no error.
    pub(crate) fn remove(&self, key: &Key) {
        let removed = lock(&self.queue).try_remove(key);
        // Dropped here, outside of the lock: it may be the last reference to a child.
        drop(removed);
    }

    /// How many deadlines are pending.
    pub(crate) fn len(&self) -> usize {
        lock(&self.queue).len()
    }

    /// Tells each deadline, for ever.
    pub(crate) async fn drive(&self) {
        loop {
            let (who, deadline) = poll_fn(|context| match lock(&self.queue).poll_expired(context) {
                Poll::Ready(Some(expired)) => Poll::Ready(expired.into_inner()),
                // An empty queue has kept the waker: the next insertion wakes this task.
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            })
            .await;
            who.due(deadline);
        }
    }
}
