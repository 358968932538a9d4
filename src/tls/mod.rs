//! TLS of this daemon's own listeners: HTTP, WebSocket and the embedded broker.
//!
//! | file | holds |
//! |---|---|
//! | `files` | a certificate and its key, read and checked |
//! | `listener` | what a listener's new handshakes get, read again when the files change |
//! | `stream` | a client's connection, encrypted or not |
//! | `validity` | from when to when a certificate is valid |
//!
//! Invariants: a listener that has a certificate speaks TLS alone (1.2 and 1.3, by rustls and ring); one that starts has a certificate and
//! a key that fit, and keeps them until it has read others that fit. Connections stay with what they shook hands with. Nothing of a
//! key is ever logged.

mod files;
mod listener;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod validity;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::config::{ConfigError, Loaded};

pub use files::{CertificateError, CertificateFiles};
pub use listener::{ListenerTls, Reload};
pub(crate) use stream::ClientStream;

/// From the connection to the end of the handshake.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long before its end a certificate is warned of.
pub const EXPIRY_WARNING: Duration = Duration::from_secs(14 * 24 * 3600);

/// RFC 7301: what is spoken at the HTTP and the WebSocket port.
const HTTP_1_1: &[&[u8]] = &[b"http/1.1"];

/// The listeners that speak TLS.
#[derive(Default)]
pub struct TlsListeners {
    pub http: Option<Arc<ListenerTls>>,
    pub ws: Option<Arc<ListenerTls>>,
    pub mqtt: Option<Arc<ListenerTls>>,
}

impl TlsListeners {
    /// Reads the files that the configuration names. Blocks for as long as that takes.
    ///
    /// # Errors
    /// Each certificate and key that can't be used, with its key and where that was set.
    pub fn open(loaded: &Loaded) -> Result<Self, ConfigError> {
        let config = &loaded.config;
        let mut problems = Vec::new();
        let mut open = |listener, protocols, certificate: &Option<PathBuf>, key: &Option<PathBuf>| {
            let files = CertificateFiles { certificate: certificate.clone()?, key: key.clone()? };
            match ListenerTls::open(listener, files, protocols) {
                Ok(tls) => Some(Arc::new(tls)),
                Err(error) => {
                    let name = if error.is_of_key() { "tls_key" } else { "tls_certificate" };
                    problems.push(loaded.problem(&format!("{listener}.{name}"), error.to_string()));
                    None
                }
            }
        };
        let http = open("http", HTTP_1_1, &config.http.tls_certificate, &config.http.tls_key);
        let ws = open("ws", HTTP_1_1, &config.ws.tls_certificate, &config.ws.tls_key);
        let mqtt = match &config.mqtt.tls_listen {
            Some(_) if config.has_broker() => open("mqtt", &[], &config.mqtt.tls_certificate, &config.mqtt.tls_key),
            _ => None,
        };
        if problems.is_empty() { Ok(Self { http, ws, mqtt }) } else { Err(ConfigError::new(problems)) }
    }

    /// Those that there are.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ListenerTls>> {
        [&self.http, &self.ws, &self.mqtt].into_iter().flatten()
    }

    /// Reads all files again, whether they changed or not: what SIGHUP is for. One that can't be used leaves its listener with what it
    /// has; that is logged and counted here. Blocks for as long as reading takes.
    pub fn reload(&self) -> Vec<(&'static str, Result<Reload, CertificateError>)> {
        self.iter().map(|tls| (tls.listener(), tls.reload())).collect()
    }

    /// Looks each `interval` whether files have changed; never ends.
    pub async fn keep(self: Arc<Self>, interval: Duration) {
        let mut ticks = interval_at(Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let listeners = Arc::clone(&self);
            let look = move || listeners.iter().for_each(|tls| tls.look());
            if let Err(error) = tokio::task::spawn_blocking(look).await {
                tracing::error!(%error, "looking at the certificates failed");
            }
        }
    }

    /// Sets the gauges of `/metrics`.
    pub fn measure(&self) {
        for tls in self.iter() {
            let expires_at_s = tls.expires_at_s() as f64;
            metrics::gauge!("orinoco_tls_certificate_expires_seconds", "listener" => tls.listener()).set(expires_at_s);
        }
    }
}
