//! For how long this process may take itself for the owner of the ingest without asking again.
//!
//! A process that stood still for longer than a lease lives (SIGSTOP, a virtual machine that was paused) has lost it without knowing, and
//! what it then finds in its socket has been delivered to the next owner as well: accepting it would double it. An outage of the lease
//! store is another thing: who is connected goes on. If the store gives the lease to another one meanwhile, that one takes the session over,
//! and the broker ends our connection; what we had accepted until then is older than what the next owner is given again.
//!
//! Connecting is the other way round: it takes the session from whoever has it. What is given again then, and was accepted by a *later*
//! owner, would be in the log twice, the later owner's without any mark that it is to be compared. So who connects must have proof.
//!
//! Invariants: a tenure that ran out comes back only by an answer of the lease store to a question asked after that; a lease is proved
//! by such an answer alone, for as long as it lives from the question on, less a margin, by a clock that is never set.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Of a lease's time to live: what the store's clock may run faster than ours meanwhile.
const MARGIN: u32 = 10;

/// Shared by who keeps the lease and who accepts messages under it.
#[derive(Debug, Clone)]
pub struct Tenure {
    time_to_live: Duration,
    held: Arc<Mutex<Option<Held>>>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    epoch: u64,
    /// The store's answer vouches for it so long.
    proved_until: Instant,
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
        let until = asked + self.time_to_live;
        self.set(epoch.map(|epoch| Held { epoch, proved_until: until - self.time_to_live / MARGIN, until }));
    }

    /// The keeper is at work, whether the store answers or not.
    pub(crate) fn at_work(&self) {
        let now = Instant::now();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.as_mut().filter(|held| now < held.until) {
            held.until = now + self.time_to_live;
        }
    }

    /// Whether nobody else can have had the lease since it was granted in this epoch.
    pub(crate) fn proves(&self, epoch: u64) -> bool {
        self.is_held(epoch, |held| held.proved_until)
    }

    /// Whether the lease is still held in this epoch, as far as this process knows.
    pub(crate) fn holds(&self, epoch: u64) -> bool {
        self.is_held(epoch, |held| held.until)
    }

    fn is_held(&self, epoch: u64, until: impl Fn(Held) -> Instant) -> bool {
        let held = *self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.is_some_and(|held| held.epoch == epoch && Instant::now() < until(held))
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

    #[tokio::test(start_paused = true)]
    async fn only_an_answer_of_the_store_is_proof_and_not_for_longer_than_the_lease_lives() {
        let tenure = Tenure::new(TIME_TO_LIVE);
        let asked = Instant::now();
        tokio::time::advance(TIME_TO_LIVE / 3).await;
        tenure.answered(Some(1), asked);
        assert!(tenure.proves(1) && !tenure.proves(2));
        tokio::time::advance(TIME_TO_LIVE / 3).await;
        tenure.at_work();
        assert!(tenure.proves(1));
        tokio::time::advance(TIME_TO_LIVE / 3 - TIME_TO_LIVE / MARGIN).await;
        tenure.at_work();
        assert!(tenure.holds(1) && !tenure.proves(1), "counted from the question, less the margin");
        tenure.answered(Some(2), Instant::now());
        assert!(tenure.proves(2) && !tenure.proves(1));
        tenure.answered(None, Instant::now());
        assert!(!tenure.proves(2));
    }
}
