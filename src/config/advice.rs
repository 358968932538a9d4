//! What is allowed, and yet likely not what was meant.

use super::{Anonymous, Backend, Config, HostPort, Loaded, Mqtt};

/// Keys that nobody reads where their section's backend is the other one.
const SERVICE_KEYS: [&str; 32] = [
    "mqtt.client_id",
    "mqtt.username",
    "mqtt.password",
    "mqtt.filters",
    "mqtt.stray_topics",
    "mqtt.keep_alive_s",
    "mqtt.session_expiry_s",
    "kafka.brokers",
    "kafka.tls",
    "kafka.tls_ca",
    "kafka.tls_certificate",
    "kafka.tls_key",
    "kafka.sasl_mechanism",
    "kafka.sasl_username",
    "kafka.sasl_password",
    "kafka.topic_prefix",
    "kafka.replication_factor",
    "kafka.create_topics",
    "redis_ws.url",
    "redis_ws.pool_max",
    "redis_ws.tls_ca",
    "redis_ws.tls_certificate",
    "redis_ws.tls_key",
    "redis_qr.url",
    "redis_qr.pool_max",
    "redis_qr.tls_ca",
    "redis_qr.tls_certificate",
    "redis_qr.tls_key",
    "postgres.url",
    "postgres.tls_ca",
    "postgres.tls_certificate",
    "postgres.tls_key",
];
const EMBEDDED_KEYS: [&str; 8] = [
    "mqtt.listen",
    "mqtt.tls_listen",
    "mqtt.tls_certificate",
    "mqtt.tls_key",
    "mqtt.anonymous",
    "mqtt.sessions_max",
    "log.retention_bytes",
    "log.retention_h",
];

impl Loaded {
    /// A sentence for each; empty when nothing is odd.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        let mut advice = unread_keys(self);
        let config = &self.config;
        advice.extend(config.kafka.password_advice().map(str::to_owned));
        advice.extend(config.telemetry.headers_advice());
        for (key, place) in config.broker_listeners() {
            if !place.is_loopback() {
                advice.extend(open_broker(&config.mqtt, place));
            }
            if key == "mqtt.listen" && !place.is_loopback() && config.mqtt.tls_listen.is_some() {
                advice.push(format!(
                    "devices that connect to {place} send their secrets in the clear; set mqtt.listen = \"\" or to loopback, and leave mqtt.tls_listen to them"
                ));
            }
        }
        if config.http.tls_certificate.is_some()
            && config.ws.tls_certificate.is_none()
            && config.ws.public_url.is_none()
        {
            let page = "the web console comes by https, and browsers open no socket without TLS from there";
            advice.push(format!("{page}; set ws.tls_certificate and ws.tls_key, or ws.public_url to a proxy's wss://"));
        }
        if config.http.public_url.is_none() && !config.http.listen.is_loopback() {
            let url = config.public_url();
            advice.push(format!(
                "phones can't follow a QR code to {url}; set http.public_url to the address that they reach"
            ));
        }
        if config.stream.public && !(config.ws.listen.is_loopback() && config.http.listen.is_loopback()) {
            advice
                .push("anyone who reaches the listeners may watch every device; set stream.public = false".to_owned());
        }
        advice
    }
}

/// Where devices elsewhere reach the embedded broker.
fn open_broker(mqtt: &Mqtt, place: &HostPort) -> Option<String> {
    match mqtt.anonymous {
        Anonymous::Everywhere => {
            Some(format!("anyone who reaches {place} may publish; set mqtt.anonymous = false, or leave it out"))
        }
        Anonymous::Loopback => Some(format!(
            "{place} takes devices elsewhere by their credentials only (`orinoco device add`); mqtt.anonymous = true takes anyone"
        )),
        Anonymous::Nowhere => None,
    }
}

fn unread_keys(loaded: &Loaded) -> Vec<String> {
    let unread = |keys: &'static [&'static str], reader: Backend| {
        keys.iter().filter(|key| loaded.is_set(key)).filter_map(move |key| {
            let (section, _) = key.split_once('.')?;
            // The embedded log stands in for Kafka.
            let section = if section == "log" { "kafka" } else { section };
            let chosen = backend_of(&loaded.config, section)?;
            (chosen != reader)
                .then(|| format!("{key} is set, but has no effect where {section}.backend is \"{chosen}\""))
        })
    };
    unread(&SERVICE_KEYS, Backend::Service).chain(unread(&EMBEDDED_KEYS, Backend::Embedded)).collect()
}

fn backend_of(config: &Config, section: &str) -> Option<Backend> {
    config.backends().into_iter().find(|(name, _)| *name == section).map(|(_, backend)| backend)
}

#[cfg(test)]
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    SERVICE_KEYS.into_iter().chain(EMBEDDED_KEYS)
}
