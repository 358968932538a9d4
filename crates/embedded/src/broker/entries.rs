//! One client id's place in rmqtt's table of sessions, with patience where rmqtt has none.
//!
//! A client that comes back at once finds its last connection still being torn down. rmqtt asks that one to go (`kick`), and where
//! it ends with the question unanswered, rmqtt takes this for a failure and refuses the client: CONNACK "server unavailable". A second
//! client under the same id finds the place locked, and is refused likewise. Both pass by themselves, so both are waited for.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use rmqtt::session::Session;
use rmqtt::shared::Entry;
use rmqtt::types::{
    From, Id, IsAdmin, OfflineSession, Publish, Reason, SubsSearchResult, Subscribe, SubscribeReturn, Tx, Unsubscribe,
};
use tokio::time::sleep;

/// How long a client waits for its place. rmqtt gives a connection that does not answer 5 s to go.
const WAIT_MAX: Duration = Duration::from_secs(6);
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

pub(super) struct PatientEntry(Box<dyn Entry>);

impl PatientEntry {
    pub(super) fn new(inner: Box<dyn Entry>) -> Self {
        Self(inner)
    }
}

#[async_trait]
impl Entry for PatientEntry {
    async fn try_lock(&self) -> rmqtt::Result<Box<dyn Entry>> {
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            match self.0.try_lock().await {
                Ok(locked) => return Ok(Box::new(Self(locked))),
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
            match self.0.kick(clean_start, clear_subscriptions, is_admin).await {
                Ok(offline) => return Ok(offline),
                Err(error) if Instant::now() >= deadline => return Err(error),
                // It ended meanwhile: next time there is nobody to be asked.
                Err(_) => sleep(RETRY_INTERVAL).await,
            }
        }
    }

    fn id(&self) -> Id {
        self.0.id()
    }

    fn id_same(&self) -> Option<bool> {
        self.0.id_same()
    }

    async fn set(&mut self, session: Session, tx: Tx) -> rmqtt::Result<()> {
        self.0.set(session, tx).await
    }

    async fn remove(&mut self) -> rmqtt::Result<Option<(Session, Tx)>> {
        self.0.remove().await
    }

    async fn remove_with(&mut self, id: &Id) -> rmqtt::Result<Option<(Session, Tx)>> {
        self.0.remove_with(id).await
    }

    async fn online(&self) -> bool {
        self.0.online().await
    }

    async fn is_connected(&self) -> bool {
        self.0.is_connected().await
    }

    fn session(&self) -> Option<Session> {
        self.0.session()
    }

    fn exist(&self) -> bool {
        self.0.exist()
    }

    fn tx(&self) -> Option<Tx> {
        self.0.tx()
    }

    async fn subscribe(&self, subscribe: &Subscribe) -> rmqtt::Result<SubscribeReturn> {
        self.0.subscribe(subscribe).await
    }

    async fn unsubscribe(&self, unsubscribe: &Unsubscribe) -> rmqtt::Result<bool> {
        self.0.unsubscribe(unsubscribe).await
    }

    async fn publish(&self, from: From, publish: Publish) -> Result<(), (From, Publish, Reason)> {
        self.0.publish(from, publish).await
    }

    async fn subscriptions(&self) -> Option<Vec<SubsSearchResult>> {
        self.0.subscriptions().await
    }
}
