//! One client id's place in rmqtt's table of sessions, with patience where rmqtt has none.
//!
//! A client that comes back at once finds its last connection still being torn down. rmqtt asks that one to go (`kick`), and where
//! it ends with the question unanswered, rmqtt takes this for a failure and refuses the client: CONNACK "server unavailable". A second
//! client under the same id finds the place locked, and is refused likewise. Both pass by themselves, so both are waited for.
//!
//! That refusal is used where it is right: for a client that can't be checked at the moment, which rmqtt knows no answer for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rmqtt::session::Session;
use rmqtt::shared::Entry;
use rmqtt::types::{
    From, Id, IsAdmin, OfflineSession, Publish, Reason, SubsSearchResult, Subscribe, SubscribeReturn, Tx, Unsubscribe,
};
use tokio::time::sleep;

use super::authentication::Decided;

/// How long a client waits for its place. rmqtt gives a connection that does not answer 5 s to go.
const WAIT_MAX: Duration = Duration::from_secs(6);
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

pub(super) struct PatientEntry {
    inner: Box<dyn Entry>,
    decided: Arc<Decided>,
}

impl PatientEntry {
    pub(super) fn new(inner: Box<dyn Entry>, decided: Arc<Decided>) -> Self {
        Self { inner, decided }
    }
}

#[async_trait]
impl Entry for PatientEntry {
    async fn try_lock(&self) -> rmqtt::Result<Box<dyn Entry>> {
        if self.decided.is_unavailable(&self.inner.id()) {
            return Err(rmqtt::Error::msg("the client can't be checked at the moment"));
        }
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            match self.inner.try_lock().await {
                Ok(locked) => return Ok(Box::new(Self::new(locked, self.decided.clone()))),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => sleep(RETRY_INTERVAL).await,
            }
        }
    }

    async fn kick(
        &mut self,
        clean_start: bool,
        clear_subscriptions: bool,
        is_admin: IsAdmin,
    ) -> rmqtt::Result<OfflineSession> {
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            match self.inner.kick(clean_start, clear_subscriptions, is_admin).await {
                Ok(offline) => return Ok(offline),
                Err(error) if Instant::now() >= deadline => return Err(error),
                // It ended meanwhile: next time there is nobody to be asked.
                Err(_) => sleep(RETRY_INTERVAL).await,
            }
        }
    }

    fn id(&self) -> Id {
        self.inner.id()
    }

    fn id_same(&self) -> Option<bool> {
        self.inner.id_same()
    }

    async fn set(&mut self, session: Session, tx: Tx) -> rmqtt::Result<()> {
        self.inner.set(session, tx).await
    }

    async fn remove(&mut self) -> rmqtt::Result<Option<(Session, Tx)>> {
        self.inner.remove().await
    }

    async fn remove_with(&mut self, id: &Id) -> rmqtt::Result<Option<(Session, Tx)>> {
        self.inner.remove_with(id).await
    }

    async fn online(&self) -> bool {
        self.inner.online().await
    }

    async fn is_connected(&self) -> bool {
        self.inner.is_connected().await
    }

    fn session(&self) -> Option<Session> {
        self.inner.session()
    }

    fn exist(&self) -> bool {
        self.inner.exist()
    }

    fn tx(&self) -> Option<Tx> {
        self.inner.tx()
    }

    async fn subscribe(&self, subscribe: &Subscribe) -> rmqtt::Result<SubscribeReturn> {
        self.inner.subscribe(subscribe).await
    }

    async fn unsubscribe(&self, unsubscribe: &Unsubscribe) -> rmqtt::Result<bool> {
        self.inner.unsubscribe(unsubscribe).await
    }

    async fn publish(&self, from: From, publish: Publish) -> Result<(), (From, Publish, Reason)> {
        self.inner.publish(from, publish).await
    }

    async fn subscriptions(&self) -> Option<Vec<SubsSearchResult>> {
        self.inner.subscriptions().await
    }
}
