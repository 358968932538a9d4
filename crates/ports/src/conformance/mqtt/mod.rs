//! What any [`MqttSource`] must do; in [`super::mqtt_gate`], what one does that devices deliver to directly; and in
//! [`super::mqtt_session`], one that is a client of a broker.

mod delivering;
mod fixture;
pub(super) mod gate;
pub mod memory;
pub(super) mod session;

use std::sync::Arc;

use async_trait::async_trait;

use crate::MqttSource;

pub use delivering::*;

/// A broker of its own, and us beside it.
#[async_trait]
pub trait MqttFactory: Send + Sync {
    /// The source, subscribed to `devices/+/coordX` and `devices/+/coordY` at least: each time the same client, or the same broker.
    async fn source(&self) -> Arc<dyn MqttSource>;

    /// A device of its own.
    async fn publisher(&self) -> Box<dyn Publisher>;
}

/// A broker that keeps our session, as a process that can be stopped.
#[async_trait]
pub trait BrokerFactory: MqttFactory {
    /// Stops the broker; sessions are kept.
    async fn stop_broker(&self);

    /// Starts it again at the same place, and waits until it answers.
    async fn start_broker(&self);
}

/// A device, over MQTT 5.0.
#[async_trait]
pub trait Publisher: Send {
    /// One PUBLISH at QoS 1. Connects where there is no connection, with clean start, so that nothing is sent again by itself; returns when the PUBACK is there, whatever its reason code below
    /// 0x80.
    ///
    /// # Errors
    /// No PUBACK came and none will: the connection is gone or could not be had.
    async fn publish(&mut self, message: &PublishedMessage) -> Result<(), String>;
}

/// What a device publishes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedMessage {
    pub topic: String,
    pub payload: Vec<u8>,
    /// The user property of that name.
    pub traceparent: Option<String>,
}
