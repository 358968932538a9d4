//! The HTTP port: REST, health and metrics. For its users it is described in docs/rest.md.
//!
//! | file | holds |
//! |---|---|
//! | `listen` | binding, accepting and draining, for the WebSocket port too |
//! | `server` | connections: hyper, limits, drain |
//! | `routes` | the router, and what holds for every answer |
//! | `problem` | errors: the one place that maps them to HTTP |
//! | `access` | who may see what |
//! | `client` | who asks |
//! | `origin` | which pages may ask |
//! | `body` | bodies, read strictly |
//! | `query` | parameters, read strictly |
//! | `challenges` | what REST and OAuth do alike with QR challenges |
//! | `api` | accounts, logins, QR challenges, administration |
//! | `oauth` | OAuth 2.0, and its own form of errors |
//! | `console` | the web console |
//! | `openapi` | what is here, described: OpenAPI, and a page of it |
//! | `traces` | spans of what logins ask for |
//! | `devices`, `operations` | an area each: its routes and their handlers |
//!
//! Invariants: at most `connections_max` connections, further ones wait in the kernel's queue; a head is at most 64 KiB and 30 s, a body
//! `body_bytes_max`; every call to what is behind has a timeout; every answer of 400 and above is problem+json, but under
//! `/oauth`.

use std::sync::Arc;

use ipnet::IpNet;
use metrics_exporter_prometheus::PrometheusHandle;
use orinoco_actors::{Challenges, Health, Lags, SseStreams, StreamHubMessage, Tracer};
use orinoco_ports::{CoordinateStore, Journal, Leases, RecordLog};
use orinoco_supervision::Group;

use crate::{auth::Auth, control::TreeSlot, dead_letters::Publish, tls::ListenerTls, ws::WsConnections};

mod access;
mod api;
mod body;
mod challenges;
mod client;
mod console;
mod devices;
pub(crate) mod listen;
mod oauth;
mod openapi;
mod operations;
mod origin;
pub(crate) mod problem;
pub(crate) mod query;
pub(crate) mod routes;
mod server;
#[cfg(test)]
pub(crate) mod tests;
mod traces;

pub(crate) use access::bearer_token;
pub use access::{Access, Credential, Denied, PublicOnly, Viewer};
pub use api::{OpenStream, StreamTable};
pub use console::Console;
pub use origin::Origins;
pub use server::HttpServer;

/// Where dead letters go that are replayed.
pub struct ReplayDeps {
    pub publisher: Arc<dyn Publish>,
    /// Whether records of other producers can be written into the log.
    pub is_log_writable: bool,
}

/// What administrators look at of the way from devices to browsers.
pub struct StreamDeps {
    pub journal: Arc<dyn Journal>,
    pub leases: Arc<dyn Leases>,
    pub lags: Lags,
}

/// What the HTTP port needs.
pub struct HttpDeps {
    /// `http.listen`, `host:port`.
    pub listen: String,
    /// Where it speaks TLS.
    pub tls: Option<Arc<ListenerTls>>,
    /// Open connections; at the bound no further one is accepted until one ends.
    pub connections_max: usize,
    /// Bytes of a request's body; a longer one gets 413.
    pub body_bytes_max: usize,
    pub access: Arc<dyn Access>,
    pub store: Arc<dyn CoordinateStore>,
    /// Its dead letters are looked at.
    pub log: Arc<dyn RecordLog>,
    pub replay: ReplayDeps,
    pub stream: StreamDeps,
    /// One a partition.
    pub hubs: Group<StreamHubMessage>,
    pub partitions: u32,
    pub auth: Arc<Auth>,
    pub challenges: Challenges,
    pub streams: SseStreams,
    pub streams_open: Arc<StreamTable>,
    pub origins: Origins,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    pub connections: Arc<WsConnections>,
    pub console: Console,
    pub tracer: Tracer,
    pub tree: TreeSlot,
    pub health: Health,
    pub prometheus: PrometheusHandle,
    /// Called before metrics are rendered, to set gauges of what is measured on demand. It must not block.
    pub before_metrics: Arc<dyn Fn() + Send + Sync>,
}
