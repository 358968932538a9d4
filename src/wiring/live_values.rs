//! Where the values of a configuration go that a daemon takes over while it runs.

use std::sync::Arc;

use orinoco_actors::WsLimits;

use super::accounts::auth_policy;
use crate::{
    auth::Auth,
    config::{Config, LimitsMode},
    live::Live,
    telemetry::LogFilter,
    ws::{WsConnections, WsPolicy, WsTiming},
};

/// All such places.
pub struct LiveValues {
    /// Actors read it when they start.
    pub config: Live<Config>,
    pub ws_policy: Live<WsPolicy>,
    pub connections: Arc<WsConnections>,
    pub auth: Arc<Auth>,
    pub log: LogFilter,
}

impl LiveValues {
    /// Of a daemon that starts with this configuration.
    #[must_use]
    pub fn new(config: &Config, connections: Arc<WsConnections>, auth: Arc<Auth>, log: LogFilter) -> Self {
        let (config, ws_policy) = (Live::new(config.clone()), Live::new(ws_policy(config)));
        Self { config, ws_policy, connections, auth, log }
    }

    /// Puts every value in its place: the one of each key that is declared `Reload::Live` or `Reload::Actors`. `supervision` is the
    /// reload's own.
    pub fn set(&self, config: &Config) {
        self.log.set(&config.telemetry.log);
        self.auth.policy.set(auth_policy(config));
        self.auth.limits.set_per_client(config.limits.mode == LimitsMode::On);
        self.connections.set_connections_max(config.ws.connections_max);
        self.ws_policy.set(ws_policy(config));
        self.config.set(config.clone());
    }
}

/// What holds for sockets that are opened.
fn ws_policy(config: &Config) -> WsPolicy {
    let ws = &config.ws;
    WsPolicy {
        limits: WsLimits { queue_bytes_max: ws.queue_bytes_max, stall_max: ws.stall_max },
        timing: WsTiming { ping_interval: ws.ping_interval, idle_timeout: ws.idle_timeout },
    }
}
