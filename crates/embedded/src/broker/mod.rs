//! The MQTT broker inside the process: devices connect to it directly (MQTT 3.1.1 and 5.0 on one port, and over TLS on another).
//!
//! [`EmbeddedBroker`] is both the `Server` that listens (`mqtt.listen`) and the `MqttSource` whose link opens the gate to the
//! intake. rmqtt speaks the protocol; what is ours is when a message counts as received.
//!
//! Invariants:
//! - PUBACK (QoS 1) and PUBREC (QoS 2) leave only after `Intake::accept` returned `Ok` for that PUBLISH. Refused (the gate is
//!   closed, the journal is full, the intake panicked): the connection is closed without them, so that the device sends it again.
//!   A negative PUBACK only says that a client of MQTT 5.0 may not publish there (0x87): MQTT 3.1.1 has none, and its client would take
//!   it for a positive one.
//! - Every PUBLISH that its client may send reaches the intake, whatever its topic and QoS; what is a dead letter is decided there. Topics
//!   that can't be topic names (wildcards, NUL) or are too deep are not passed on to subscribers.
//! - Publishes of one client are accepted one after the other in the order of their arrival, also across a takeover of its client id.
//! - A QoS 2 PUBLISH that a client repeats in one session is accepted once (see `exactly_once`).
//! - A will is taken as a message of the device at the moment it is published. Nobody waits for an acknowledgement of it, so it
//!   is delivered at most once: what is refused then is counted (`wills_lost`) and gone. A drain publishes no wills.
//! - Sessions, their queues and retained messages are in memory and end with the process; what is acknowledged is in the journal.
//! - Nothing that a client sends ends the process, and every table here has a limit ([`BrokerOptions`]).
//!
//! Fan-out to subscribers is a courtesy beside the intake, and never holds it up: a subscriber's queue holds `queue_messages_max`,
//! then drops messages, and a subscriber that does not read for `send_timeout` is cut off. rmqtt closes the socket before its own DISCONNECT of
//! MQTT 5.0, so reason codes of a disconnect (0x8B, 0x8E, 0x95) do not reach the client; it sees the end of the connection.

mod access;
mod authentication;
mod carried;
mod counters;
mod encrypted;
mod entries;
mod exactly_once;
mod expulsion;
mod fan_out;
mod gate;
mod hooks;
mod keep_alive;
mod listener;
mod options;
mod panic;
mod retained;
mod running;
mod topic_name;
mod unidentified;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use orinoco_ports::{InboundMessage, Intake, MqttError, MqttLink, MqttSource, Running, Server, ServerError};
use tokio::sync::oneshot;
use tokio::time::timeout;

pub use access::{Anonymous, Authenticator, Decision, Permission, Rights};
pub use counters::BrokerCounters;
pub use encrypted::{Duplex, Encryption};
pub use options::{BrokerOptions, TlsOptions};

use counters::Counters;
use gate::Gate;
use retained::BoundedRetained;
use running::{Addresses, RunningBroker};

/// How long a start waits for the last listener's socket to be closed.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// The broker: one for a daemon, started by its listener and connected to by its ingest.
pub struct EmbeddedBroker {
    options: BrokerOptions,
    gate: Arc<Gate>,
    counters: Arc<Counters>,
    retained: Arc<BoundedRetained>,
    addresses: Mutex<Addresses>,
    /// Answers when the listening socket of the last start is closed.
    released: tokio::sync::Mutex<Option<oneshot::Receiver<()>>>,
}

impl EmbeddedBroker {
    /// Nothing is bound before [`Server::start`].
    pub fn new(options: BrokerOptions) -> Arc<Self> {
        let place = if options.listen.is_empty() { options.tls.as_ref().map(|tls| &tls.listen) } else { None };
        let gate = Gate::new(place.unwrap_or(&options.listen).clone(), options.refusal_wait_max);
        let counters = Arc::<Counters>::default();
        let retained = Arc::new(BoundedRetained::new(&options, counters.clone()));
        let released = tokio::sync::Mutex::new(None);
        Arc::new(Self { options, gate, counters, retained, addresses: Mutex::default(), released })
    }

    /// Where it listens since its last start, with the port that the system chose if 0 was asked for.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addresses().plain
    }

    /// The same of the port that speaks TLS.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.addresses().tls
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has happened since the process began.
    pub fn counters(&self) -> BrokerCounters {
        self.counters.snapshot()
    }
}

impl EmbeddedBroker {
    /// Takes a message of this process as one of a device: it is in the journal when this returns. Subscribers get none of it.
    ///
    /// # Errors
    /// [`MqttError::Unavailable`]: nobody ingests here at present, or the journal is full. It may have been taken where the journal did not
    /// answer in time.
    pub async fn take(&self, topic: &str, payload: &[u8]) -> Result<(), MqttError> {
        let message = InboundMessage { topic, payload, traceparent: None, redelivered: false, packet_id: None };
        self.gate.accept(message).await.map_err(|refusal| MqttError::Unavailable {
            url: format!("mqtt://{} (embedded)", self.options.listen),
            reason: match refusal {
                gate::Refusal::Closed => "nobody ingests here at present",
                gate::Refusal::Full => "the journal is full",
                gate::Refusal::Slow => "the journal does not answer in time",
                gate::Refusal::Panicked => "the intake failed",
            }
            .to_owned(),
        })
    }
}

#[async_trait]
impl Server for EmbeddedBroker {
    async fn start(&self) -> Result<Box<dyn Running>, ServerError> {
        let mut released = self.released.lock().await;
        if let Some(closed) = released.as_mut() {
            // A listener that was dropped a moment ago may still be on its way out.
            let _ = timeout(RELEASE_TIMEOUT, closed).await;
        }
        let (running, listening) =
            RunningBroker::start(&self.options, &self.gate, &self.counters, &self.retained).await?;
        *released = Some(listening);
        *self.addresses() = running.addresses();
        Ok(Box::new(running))
    }
}

#[async_trait]
impl MqttSource for EmbeddedBroker {
    /// Opens the gate. Whoever held it open before is told by `lost`: the last one has it.
    async fn connect(&self, intake: Arc<dyn Intake>) -> Result<Box<dyn MqttLink>, MqttError> {
        Ok(Box::new(self.gate.open(intake)))
    }
}
