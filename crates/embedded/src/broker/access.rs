//! Who may connect and publish: what the broker asks, and is told.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

/// `mqtt.anonymous`: from where clients without user name and password may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anonymous {
    /// From nowhere.
    Nowhere,
    /// From this machine.
    Loopback,
    /// From everywhere.
    Everywhere,
}

/// Decides about clients.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Checks the credentials of one CONNECT (MQTT 5.0, sections 3.1.3.5 and 3.1.3.6), or of an anonymous client that may connect from
    /// where it is. `client_id` is part of the question: who takes a client id takes over its session. A panic and a check that takes
    /// too long count as [`Decision::Unavailable`].
    async fn check(&self, username: Option<&str>, password: Option<&[u8]>, client_id: &str) -> Decision;

    /// Changes whenever rights may have ended: then all sessions whose rights do not [hold](Rights::hold) are ended.
    fn changes(&self) -> watch::Receiver<()>;
}

/// What an [`Authenticator`] says.
#[derive(Clone)]
pub enum Decision {
    /// The client may connect.
    Allow(Arc<dyn Rights>),
    /// CONNACK says "not authorized" (5, or 0x87).
    Deny,
    /// It can't be checked at the moment: CONNACK says "server unavailable" (3, or 0x88).
    Unavailable,
}

/// What one client may do, kept with its session.
#[async_trait]
pub trait Rights: Send + Sync + 'static {
    /// Asked for each message and for the will, so usually answered at once; never longer than a second.
    async fn may_publish(&self, topic: &str) -> Permission;

    /// Asked for each topic filter of a SUBSCRIBE; refused, SUBACK says so (0x80, or 0x87).
    fn may_subscribe(&self, filter: &str) -> bool;

    /// Whether the client may stay.
    fn hold(&self) -> bool;
}

/// Whether a message may be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    Granted,
    /// Said by PUBACK or PUBREC (0x87) of MQTT 5.0. Where that can't be said (MQTT 3.1.1, QoS 0), the connection is closed.
    Denied,
    /// It can't be found out at the moment: the connection is closed without PUBACK, so the client sends it again.
    Unknown,
}
