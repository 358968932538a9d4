//! A login store in memory: the suites run on it, and so do tests of what uses the port.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use orinoco_domain::{
    account::UserId,
    challenge::{Challenge, ChallengeKey, NewChallenge, Status},
    refresh::{Family, FamilyId},
};
use tokio::sync::broadcast;

use super::LoginStoreFactory;
use crate::{
    BackendInfo, Clock, EndReason, FamilyPage, Loaded, LoginEvent, LoginStore, LoginStoreError, LoginSubscription,
    Swap, conformance::clock::ManualClock,
};

const EVENTS_MAX: usize = 4_096;

/// The factory: one store, one clock.
#[derive(Default)]
pub struct MemoryLogins {
    store: Arc<MemoryLoginStore>,
}

#[async_trait]
impl LoginStoreFactory for MemoryLogins {
    async fn open(&self) -> Arc<dyn LoginStore> {
        self.store.clone()
    }

    async fn open_as_after_kill(&self) -> Arc<dyn LoginStore> {
        let copy = MemoryLoginStore::new(Arc::clone(&self.store.clock), self.store.families_per_user_max);
        *copy.records.lock().unwrap() = self.store.records.lock().unwrap().clone();
        Arc::new(copy)
    }

    fn families_per_user_max(&self) -> usize {
        self.store.families_per_user_max
    }

    async fn advance(&self, by_ms: i64) {
        self.store.clock.advance(by_ms);
    }
}

/// Records whose time is up are never shown, but kept: it is for tests.
pub struct MemoryLoginStore {
    clock: Arc<ManualClock>,
    families_per_user_max: usize,
    records: Mutex<Records>,
    events: Mutex<broadcast::Sender<LoginEvent>>,
    is_away: AtomicBool,
}

#[derive(Default, Clone)]
struct Records {
    challenges: BTreeMap<ChallengeKey, Challenge>,
    families: BTreeMap<FamilyId, Family>,
}

impl Default for MemoryLoginStore {
    fn default() -> Self {
        Self::new(Arc::default(), 20)
    }
}

impl MemoryLoginStore {
    #[must_use]
    pub fn new(clock: Arc<ManualClock>, families_per_user_max: usize) -> Self {
        Self {
            clock,
            families_per_user_max,
            records: Mutex::default(),
            events: Mutex::new(broadcast::channel(EVENTS_MAX).0),
            is_away: AtomicBool::new(false),
        }
    }

    /// An outage begins, or ends: meanwhile every call fails with `Unavailable`, and subscriptions of before have ended.
    ///
    /// # Panics
    /// Never.
    pub fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
        if is_away {
            *self.events.lock().unwrap() = broadcast::channel(EVENTS_MAX).0;
        }
    }

    /// The records and the time, after what a server's round trip lets others do.
    async fn enter(&self) -> Result<(MutexGuard<'_, Records>, i64), LoginStoreError> {
        tokio::task::yield_now().await;
        if self.is_away.load(Ordering::SeqCst) {
            return Err(unavailable("it was told to be away"));
        }
        let records = self.records.lock().unwrap();
        Ok((records, self.clock.now_ms()))
    }

    fn publish(&self, event: LoginEvent) {
        _ = self.events.lock().unwrap().send(event);
    }

    /// Writes a login, and makes room for it before.
    fn begin(&self, records: &mut Records, family: &Family, now_ms: i64) {
        while records.families_of(family.user_id, now_ms).len() >= self.families_per_user_max {
            let first_to_end = records.families_of(family.user_id, now_ms).pop().map(|first| first.id);
            let Some(id) = first_to_end else { break };
            records.families.remove(&id);
            let (user_id, reason) = (family.user_id, EndReason::Displaced);
            self.publish(LoginEvent::LoginsEnded { user_id, family: Some(id), reason });
        }
        records.families.insert(family.id, family.clone());
    }
}

fn unavailable(reason: &str) -> LoginStoreError {
    LoginStoreError::Unavailable { place: "memory".to_owned(), reason: reason.to_owned() }
}

fn taken() -> LoginStoreError {
    LoginStoreError::Taken { place: "memory".to_owned() }
}

impl Records {
    fn challenge(&self, key: &ChallengeKey, now_ms: i64) -> Option<&Challenge> {
        self.challenges.get(key).filter(|challenge| now_ms < challenge.purge_at_ms())
    }

    fn family(&self, id: &FamilyId, now_ms: i64) -> Option<&Family> {
        self.families.get(id).filter(|family| now_ms < family.expires_at_ms)
    }

    /// The latest to end first.
    fn families_of(&self, user_id: UserId, now_ms: i64) -> Vec<&Family> {
        let live = |family: &&Family| family.user_id == user_id && now_ms < family.expires_at_ms;
        let mut families: Vec<&Family> = self.families.values().filter(live).collect();
        families.sort_by_key(|family| std::cmp::Reverse((family.expires_at_ms, family.id)));
        families
    }
}

#[async_trait]
impl LoginStore for MemoryLoginStore {
    async fn now_ms(&self) -> Result<i64, LoginStoreError> {
        self.enter().await.map(|(_, now_ms)| now_ms)
    }

    async fn create_challenge(&self, new: &NewChallenge) -> Result<Challenge, LoginStoreError> {
        let (mut records, now_ms) = self.enter().await?;
        if records.challenge(&new.key, now_ms).is_some() {
            return Err(taken());
        }
        let challenge = new.at(now_ms);
        records.challenges.insert(new.key, challenge.clone());
        Ok(challenge)
    }

    async fn load_challenge(&self, key: &ChallengeKey) -> Result<Loaded<Challenge>, LoginStoreError> {
        let (records, now_ms) = self.enter().await?;
        Ok(Loaded { record: records.challenge(key, now_ms).cloned(), now_ms })
    }

    async fn swap_challenge(
        &self,
        next: &Challenge,
        began: Option<&Family>,
    ) -> Result<Swap<Challenge>, LoginStoreError> {
        let (mut records, now_ms) = self.enter().await?;
        let Some(current) = records.challenge(&next.key, now_ms).cloned() else { return Ok(Swap::Gone) };
        let follows = current.version.checked_add(1) == Some(next.version);
        let in_time = (next.status == Status::Expired) == (now_ms >= current.deadline_ms);
        if !follows || !in_time {
            return Ok(Swap::Conflict { current, now_ms });
        }
        if began.is_some_and(|family| records.family(&family.id, now_ms).is_some()) {
            return Err(taken());
        }
        records.challenges.insert(next.key, next.clone());
        let Challenge { key, version, status, .. } = *next;
        self.publish(LoginEvent::ChallengeChanged { key, version, status });
        if let Some(family) = began {
            self.begin(&mut records, family, now_ms);
        }
        Ok(Swap::Swapped)
    }

    async fn create_family(&self, family: &Family) -> Result<(), LoginStoreError> {
        let (mut records, now_ms) = self.enter().await?;
        if records.family(&family.id, now_ms).is_some() {
            return Err(taken());
        }
        self.begin(&mut records, family, now_ms);
        Ok(())
    }

    async fn load_family(&self, id: &FamilyId) -> Result<Loaded<Family>, LoginStoreError> {
        let (records, now_ms) = self.enter().await?;
        Ok(Loaded { record: records.family(id, now_ms).cloned(), now_ms })
    }

    async fn swap_family(&self, next: &Family) -> Result<Swap<Family>, LoginStoreError> {
        let (mut records, now_ms) = self.enter().await?;
        let Some(current) = records.family(&next.id, now_ms).cloned() else { return Ok(Swap::Gone) };
        if current.version.checked_add(1) != Some(next.version) {
            return Ok(Swap::Conflict { current, now_ms });
        }
        records.families.insert(next.id, next.clone());
        Ok(Swap::Swapped)
    }

    async fn families_of(
        &self,
        user_id: UserId,
        cursor: Option<&str>,
        families_max: usize,
    ) -> Result<FamilyPage, LoginStoreError> {
        let (records, now_ms) = self.enter().await?;
        let from: usize = cursor.map_or(0, |cursor| cursor.parse().unwrap());
        let all = records.families_of(user_id, now_ms);
        let families: Vec<Family> = all.iter().skip(from).take(families_max).copied().cloned().collect();
        let end = from + families.len();
        Ok(FamilyPage { families, next: (end < all.len()).then(|| end.to_string()) })
    }

    async fn end_family(&self, id: &FamilyId, reason: EndReason) -> Result<Option<Family>, LoginStoreError> {
        let (mut records, now_ms) = self.enter().await?;
        let ended = records.family(id, now_ms).cloned();
        records.families.remove(id);
        if let Some(Family { user_id, .. }) = ended {
            self.publish(LoginEvent::LoginsEnded { user_id, family: Some(*id), reason });
        }
        Ok(ended)
    }

    async fn end_families_of(&self, user_id: UserId, reason: EndReason) -> Result<u64, LoginStoreError> {
        let (mut records, now_ms) = self.enter().await?;
        let ended = records.families_of(user_id, now_ms).len() as u64;
        records.families.retain(|_, family| family.user_id != user_id);
        self.publish(LoginEvent::LoginsEnded { user_id, family: None, reason });
        Ok(ended)
    }

    async fn subscribe(&self) -> Result<Box<dyn LoginSubscription>, LoginStoreError> {
        drop(self.enter().await?);
        Ok(Box::new(MemorySubscription(self.events.lock().unwrap().subscribe())))
    }

    async fn probe(&self) -> Result<BackendInfo, LoginStoreError> {
        drop(self.enter().await?);
        Ok(BackendInfo { version: "memory".to_owned(), advice: Vec::new() })
    }
}

struct MemorySubscription(broadcast::Receiver<LoginEvent>);

#[async_trait]
impl LoginSubscription for MemorySubscription {
    async fn next(&mut self) -> Result<LoginEvent, LoginStoreError> {
        self.0.recv().await.map_err(|error| unavailable(&error.to_string()))
    }
}
