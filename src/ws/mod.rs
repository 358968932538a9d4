//! The WebSocket port: coordinates as text frames (plain mode), and the Centrifuge protocol. For its users it is described in
//! docs/websocket.md.
//!
//! | file | holds |
//! |---|---|
//! | `server` | connections up to the handshake, and the answer to it |
//! | `handshake` | RFC 6455's opening handshake, and what the query asks for |
//! | `connection` | a socket's task: reads, keeps alive, closes |
//! | `centrifuge` | the same for a socket of the Centrifuge protocol |
//! | `reader` | what a client sends, as messages |
//! | `socket` | what is sent to a client, in whole messages |
//! | `encryption` | TLS of a socket |
//! | `registry` | the sockets that are open |
//!
//! What goes out is up to a [`WsSession`] or [`CentrifugeSession`](orinoco_actors::CentrifugeSession) actor a socket; when that fails, the task here closes the socket in the protocol's manner.
//! Invariants: at most `connections_max` sockets, a further one gets 503 before its handshake; an idle socket holds no buffer; every
//! wait for a client has an end.

mod centrifuge;
mod connection;
mod encryption;
mod handshake;
mod reader;
mod registry;
mod server;
mod socket;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use orinoco_actors::{StreamHubMessage, WsLimits, WsSession};
use orinoco_ports::CoordinateStore;
use orinoco_supervision::{Group, Pool};

use crate::{http::Access, live::Live, tls::ListenerTls};

pub use centrifuge::CentrifugeDeps;
pub use registry::{WsConnection, WsConnections};
pub use server::WsServer;

/// What the WebSocket port needs.
pub struct WsDeps {
    /// `ws.listen`, `host:port`.
    pub listen: String,
    /// Where it speaks TLS.
    pub tls: Option<Arc<ListenerTls>>,
    /// Kept outside, as it outlives a restart of the port.
    pub connections: Arc<WsConnections>,
    pub access: Arc<dyn Access>,
    /// Where a socket's session is started.
    pub sessions: Pool<WsSession>,
    pub centrifuge: CentrifugeDeps,
    /// One a partition.
    pub hubs: Group<StreamHubMessage>,
    pub partitions: u32,
    pub store: Arc<dyn CoordinateStore>,
    /// Of each socket that is opened.
    pub policy: Live<WsPolicy>,
}

/// What holds for a socket from its beginning to its end.
#[derive(Debug, Clone, Copy)]
pub struct WsPolicy {
    pub limits: WsLimits,
    pub timing: WsTiming,
}

/// When a silent client is pinged, and given up.
#[derive(Debug, Clone, Copy)]
pub struct WsTiming {
    /// Without a sign of life a ping goes out each time this has passed.
    pub ping_interval: Duration,
    /// Without a sign of life for so long, the socket is closed; more than `ping_interval`.
    pub idle_timeout: Duration,
}
