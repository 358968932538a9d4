//! MQTT: where devices' messages come from.
//!
//! Invariant: a message is acknowledged (PUBACK) only after `Intake::accept` returned `Ok`. An adapter calls it inside the
//! library's message callback or publish hook, never from a queue behind it: a queue acknowledges into memory.

use async_trait::async_trait;

/// One PUBLISH, as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct InboundMessage<'a> {
    pub topic: &'a str,
    pub payload: &'a [u8],
    /// User property `traceparent` (MQTT 5.0, section 3.3.2.3.7), at most 64 characters.
    pub traceparent: Option<&'a str>,
    /// DUP: the broker, or the device, may have delivered it before.
    pub redelivered: bool,
    /// Packet identifier, only on a link to a broker that keeps our session: a redelivery has that of the first delivery
    /// (MQTT 5.0, section 4.4), so that the journal's tail can tell whether that one was accepted. `None` where devices deliver to us
    /// directly, or where it can't be had.
    pub packet_id: Option<u16>,
}

/// Takes messages into safety.
#[async_trait]
pub trait Intake: Send + Sync + 'static {
    /// Blocks until the message is in the journal (in mode `power`: on disk). While the journal is full or can't be written it
    /// goes on blocking, and so holds the PUBACK back; it gives up only when told so by `Refused::Closed`.
    ///
    /// # Errors
    /// [`Refused`]: not accepted; the adapter must not acknowledge.
    fn accept_blocking(&self, message: InboundMessage<'_>) -> Result<(), Refused>;

    /// The same for adapters with asynchronous hooks; a full journal is refused at once.
    ///
    /// # Errors
    /// [`Refused`]: not accepted; the adapter must not acknowledge.
    async fn accept(&self, message: InboundMessage<'_>) -> Result<(), Refused>;
}

/// Why a message was not accepted. It must not be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("journal is full or can't be written")]
    Full,
    #[error("ingest has ended")]
    Closed,
}

/// Whence messages come.
#[async_trait]
pub trait MqttSource: Send + Sync + 'static {
    /// Connects (embedded: opens the broker's gate) and delivers into `intake` from then on, in order, until the link ends.
    /// Clean start is off: what the broker kept for us comes first.
    ///
    /// # Errors
    /// [`MqttError`]; the caller tries again later.
    async fn connect(&self, intake: std::sync::Arc<dyn Intake>) -> Result<Box<dyn MqttLink>, MqttError>;
}

/// A connection that delivers. Dropping it ends the delivery and keeps the session at the broker.
#[async_trait]
pub trait MqttLink: Send + 'static {
    /// Waits until the connection is lost. Cancel safe.
    async fn lost(&mut self) -> MqttError;

    /// Ends the delivery in order (DISCONNECT); the session stays at the broker.
    async fn disconnect(self: Box<Self>);
}

/// Why there is no connection. Each text names the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    /// Try again: the broker is away.
    #[error("MQTT broker {url} can't be reached: {reason}")]
    Unavailable { url: String, reason: String },
    /// Trying again won't help before somebody mends the configuration or the broker's access rules.
    #[error("MQTT broker {url} refused us: {reason}; check mqtt.username, mqtt.password and the broker's access rules")]
    Rejected { url: String, reason: String },
}
