//! Brokers in memory: the suites run on it, and so do tests of what uses the port.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use tokio::{sync::watch, task::JoinHandle};

use super::{BrokerFactory, MqttFactory, PublishedMessage, Publisher};
use crate::{InboundMessage, Intake, MqttError, MqttLink, MqttSource};

type Gate = Arc<Mutex<Option<Arc<dyn Intake>>>>;

/// Devices deliver into the intake of the link, if there is one.
#[derive(Default)]
pub struct MemoryGate(Gate);

struct GateSource(Gate);
struct GateLink(Gate);
struct GatePublisher(Gate);

fn inbound(message: &PublishedMessage, redelivered: bool, packet_id: Option<u16>) -> InboundMessage<'_> {
    InboundMessage {
        topic: &message.topic,
        payload: &message.payload,
        traceparent: message.traceparent.as_deref(),
        redelivered,
        packet_id,
    }
}

#[async_trait]
impl MqttFactory for MemoryGate {
    async fn source(&self) -> Arc<dyn MqttSource> {
        Arc::new(GateSource(Arc::clone(&self.0)))
    }

    async fn publisher(&self) -> Box<dyn Publisher> {
        Box::new(GatePublisher(Arc::clone(&self.0)))
    }
}

#[async_trait]
impl MqttSource for GateSource {
    async fn connect(&self, intake: Arc<dyn Intake>) -> Result<Box<dyn MqttLink>, MqttError> {
        *self.0.lock().unwrap() = Some(intake);
        Ok(Box::new(GateLink(Arc::clone(&self.0))))
    }
}

#[async_trait]
impl MqttLink for GateLink {
    async fn lost(&mut self) -> MqttError {
        std::future::pending().await
    }

    async fn disconnect(self: Box<Self>) {}
}

impl Drop for GateLink {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = None;
    }
}

#[async_trait]
impl Publisher for GatePublisher {
    async fn publish(&mut self, message: &PublishedMessage) -> Result<(), String> {
        tokio::task::yield_now().await;
        let intake = self.0.lock().unwrap().clone().ok_or("no link")?;
        intake.accept(inbound(message, false, None)).await.map_err(|refused| refused.to_string())
    }
}

/// A queue that keeps what the one session did not take.
#[derive(Default)]
pub struct MemoryBroker(Arc<Broker>);

struct Broker {
    queue: Mutex<VecDeque<Queued>>,
    /// Changes with each publish, and says whether the broker runs.
    runs: watch::Sender<bool>,
    /// How many there were; the last one has the session.
    links: AtomicU64,
}

struct Queued {
    message: PublishedMessage,
    packet_id: u16,
    delivered: bool,
}

impl Default for Broker {
    fn default() -> Self {
        Self { queue: Mutex::default(), runs: watch::Sender::new(true), links: AtomicU64::new(0) }
    }
}

struct SessionLink {
    broker: Arc<Broker>,
    delivering: JoinHandle<()>,
}

impl Broker {
    async fn deliver(&self, intake: Arc<dyn Intake>, link: u64) {
        let mut changes = self.runs.subscribe();
        while *changes.borrow_and_update() {
            match self.deliver_first(&*intake, link) {
                Delivery::Taken => tokio::task::yield_now().await,
                Delivery::Empty => _ = changes.changed().await,
                Delivery::Ended => return,
            }
        }
    }

    fn deliver_first(&self, intake: &dyn Intake, link: u64) -> Delivery {
        let mut queue = self.queue.lock().unwrap();
        // The session was taken over by a later link.
        if self.links.load(Ordering::SeqCst) != link {
            return Delivery::Ended;
        }
        let Some(first) = queue.front_mut() else { return Delivery::Empty };
        let taken = intake.accept_blocking(inbound(&first.message, first.delivered, Some(first.packet_id)));
        first.delivered = true;
        if taken.is_err() {
            return Delivery::Ended;
        }
        queue.pop_front();
        Delivery::Taken
    }
}

enum Delivery {
    Taken,
    Empty,
    Ended,
}

#[async_trait]
impl MqttFactory for MemoryBroker {
    async fn source(&self) -> Arc<dyn MqttSource> {
        Arc::new(Self(Arc::clone(&self.0)))
    }

    async fn publisher(&self) -> Box<dyn Publisher> {
        Box::new(Self(Arc::clone(&self.0)))
    }
}

#[async_trait]
impl BrokerFactory for MemoryBroker {
    async fn stop_broker(&self) {
        self.0.runs.send_replace(false);
    }

    async fn start_broker(&self) {
        self.0.runs.send_replace(true);
    }
}

#[async_trait]
impl MqttSource for MemoryBroker {
    async fn connect(&self, intake: Arc<dyn Intake>) -> Result<Box<dyn MqttLink>, MqttError> {
        if !*self.0.runs.borrow() {
            return Err(MqttError::Unavailable { url: "memory".to_owned(), reason: "stopped".to_owned() });
        }
        let broker = Arc::clone(&self.0);
        let link = broker.links.fetch_add(1, Ordering::SeqCst) + 1;
        let delivering = tokio::spawn(async move { broker.deliver(intake, link).await });
        Ok(Box::new(SessionLink { broker: Arc::clone(&self.0), delivering }))
    }
}

#[async_trait]
impl MqttLink for SessionLink {
    async fn lost(&mut self) -> MqttError {
        _ = self.broker.runs.subscribe().wait_for(|runs| !runs).await;
        MqttError::Unavailable { url: "memory".to_owned(), reason: "stopped".to_owned() }
    }

    async fn disconnect(mut self: Box<Self>) {
        self.delivering.abort();
        _ = (&mut self.delivering).await;
    }
}

impl Drop for SessionLink {
    fn drop(&mut self) {
        self.delivering.abort();
    }
}

#[async_trait]
impl Publisher for MemoryBroker {
    async fn publish(&mut self, message: &PublishedMessage) -> Result<(), String> {
        tokio::task::yield_now().await;
        if !*self.0.runs.borrow() {
            return Err("stopped".to_owned());
        }
        let mut queue = self.0.queue.lock().unwrap();
        let packet_id = queue.back().map_or(1, |last| last.packet_id.wrapping_add(1).max(1));
        queue.push_back(Queued { message: message.clone(), packet_id, delivered: false });
        drop(queue);
        self.0.runs.send_modify(|_| {});
        Ok(())
    }
}
