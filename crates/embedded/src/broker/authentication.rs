//! Who may connect, and what a session may publish and subscribe to. Fails closed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rmqtt::session::Session;
use rmqtt::types::{AuthResult, ConnectInfo, Id, LastWill};
use tokio::time::timeout;

use super::access::{Anonymous, Authenticator, Decision, Permission, Rights};
use super::carried::Carried;
use super::counters::Counters;
use super::options::BrokerOptions;
use super::panic::caught;

/// Under this name rmqtt's session holds its [`Rights`].
const RIGHTS: &str = "orinoco-rights";
/// CONNECTs that were decided and have no session yet. Their number is bounded by the handshakes; what is left of failed ones goes after
/// [`DECIDED_LIFE`].
const DECIDED_MAX: usize = 4_096;
const DECIDED_LIFE: Duration = Duration::from_secs(60);

pub(super) struct Authentication {
    anonymous: Anonymous,
    authenticator: Option<Arc<dyn Authenticator>>,
    timeout: Duration,
    counters: Arc<Counters>,
    decided: Arc<Decided>,
    carried: Arc<Carried>,
}

/// What was decided about CONNECTs, until their sessions exist: rmqtt has no place for it in between.
#[derive(Default)]
pub(super) struct Decided(Mutex<HashMap<Id, (Instant, Decision)>>);

impl Decided {
    /// False: there is no room.
    fn note(&self, id: Id, decision: Decision) -> bool {
        let mut decided = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if decided.len() >= DECIDED_MAX {
            decided.retain(|_, (since, _)| now.duration_since(*since) < DECIDED_LIFE);
        }
        let has_room = decided.len() < DECIDED_MAX;
        if has_room {
            decided.insert(id, (now, decision));
        }
        has_room
    }

    fn take(&self, id: &Id) -> Option<Decision> {
        let mut decided = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        decided.remove(id).map(|(_, decision)| decision)
    }

    /// Whether the client can't be checked at the moment; said once.
    pub(super) fn is_unavailable(&self, id: &Id) -> bool {
        let mut decided = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unavailable = matches!(decided.get(id), Some((_, Decision::Unavailable)));
        if unavailable {
            decided.remove(id);
        }
        unavailable
    }
}

impl Authentication {
    pub(super) fn new(
        options: &BrokerOptions,
        counters: Arc<Counters>,
        decided: Arc<Decided>,
        carried: Arc<Carried>,
    ) -> Self {
        Self {
            anonymous: options.anonymous,
            authenticator: options.authenticator.clone(),
            timeout: options.authentication_timeout,
            counters,
            decided,
            carried,
        }
    }

    /// Decides about a CONNECT.
    ///
    /// Never superuser, whose messages rmqtt passes by the hooks, and so by the intake.
    pub(super) async fn check(&self, connect: &ConnectInfo) -> AuthResult {
        let decision = self.decide(connect).await;
        if !matches!(decision, Some(Decision::Allow(_)) | None) {
            self.counters.connections_denied.increment();
        }
        match decision {
            None => AuthResult::Allow(false, None),
            Some(Decision::Deny) => AuthResult::NotAuthorized,
            // rmqtt has no answer "unavailable" here: the session's place is refused next, by `entries`.
            Some(decision) if self.decided.note(connect.id().clone(), decision.clone()) => {
                AuthResult::Allow(false, None)
            }
            Some(_) => AuthResult::NotAuthorized,
        }
    }

    /// `None`: anything is allowed.
    async fn decide(&self, connect: &ConnectInfo) -> Option<Decision> {
        let Ok(client) = self.carried.origin(connect.id()) else { return Some(Decision::Deny) };
        let is_anonymous = connect.username().is_none() && connect.password().is_none();
        if (is_anonymous || self.authenticator.is_none()) && !takes_anonymous(self.anonymous, client) {
            return Some(Decision::Deny);
        }
        let authenticator = self.authenticator.as_ref()?;
        let decision = match timeout(self.timeout, caught(ask(&**authenticator, connect))).await {
            Ok(Ok(decision)) => decision,
            Ok(Err(_)) | Err(_) => Decision::Unavailable,
        };
        if matches!(decision, Decision::Unavailable) {
            tracing::warn!(client_id = %connect.client_id(), "an MQTT client can't be checked at the moment; refused");
        }
        Some(decision)
    }

    /// The client has its session.
    pub(super) async fn admit(&self, session: &Session) {
        if let Some(Decision::Allow(rights)) = self.decided.take(&session.id) {
            session.extra_attrs.write().await.insert(RIGHTS.into(), rights);
        }
    }

    pub(super) async fn may_publish(&self, session: &Session, topic: &str) -> Permission {
        match rights(session).await {
            Some(rights) => rights.may_publish(topic).await,
            None if self.authenticator.is_none() => Permission::Granted,
            None => Permission::Denied,
        }
    }

    /// A will is published when its client has gone, and perhaps its rights.
    pub(super) async fn may_will(&self, session: Option<&Session>, topic: &str) -> bool {
        if self.authenticator.is_none() {
            return true;
        }
        let Some(session) = session else { return false };
        let holds = rights(session).await.is_some_and(|rights| rights.hold());
        holds && self.may_publish(session, topic).await == Permission::Granted
    }

    pub(super) async fn may_subscribe(&self, session: &Session, filter: &str) -> bool {
        match rights(session).await {
            Some(rights) => rights.may_subscribe(filter),
            None => self.authenticator.is_none(),
        }
    }
}

/// What the session was given when it connected.
pub(super) async fn rights(session: &Session) -> Option<Arc<dyn Rights>> {
    session.extra_attrs.read().await.get::<Arc<dyn Rights>>(RIGHTS).cloned()
}

async fn ask(authenticator: &dyn Authenticator, connect: &ConnectInfo) -> Decision {
    let decision = authenticator.check(
        connect.username().map(|username| &**username),
        connect.password().map(|password| &**password),
        connect.client_id(),
    );
    let rights = match decision.await {
        Decision::Allow(rights) => rights,
        refused => return refused,
    };
    let Some(topic) = will_topic(connect) else { return Decision::Allow(rights) };
    match rights.may_publish(topic).await {
        Permission::Granted => Decision::Allow(rights),
        Permission::Denied => Decision::Deny,
        Permission::Unknown => Decision::Unavailable,
    }
}

fn will_topic(connect: &ConnectInfo) -> Option<&str> {
    connect.last_will().map(|will| match will {
        LastWill::V3(will) => &*will.topic,
        LastWill::V5(will) => &*will.topic,
    })
}

fn takes_anonymous(anonymous: Anonymous, peer: Option<SocketAddr>) -> bool {
    match anonymous {
        Anonymous::Nowhere => false,
        // An IPv4 peer at an IPv6 socket is an IPv6 address (RFC 4291, section 2.5.5.2).
        Anonymous::Loopback => peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback()),
        Anonymous::Everywhere => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Anonymous, takes_anonymous};

    #[test]
    fn anonymous_clients_come_from_where_they_may() {
        for (peer, is_loopback) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("198.51.100.1:1", false),
            ("[::ffff:198.51.100.1]:1", false),
            ("[fe80::1]:1", false),
        ] {
            let peer = Some(peer.parse().unwrap());
            assert_eq!(takes_anonymous(Anonymous::Loopback, peer), is_loopback, "{peer:?}");
            assert!(takes_anonymous(Anonymous::Everywhere, peer));
            assert!(!takes_anonymous(Anonymous::Nowhere, peer));
        }
        assert!(!takes_anonymous(Anonymous::Loopback, None));
    }
}
