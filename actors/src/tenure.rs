//! For how long this process may take itself for the owner of the ingest without asking again.
//!
//! A process that stood still for longer than a lease lives (SIGSTOP, a virtual machine that was paused) has lost it without knowing, and
//! what it then finds in its socket has been delivered to the next owner as well: accepting it would double it. An outage of the lease
//! store is another thing: the keeper goes on, and so do the owners.
//!
//! Invariant: a tenure that ran out comes back only by an answer of the lease store to a question asked after that.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Shared by who keeps the lease and who accepts messages under it.
#[derive(Debug, Clone)]
pub struct Tenure {
    time_to_live: Duration,
    held: Arc<Mutex<Option<Held>>>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    epoch: u64,
    until: Instant,
}

impl Tenure {
    /// None yet. `time_to_live`: the lease's.
    #[must_use]
    pub fn new(time_to_live: Duration) -> Self {
        Self { time_to_live, held: Arc::default() }
    }

    /// The lease's.
    #[must_use]
    pub fn time_to_live(&self) -> Duration {
        self.time_to_live
    }

    /// The store answered what was asked at `asked`: the lease is held in this epoch, or is another's.
    pub(crate) fn answered(&self, epoch: Option<u64>, asked: Instant) {
        self.set(epoch.map(|epoch| Held { epoch, until: asked + self.time_to_live }));
    }

    /// The keeper is at work, whether the store answers or not.
    pub(crate) fn at_work(&self) {
        let now = Instant::now();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.as_mut().filter(|held| now < held.until) {
            held.until = now + self.time_to_live;
        }
    }

    /// Whether the lease is still held in this epoch.
    pub(crate) fn holds(&self, epoch: u64) -> bool {
        let held = *self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.is_some_and(|held| held.epoch == epoch && Instant::now() < held.until)
    }

    fn set(&self, held: Option<Held>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME_TO_LIVE: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn an_outage_of_the_store_prolongs_it_and_a_pause_of_the_process_ends_it() {
        let tenure = Tenure::new(TIME_TO_LIVE);
        tenure.at_work();
        assert!(!tenure.holds(1), "nobody has answered yet");
        tenure.answered(Some(1), Instant::now());
        for _ in 0..100 {
            tokio::time::advance(TIME_TO_LIVE / 2).await;
            tenure.at_work();
            assert!(tenure.holds(1) && !tenure.holds(2));
        }
        let asked = Instant::now();
        tokio::time::advance(TIME_TO_LIVE).await;
        tenure.at_work();
        assert!(!tenure.holds(1));
        // An answer that lay in the socket all the while says how it was then.
        tenure.answered(Some(1), asked);
        assert!(!tenure.holds(1));
        tenure.answered(Some(1), Instant::now());
        assert!(tenure.holds(1));
        tenure.answered(None, Instant::now());
        tenure.at_work();
        assert!(!tenure.holds(1));
    }
}
