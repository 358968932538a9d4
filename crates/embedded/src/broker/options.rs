//! What can be set.

use std::sync::Arc;
use std::time::Duration;

use super::access::{Anonymous, Authenticator};
use super::encrypted::Encryption;

/// The port that speaks TLS.
#[derive(Clone)]
pub struct TlsOptions {
    /// `host:port`; port 0: the system chooses.
    pub listen: String,
    /// Shakes hands. Asked for each connection, so that it may come to have another certificate.
    pub encryption: Arc<dyn Encryption>,
}

/// Limits and access. Every `*_max` is a bound; what happens at it is said with it.
#[derive(Clone)]
pub struct BrokerOptions {
    /// `mqtt.listen`, `host:port`; port 0: the system chooses; empty: nowhere but at `tls`. Default `127.0.0.1:3123`.
    pub listen: String,
    /// `mqtt.tls_listen`: the port that speaks TLS. Default none.
    pub tls: Option<TlsOptions>,
    /// `mqtt.anonymous`: from where clients without user name and password may connect. Default: from loopback.
    pub anonymous: Anonymous,
    /// Checks all others, and says what each client may do. Default none: who connects from where `anonymous` allows it may do anything,
    /// whatever its credentials.
    pub authenticator: Option<Arc<dyn Authenticator>>,
    /// How long a check may last, then CONNACK says "server unavailable". Default 5 s.
    pub authentication_timeout: Duration,
    /// `mqtt.packet_size_max`, bytes of a whole packet, its fixed header too; beyond it the connection is closed. At least 2. Default
    /// 256 KiB.
    pub packet_size_max: u32,
    /// Sessions, connected or kept; beyond it CONNACK says "server unavailable" (3, or 0x88). Default 20,000.
    pub sessions_max: usize,
    /// QoS 1 and 2 messages in flight, each way; announced as Receive Maximum, and who sends more QoS 2 is disconnected. Default 1,000.
    pub inflight_max: u16,
    /// Messages that wait for one subscriber; then the oldest goes (QoS 0: the newest). One that hardly reads may have as many again
    /// before the queue, then the newest go. Default 1,000.
    pub queue_messages_max: usize,
    /// Subscriptions of one session; beyond it SUBACK says failure. Default 100.
    pub subscriptions_max: usize,
    /// Levels of a topic; a deeper filter is refused, a deeper topic goes to the intake only. Default 32.
    pub topic_levels_max: usize,
    /// Length of a client id in bytes; beyond it CONNACK says "identifier rejected" (2, or 0x85). Default 256.
    pub client_id_size_max: usize,
    /// Retained messages; beyond it a new topic is not retained, its message still delivered. Default 10,000.
    pub retained_max: usize,
    /// Bytes of retained topics and payloads, likewise. Default 16 MiB.
    pub retained_bytes_max: usize,
    /// From the accepted connection to a whole CONNECT; then it is closed (up to half later). Default 10 s.
    pub handshake_timeout: Duration,
    /// How long a client may leave a packet unread; then it is cut off. Default 5 s.
    pub send_timeout: Duration,
    /// The longest a session is kept after its connection (Session Expiry Interval of MQTT 5.0; every session of MQTT 3.1.1 without
    /// clean session). Default one hour: a client that finds its session gone may forget what it had not delivered.
    pub session_expiry_max: Duration,
    /// How long a PUBLISH that can't be accepted is held before its connection is closed: a short pause of the ingest
    /// costs no reconnection, and a long one no storm of them. At most 4 s. Default 1 s.
    pub refusal_wait_max: Duration,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:3123".to_owned(),
            tls: None,
            anonymous: Anonymous::Loopback,
            authenticator: None,
            authentication_timeout: Duration::from_secs(5),
            packet_size_max: 256 << 10,
            sessions_max: 20_000,
            inflight_max: 1_000,
            queue_messages_max: 1_000,
            subscriptions_max: 100,
            topic_levels_max: 32,
            client_id_size_max: 256,
            retained_max: 10_000,
            retained_bytes_max: 16 << 20,
            handshake_timeout: Duration::from_secs(10),
            send_timeout: Duration::from_secs(5),
            session_expiry_max: Duration::from_secs(3600),
            refusal_wait_max: Duration::from_secs(1),
        }
    }
}
