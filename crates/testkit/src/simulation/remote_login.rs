//! The port of the login half behind a [`Link`](super::Link).

use std::sync::Arc;

use async_trait::async_trait;
use orinoco_domain::{
    account::UserId,
    challenge::{Challenge, ChallengeKey, NewChallenge},
    refresh::{Family, FamilyId},
};
use orinoco_ports::{
    BackendInfo, EndReason, FamilyPage, Loaded, LoginEvent, LoginStore, LoginStoreError, LoginSubscription, Swap,
};

use super::{Link, LoginServer, Remote, link::Unreachable};

impl From<Unreachable> for LoginStoreError {
    fn from(_: Unreachable) -> Self {
        Self::Unavailable { place: "simulated".to_owned(), reason: "the way is cut".to_owned() }
    }
}

#[async_trait]
impl LoginStore for Remote<Arc<LoginServer>> {
    async fn now_ms(&self) -> Result<i64, LoginStoreError> {
        self.link.call("time", async { self.near.store().now_ms().await }).await?
    }

    async fn create_challenge(&self, new: &NewChallenge) -> Result<Challenge, LoginStoreError> {
        self.link.call("create challenge", async { self.near.store().create_challenge(new).await }).await?
    }

    async fn load_challenge(&self, key: &ChallengeKey) -> Result<Loaded<Challenge>, LoginStoreError> {
        self.link.call("load challenge", async { self.near.store().load_challenge(key).await }).await?
    }

    async fn swap_challenge(
        &self,
        next: &Challenge,
        began: Option<&Family>,
    ) -> Result<Swap<Challenge>, LoginStoreError> {
        self.link.call("swap challenge", async { self.near.swap_challenge(next, began).await }).await?
    }

    async fn create_family(&self, family: &Family) -> Result<(), LoginStoreError> {
        self.link.call("create family", async { self.near.store().create_family(family).await }).await?
    }

    async fn load_family(&self, id: &FamilyId) -> Result<Loaded<Family>, LoginStoreError> {
        self.link.call("load family", async { self.near.store().load_family(id).await }).await?
    }

    async fn swap_family(&self, next: &Family) -> Result<Swap<Family>, LoginStoreError> {
        self.link.call("swap family", async { self.near.store().swap_family(next).await }).await?
    }

    async fn families_of(
        &self,
        user_id: UserId,
        cursor: Option<&str>,
        families_max: usize,
    ) -> Result<FamilyPage, LoginStoreError> {
        let call = async { self.near.store().families_of(user_id, cursor, families_max).await };
        self.link.call("families", call).await?
    }

    async fn end_family(&self, id: &FamilyId, reason: EndReason) -> Result<Option<Family>, LoginStoreError> {
        self.link.call("end family", async { self.near.store().end_family(id, reason).await }).await?
    }

    async fn end_families_of(&self, user_id: UserId, reason: EndReason) -> Result<u64, LoginStoreError> {
        self.link.call("end families", async { self.near.store().end_families_of(user_id, reason).await }).await?
    }

    async fn subscribe(&self) -> Result<Box<dyn LoginSubscription>, LoginStoreError> {
        let connection = self.link.connection();
        let near = self.link.call("subscribe", async { self.near.store().subscribe().await }).await??;
        Ok(Box::new(RemoteLoginSubscription { near, link: Arc::clone(&self.link), connection }))
    }

    async fn probe(&self) -> Result<BackendInfo, LoginStoreError> {
        self.link.call("probe", async { self.near.store().probe().await }).await?
    }
}

struct RemoteLoginSubscription {
    near: Box<dyn LoginSubscription>,
    link: Arc<Link>,
    connection: u64,
}

#[async_trait]
impl LoginSubscription for RemoteLoginSubscription {
    async fn next(&mut self) -> Result<LoginEvent, LoginStoreError> {
        tokio::select! {
            biased;
            () = self.link.ended(self.connection) => Err(Unreachable.into()),
            event = self.near.next() => event,
        }
    }
}
