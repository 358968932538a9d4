//! rmqtt's hooks: where a PUBLISH becomes an accepted message.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use orinoco_ports::InboundMessage;
use rmqtt::codec::types::MQTT_LEVEL_5;
use rmqtt::codec::v5::SubscribeAckReason;
use rmqtt::context::ServerContext;
use rmqtt::hook::{Handler, HookResult, Parameter, ReturnType, Type};
use rmqtt::session::Session;
use rmqtt::types::{ClientId, From, FromType, Publish, PublishAclResult, QoS, Reason, Subscribe, SubscribeAclResult};

use super::access::Permission;
use super::authentication::{Authentication, Decided};
use super::carried::Carried;
use super::counters::Counters;
use super::exactly_once::OpenPublishes;
use super::fan_out::Subscribers;
use super::gate::{Gate, Refusal};
use super::options::BrokerOptions;
use super::panic::caught;
use super::topic_name::can_be_forwarded;

/// User property that carries a W3C trace context, and the length it is taken up to.
const TRACEPARENT: &str = "traceparent";
const TRACEPARENT_SIZE_MAX: usize = 64;

/// What we decide at. Everything else rmqtt does by itself.
const HOOKS: [Type; 13] = [
    Type::ClientAuthenticate,
    Type::ClientConnected,
    Type::ClientDisconnected,
    Type::ClientKeepalive,
    Type::ClientSubscribe,
    Type::ClientSubscribeCheckAcl,
    Type::ClientUnsubscribe,
    Type::MessageAcked,
    Type::MessageDropped,
    Type::MessagePublish,
    Type::MessagePublishCheckAcl,
    Type::SessionCreated,
    Type::SessionTerminated,
];

pub(super) struct Hooks {
    gate: Arc<Gate>,
    counters: Arc<Counters>,
    subscribers: Arc<Subscribers>,
    authentication: Authentication,
    /// Sessions that published at QoS 2, and how many: almost always none, which spares the others the lock.
    open_publishes: Mutex<HashMap<ClientId, OpenPublishes>>,
    open_publishes_count: AtomicUsize,
    inflight_max: usize,
    levels_max: usize,
    draining: AtomicBool,
}

impl Hooks {
    pub(super) fn new(
        options: &BrokerOptions,
        gate: Arc<Gate>,
        counters: Arc<Counters>,
        subscribers: Arc<Subscribers>,
        decided: Arc<Decided>,
        carried: Arc<Carried>,
    ) -> Arc<Self> {
        let authentication = Authentication::new(options, counters.clone(), decided, carried);
        Arc::new(Self {
            gate,
            counters,
            subscribers,
            authentication,
            open_publishes: Mutex::default(),
            open_publishes_count: AtomicUsize::new(0),
            inflight_max: usize::from(options.inflight_max),
            levels_max: options.topic_levels_max,
            draining: AtomicBool::new(false),
        })
    }

    /// Installs the hooks. They do nothing before `start`, and no connection may come before it.
    pub(super) async fn install(self: &Arc<Self>, context: &ServerContext) {
        let register = context.extends.hook_mgr().register();
        for hook in HOOKS {
            register.add(hook, Box::new(Installed(self.clone()))).await;
        }
        register.start().await;
    }

    /// From now on no will is published: the devices have not gone, we have.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    async fn decide(&self, parameter: &Parameter<'_>) -> Option<HookResult> {
        match parameter {
            Parameter::MessagePublish(session, from, publish) => self.publishing(*session, from, publish).await,
            Parameter::MessagePublishCheckAcl(session, publish) => {
                Some(HookResult::PublishAclResult(self.publish(session, publish).await))
            }
            Parameter::ClientAuthenticate(connect) => {
                Some(HookResult::AuthResult(self.authentication.check(connect).await))
            }
            Parameter::ClientSubscribeCheckAcl(session, subscribe) => self.subscribe(session, subscribe).await,
            Parameter::ClientConnected(session) => {
                self.authentication.admit(session).await;
                self.observe(parameter);
                None
            }
            other => {
                self.observe(other);
                None
            }
        }
    }

    fn observe(&self, parameter: &Parameter<'_>) {
        match parameter {
            Parameter::ClientKeepalive(session, false) => {
                self.with_open_publishes(session, OpenPublishes::packet_processed)
            }
            Parameter::ClientSubscribe(session, _)
            | Parameter::ClientUnsubscribe(session, _)
            | Parameter::MessageAcked(session, _, _) => {
                self.with_open_publishes(session, OpenPublishes::packet_explained)
            }
            Parameter::ClientConnected(session) => {
                self.counters.connections_accepted.increment();
                self.with_open_publishes(session, OpenPublishes::resumed);
            }
            Parameter::ClientDisconnected(..) => self.counters.connections_ended.increment(),
            Parameter::SessionCreated(session) | Parameter::SessionTerminated(session, _) => {
                self.forget(session);
                self.subscribers.forget(&session.id.client_id);
            }
            Parameter::MessageDropped(_, _, _, Reason::MessageQueueFull) => self.counters.queue_full.increment(),
            _ => {}
        }
    }

    /// Before a message is passed on, a client's or its will: decides whether subscribers may have it.
    async fn publishing(&self, session: Option<&Session>, from: &From, publish: &Publish) -> Option<HookResult> {
        let is_will = matches!(from.typ(), FromType::LastWill);
        if is_will && self.draining.load(Ordering::Acquire) {
            return Some(HookResult::Publish(for_nobody(publish)));
        }
        if is_will && !self.authentication.may_will(session, &publish.topic).await {
            self.counters.unauthorized.increment();
            self.counters.wills_lost.increment();
            return Some(HookResult::Publish(for_nobody(publish)));
        }
        if is_will {
            self.will(publish).await;
        }
        let is_repeated = session.is_some_and(|session| self.is_repeated(session, publish));
        if is_repeated || !can_be_forwarded(&publish.topic, self.levels_max) {
            return Some(HookResult::Publish(for_nobody(publish)));
        }
        None
    }

    async fn will(&self, publish: &Publish) {
        match self.gate.accept_will(inbound(publish)).await {
            Ok(()) => self.counters.accepted.increment(),
            Err(refusal) => {
                self.counters.wills_lost.increment();
                tracing::warn!(?refusal, "a device's will was not accepted and is lost");
            }
        }
    }

    /// The message of a client: `allow` is its PUBACK or PUBREC.
    async fn publish(&self, session: &Session, publish: &Publish) -> PublishAclResult {
        self.with_open_publishes(session, OpenPublishes::packet_explained);
        if publish.topic.is_empty()
            || publish.properties.as_ref().is_some_and(|properties| properties.topic_alias.is_some())
        {
            // A topic alias, though CONNACK announced none (MQTT 5.0, section 3.3.2.3.4): a protocol error.
            return self.refused(session, "a topic alias was used, which CONNACK does not allow");
        }
        match self.authentication.may_publish(session, &publish.topic).await {
            Permission::Granted => {}
            Permission::Denied => return self.unauthorized(session, publish).await,
            Permission::Unknown => return self.refused(session, "whose topic it is can't be found out at the moment"),
        }
        if self.is_repeated(session, publish) {
            self.counters.repeated.increment();
            return PublishAclResult::allow();
        }
        match self.gate.accept(inbound(publish)).await {
            Ok(()) => {
                self.counters.accepted.increment();
                self.remember(session, publish);
                PublishAclResult::allow()
            }
            Err(refusal) => {
                if refusal == Refusal::Panicked {
                    self.counters.panics.increment();
                }
                self.refused(
                    session,
                    match refusal {
                        Refusal::Closed => "nobody takes messages at the moment",
                        Refusal::Full => "the journal is full or can't be written",
                        Refusal::Slow => "taking the message took too long",
                        Refusal::Panicked => "taking the message failed",
                    },
                )
            }
        }
    }

    /// Closes the connection. Without that, a client of MQTT 3.1.1 would get a PUBACK.
    fn refused(&self, session: &Session, reason: &'static str) -> PublishAclResult {
        self.counters.refused.increment();
        tracing::debug!(client_id = %session.id.client_id, reason, "message refused, connection closed");
        PublishAclResult::rejected(true, Some(reason.into()))
    }

    /// Says so by PUBACK or PUBREC where that can be said, else closes the connection: a client that goes on would not know.
    async fn unauthorized(&self, session: &Session, publish: &Publish) -> PublishAclResult {
        const REASON: &str = "the topic is not the client's";
        self.counters.unauthorized.increment();
        let is_version_5 = session.protocol().await.is_ok_and(|version| version == MQTT_LEVEL_5);
        if !is_version_5 || publish.qos == QoS::AtMostOnce {
            return self.refused(session, REASON);
        }
        self.counters.refused.increment();
        tracing::debug!(client_id = %session.id.client_id, reason = REASON, "message refused");
        PublishAclResult::rejected(false, Some(REASON.into()))
    }

    async fn subscribe(&self, session: &Session, subscribe: &Subscribe) -> Option<HookResult> {
        if self.authentication.may_subscribe(session, &subscribe.topic_filter).await {
            return None;
        }
        self.counters.unauthorized.increment();
        Some(HookResult::SubscribeAclResult(SubscribeAclResult::new_failure(SubscribeAckReason::NotAuthorized)))
    }

    /// Whether a QoS 2 PUBLISH was accepted on an earlier connection of the session.
    fn is_repeated(&self, session: &Session, publish: &Publish) -> bool {
        let Some(packet_id) = publish.packet_id else { return false };
        publish.dup
            && publish.qos == QoS::ExactlyOnce
            && self
                .open_publishes()
                .get(&session.id.client_id)
                .is_some_and(|open| open.repeats(packet_id.get(), fingerprint(publish)))
    }

    fn remember(&self, session: &Session, publish: &Publish) {
        if let (QoS::ExactlyOnce, Some(packet_id)) = (publish.qos, publish.packet_id) {
            let mut sessions = self.open_publishes();
            let open = sessions.entry(session.id.client_id.clone()).or_default();
            open.accepted(packet_id.get(), fingerprint(publish), self.inflight_max);
            open.packet_explained();
            self.open_publishes_count.store(sessions.len(), Ordering::Release);
        }
    }

    fn forget(&self, session: &Session) {
        if self.open_publishes_count.load(Ordering::Acquire) > 0 {
            let mut sessions = self.open_publishes();
            sessions.remove(&session.id.client_id);
            self.open_publishes_count.store(sessions.len(), Ordering::Release);
        }
    }

    fn with_open_publishes(&self, session: &Session, change: impl FnOnce(&mut OpenPublishes)) {
        if self.open_publishes_count.load(Ordering::Acquire) > 0
            && let Some(open) = self.open_publishes().get_mut(&session.id.client_id)
        {
            change(open);
        }
    }

    fn open_publishes(&self) -> MutexGuard<'_, HashMap<ClientId, OpenPublishes>> {
        self.open_publishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn inbound(publish: &Publish) -> InboundMessage<'_> {
    let traceparent = publish.properties.as_ref().and_then(|properties| {
        let (_, value) = properties.user_properties.iter().find(|(name, _)| *name == TRACEPARENT)?;
        (value.len() <= TRACEPARENT_SIZE_MAX).then_some(&**value)
    });
    InboundMessage {
        topic: &publish.topic,
        payload: &publish.payload,
        traceparent,
        redelivered: publish.dup,
        packet_id: None,
    }
}

/// The message marked so that no subscriber gets it (see `fan_out`).
fn for_nobody(publish: &Publish) -> Publish {
    let mut publish = publish.clone().target_clientid(ClientId::default());
    publish.retain = false;
    publish
}

fn fingerprint(publish: &Publish) -> u64 {
    let mut hasher = DefaultHasher::new();
    publish.topic.hash(&mut hasher);
    publish.payload.hash(&mut hasher);
    hasher.finish()
}

struct Installed(Arc<Hooks>);

#[async_trait]
impl Handler for Installed {
    async fn hook(&self, parameter: &Parameter, acc: Option<HookResult>) -> ReturnType {
        match caught(self.0.decide(parameter)).await {
            Ok(Some(result)) => (false, Some(result)),
            Ok(None) => (true, acc),
            Err(_) => (false, refusal_after_panic(parameter)),
        }
    }
}

/// What a hook that failed decides: no.
fn refusal_after_panic(parameter: &Parameter<'_>) -> Option<HookResult> {
    match parameter {
        Parameter::MessagePublishCheckAcl(..) => {
            Some(HookResult::PublishAclResult(PublishAclResult::rejected(true, None)))
        }
        Parameter::ClientAuthenticate(_) => Some(HookResult::AuthResult(rmqtt::types::AuthResult::NotAuthorized)),
        Parameter::ClientSubscribeCheckAcl(..) => {
            Some(HookResult::SubscribeAclResult(SubscribeAclResult::new_failure(SubscribeAckReason::UnspecifiedError)))
        }
        _ => None,
    }
}
