//! The model of the login store by the simulation's clock, with an eye on what must never be.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use orinoco_domain::{
    challenge::{Challenge, ChallengeKey, Status},
    refresh::Family,
};
use orinoco_ports::{
    LoginStore, LoginStoreError, Swap,
    conformance::{clock::ManualClock, login::memory::MemoryLoginStore},
};
use tokio::time::Instant;

use super::Trace;

/// 2026-01-02T03:04:05.678Z.
const BEGIN_MS: i64 = 1_767_323_045_678;
const FAMILIES_PER_USER_MAX: usize = 10_000;

/// See the module.
pub struct LoginServer {
    store: MemoryLoginStore,
    clock: Arc<ManualClock>,
    since: Instant,
    ended: Mutex<BTreeMap<ChallengeKey, Ended>>,
    trace: Trace,
}

struct Ended {
    status: Option<Status>,
    deadline_ms: i64,
}

impl LoginServer {
    #[must_use]
    pub fn new(trace: Trace) -> Arc<Self> {
        let clock: Arc<ManualClock> = Arc::default();
        let store = MemoryLoginStore::new(Arc::clone(&clock), FAMILIES_PER_USER_MAX);
        Arc::new(Self { store, clock, since: Instant::now(), ended: Mutex::default(), trace })
    }

    /// As of now.
    pub fn store(&self) -> &MemoryLoginStore {
        let since_ms = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.clock.set(BEGIN_MS.saturating_add(since_ms));
        &self.store
    }

    pub(super) async fn swap_challenge(
        &self,
        next: &Challenge,
        began: Option<&Family>,
    ) -> Result<Swap<Challenge>, LoginStoreError> {
        let swapped = self.store().swap_challenge(next, began).await?;
        if swapped == Swap::Swapped {
            self.trace.add(format_args!("challenge is {}, version {}", next.status, next.version));
            self.look_at(next, began.is_some());
        }
        Ok(swapped)
    }

    /// One terminal status, one login and only with the exchange, a deadline that never moves away.
    fn look_at(&self, next: &Challenge, is_login: bool) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let before = ended.entry(next.key).or_insert(Ended { status: None, deadline_ms: i64::MAX });
        if let Some(status) = before.status {
            self.trace.violated("one terminal state a challenge", format!("{} after {status}", next.status));
        }
        if is_login != (next.status == Status::Exchanged) {
            self.trace.violated("one family an exchange", format!("{}, login {is_login}", next.status));
        }
        if next.deadline_ms > before.deadline_ms {
            self.trace.violated(
                "no restart prolongs a deadline",
                format!("{} after {}", next.deadline_ms, before.deadline_ms),
            );
        }
        before.deadline_ms = next.deadline_ms;
        before.status = next.status.is_terminal().then_some(next.status);
    }
}
