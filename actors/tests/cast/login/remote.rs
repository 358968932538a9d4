//! A login store that takes its time, as one behind a network does; whose clock passes with the runtime's paused time; and that one
//! daemon alone may lose sight of.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use orinoco_domain::{
    account::UserId,
    challenge::{Challenge, ChallengeKey, NewChallenge},
    refresh::{Family, FamilyId},
};
use orinoco_ports::{
    BackendInfo, EndReason, FamilyPage, Loaded, LoginEvent, LoginStore, LoginStoreError, LoginSubscription, Swap,
    conformance::{clock::ManualClock, login::memory::MemoryLoginStore},
};
use tokio::{sync::watch, time::Instant};

const BEGIN_MS: i64 = 1_767_323_045_678;
const WAY_MS_MAX: u64 = 3;
/// Publications are slower than answers.
const PUBLICATION_DELAY: Duration = Duration::from_millis(20);

/// The store itself, which all daemons see.
pub(crate) struct Server {
    store: MemoryLoginStore,
    clock: Arc<ManualClock>,
    since: Instant,
}

impl Server {
    /// The first of a test: what is random in it follows from here.
    pub(crate) fn start() -> Arc<Self> {
        crate::seed::begin();
        Self::unseeded()
    }

    /// For a test that seeds this thread itself.
    pub(crate) fn unseeded() -> Arc<Self> {
        let clock: Arc<ManualClock> = Arc::default();
        let store = MemoryLoginStore::new(Arc::clone(&clock), 10_000);
        Arc::new(Self { store, clock, since: Instant::now() })
    }

    /// As of now.
    pub(crate) fn store(&self) -> &MemoryLoginStore {
        self.clock.set(BEGIN_MS + i64::try_from(self.since.elapsed().as_millis()).unwrap());
        &self.store
    }

    pub(crate) async fn record(&self, key: ChallengeKey) -> Option<Challenge> {
        self.store().load_challenge(&key).await.unwrap().record
    }

    pub(crate) async fn families(&self, user_id: UserId) -> Vec<Family> {
        self.store().families_of(user_id, None, 10_000).await.unwrap().families
    }
}

/// One daemon's way to it.
pub(crate) struct Remote {
    server: Arc<Server>,
    is_cut: watch::Sender<bool>,
    rival: Mutex<Option<Family>>,
}

impl Remote {
    pub(crate) fn new(server: &Arc<Server>) -> Arc<Self> {
        Arc::new(Self { server: Arc::clone(server), is_cut: watch::Sender::new(false), rival: Mutex::default() })
    }

    /// The next exchange is lost on its way, and another daemon's, of the same moment, is done, which began this login.
    pub(crate) fn be_forestalled(&self, rival: Family) {
        *self.rival.lock().unwrap() = Some(rival);
    }

    /// From now on no request arrives, and none that is under way is answered; or they do again.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.is_cut.send_replace(is_cut);
    }

    async fn reach<T>(&self, call: impl Future<Output = Result<T, LoginStoreError>>) -> Result<T, LoginStoreError> {
        self.go().await?;
        let answer = call.await;
        // What was done is done, but who asked may not learn it.
        self.go().await?;
        answer
    }

    async fn go(&self) -> Result<(), LoginStoreError> {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=WAY_MS_MAX))).await;
        if *self.is_cut.borrow() { Err(away()) } else { Ok(()) }
    }
}

fn away() -> LoginStoreError {
    LoginStoreError::Unavailable { place: "remote".to_owned(), reason: "cut".to_owned() }
}

#[async_trait]
impl LoginStore for Remote {
    async fn now_ms(&self) -> Result<i64, LoginStoreError> {
        self.reach(async { self.server.store().now_ms().await }).await
    }

    async fn create_challenge(&self, new: &NewChallenge) -> Result<Challenge, LoginStoreError> {
        self.reach(async { self.server.store().create_challenge(new).await }).await
    }

    async fn load_challenge(&self, key: &ChallengeKey) -> Result<Loaded<Challenge>, LoginStoreError> {
        self.reach(async { self.server.store().load_challenge(key).await }).await
    }

    async fn swap_challenge(
        &self,
        next: &Challenge,
        began: Option<&Family>,
    ) -> Result<Swap<Challenge>, LoginStoreError> {
        let rival = self.rival.lock().unwrap().take_if(|_| began.is_some());
        if let Some(rival) = rival {
            assert_eq!(self.server.store().swap_challenge(next, Some(&rival)).await?, Swap::Swapped);
            return Err(away());
        }
        self.reach(async { self.server.store().swap_challenge(next, began).await }).await
    }

    async fn create_family(&self, family: &Family) -> Result<(), LoginStoreError> {
        self.reach(async { self.server.store().create_family(family).await }).await
    }

    async fn load_family(&self, id: &FamilyId) -> Result<Loaded<Family>, LoginStoreError> {
        self.reach(async { self.server.store().load_family(id).await }).await
    }

    async fn swap_family(&self, next: &Family) -> Result<Swap<Family>, LoginStoreError> {
        self.reach(async { self.server.store().swap_family(next).await }).await
    }

    async fn families_of(
        &self,
        user_id: UserId,
        cursor: Option<&str>,
        families_max: usize,
    ) -> Result<FamilyPage, LoginStoreError> {
        self.reach(async { self.server.store().families_of(user_id, cursor, families_max).await }).await
    }

    async fn end_family(&self, id: &FamilyId, reason: EndReason) -> Result<Option<Family>, LoginStoreError> {
        self.reach(async { self.server.store().end_family(id, reason).await }).await
    }

    async fn end_families_of(&self, user_id: UserId, reason: EndReason) -> Result<u64, LoginStoreError> {
        self.reach(async { self.server.store().end_families_of(user_id, reason).await }).await
    }

    async fn subscribe(&self) -> Result<Box<dyn LoginSubscription>, LoginStoreError> {
        let near = self.reach(async { self.server.store().subscribe().await }).await?;
        Ok(Box::new(RemoteSubscription { near, is_cut: self.is_cut.subscribe() }))
    }

    async fn probe(&self) -> Result<BackendInfo, LoginStoreError> {
        self.reach(async { self.server.store().probe().await }).await
    }
}

struct RemoteSubscription {
    near: Box<dyn LoginSubscription>,
    is_cut: watch::Receiver<bool>,
}

#[async_trait]
impl LoginSubscription for RemoteSubscription {
    async fn next(&mut self) -> Result<LoginEvent, LoginStoreError> {
        let is_cut = async { drop(self.is_cut.wait_for(|is_cut| *is_cut).await) };
        let event = tokio::select! {
            biased;
            () = is_cut => Err(away()),
            event = self.near.next() => event,
        };
        tokio::time::sleep(PUBLICATION_DELAY).await;
        event
    }
}
