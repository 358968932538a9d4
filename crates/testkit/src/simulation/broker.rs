//! An MQTT broker that keeps the session of one client: QoS 1, several messages under way, redelivery with DUP.
//!
//! Invariants: messages go out in order; a message leaves the queue when its PUBACK has arrived, and PUBACKs come in order too
//! (MQTT 5.0, section 4.6); a new link takes the session over and gets all that is not acknowledged, with the packet identifiers of
//! before (section 4.4). Identifiers are used round-robin, as mosquitto does.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use orinoco_ports::{InboundMessage, Intake, MqttError, MqttLink, MqttSource, Refused};
use tokio::{sync::Notify, task::JoinHandle, time::sleep};

/// PUBACKs that may be on their way.
const ACKNOWLEDGEMENTS_MAX: usize = 4;
const FULL_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// See the module; cheap to clone.
#[derive(Clone)]
pub struct SimulatedBroker(Arc<Inner>);

struct Inner {
    session: Mutex<Session>,
    changed: Notify,
}

struct Session {
    random: fastrand::Rng,
    queue: VecDeque<Queued>,
    packet_id: u16,
    /// The link that has the session.
    link: u64,
}

struct Queued {
    topic: String,
    payload: Vec<u8>,
    packet_id: u16,
    is_sent: bool,
}

impl SimulatedBroker {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let session = Session { random: fastrand::Rng::with_seed(seed), queue: VecDeque::new(), packet_id: 0, link: 0 };
        Self(Arc::new(Inner { session: Mutex::new(session), changed: Notify::new() }))
    }

    /// Takes a device's message; it is safe here.
    pub fn publish(&self, topic: &str, payload: &str) {
        let mut session = self.0.session();
        session.packet_id = session.packet_id.checked_add(1).unwrap_or(1);
        let packet_id = session.packet_id;
        let (topic, payload) = (topic.to_owned(), payload.as_bytes().to_vec());
        session.queue.push_back(Queued { topic, payload, packet_id, is_sent: false });
        drop(session);
        self.0.changed.notify_waiters();
    }

    /// Messages that are not acknowledged.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.session().queue.len()
    }
}

#[async_trait]
impl MqttSource for SimulatedBroker {
    async fn connect(&self, intake: Arc<dyn Intake>) -> Result<Box<dyn MqttLink>, MqttError> {
        let link = {
            let mut session = self.0.session();
            session.link += 1;
            session.link
        };
        self.0.changed.notify_waiters();
        let broker = Arc::clone(&self.0);
        let delivering = tokio::spawn(async move { broker.deliver(&*intake, link).await });
        Ok(Box::new(SimulatedLink { broker: Arc::clone(&self.0), link, delivering }))
    }
}

impl Inner {
    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers until the link has lost the session, or the client takes no more.
    async fn deliver(&self, intake: &dyn Intake, link: u64) {
        // So many at the front of the queue are accepted and their PUBACKs on their way.
        let mut accepted = 0;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let next = {
                let mut session = self.session();
                if session.link != link {
                    return;
                }
                session.queue.get_mut(accepted).map(|queued| {
                    let redelivered = std::mem::replace(&mut queued.is_sent, true);
                    (queued.topic.clone(), queued.payload.clone(), queued.packet_id, redelivered)
                })
            };
            match next {
                Some(message) => {
                    if !accept(intake, message).await {
                        return;
                    }
                    accepted += 1;
                }
                None if accepted == 0 => changed.await,
                None => {}
            }
            self.acknowledge(link, &mut accepted).await;
        }
    }

    /// Some PUBACKs arrive; all of them where nothing else is under way.
    async fn acknowledge(&self, link: u64, accepted: &mut usize) {
        let (way_ms, late) = {
            let mut session = self.session();
            let is_idle = session.queue.len() == *accepted;
            let late = if is_idle { 0 } else { session.random.usize(0..ACKNOWLEDGEMENTS_MAX) };
            (session.random.u64(0..4), late)
        };
        if way_ms == 3 {
            sleep(Duration::from_millis(way_ms)).await;
        } else {
            tokio::task::yield_now().await;
        }
        let mut session = self.session();
        while session.link == link && *accepted > late {
            session.queue.pop_front();
            *accepted -= 1;
        }
    }
}

/// A client that blocks in its callback is asked again.
async fn accept(intake: &dyn Intake, (topic, payload, packet_id, redelivered): (String, Vec<u8>, u16, bool)) -> bool {
    loop {
        let message = InboundMessage {
            topic: &topic,
            payload: &payload,
            traceparent: None,
            redelivered,
            packet_id: Some(packet_id),
        };
        match intake.accept(message).await {
            Ok(()) => return true,
            Err(Refused::Full) => sleep(FULL_AGAIN_AFTER).await,
            Err(Refused::Closed) => return false,
        }
    }
}

struct SimulatedLink {
    broker: Arc<Inner>,
    link: u64,
    delivering: JoinHandle<()>,
}

#[async_trait]
impl MqttLink for SimulatedLink {
    async fn lost(&mut self) -> MqttError {
        loop {
            let mut changed = std::pin::pin!(self.broker.changed.notified());
            changed.as_mut().enable();
            if self.broker.session().link != self.link || self.delivering.is_finished() {
                return MqttError::Unavailable { url: "simulated".to_owned(), reason: "session taken over".to_owned() };
            }
            // A refused message ends the delivery without a word.
            drop(tokio::time::timeout(Duration::from_secs(1), changed).await);
        }
    }

    async fn disconnect(mut self: Box<Self>) {
        self.delivering.abort();
        drop((&mut self.delivering).await);
    }
}

impl Drop for SimulatedLink {
    fn drop(&mut self) {
        self.delivering.abort();
    }
}
