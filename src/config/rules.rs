//! Rules over several keys.

use super::reader::Reader;
use super::{Backend, Config, HostPort, client_tls};

/// Each broken rule becomes a problem of the first of its keys that was set.
pub(super) fn check(config: &Config, reader: &mut Reader) {
    check_listeners(config, reader);
    check_tls(config, reader);
    check_mqtt(config, reader);
    check_parts(config, reader);
    client_tls::check(config, reader);
    super::traces::check(config, reader);
    if config.ws.ping_interval >= config.ws.idle_timeout {
        reader.reject(
            &["ws.ping_interval_s", "ws.idle_timeout_s"],
            "ws.ping_interval_s must be less than ws.idle_timeout_s, or every quiet socket is closed",
        );
    }
    if config.auth.access_token_ttl > config.auth.refresh_token_ttl {
        reader.reject(
            &["auth.access_token_ttl_s", "auth.refresh_token_ttl_s"],
            "auth.access_token_ttl_s must not be more than auth.refresh_token_ttl_s",
        );
    }
    if config.http.public_url.as_ref().is_some_and(super::ServiceUrl::has_credentials) {
        reader.reject(&["http.public_url"], "must hold no user and no password: everyone sees it");
    }
    check_socket_url(config, reader);
    let in_the_clear =
        |url: &super::ServiceUrl| url.expose().starts_with("http://") && !url.hosts().iter().all(HostPort::is_loopback);
    if config.http.public_url.as_ref().is_some_and(in_the_clear) {
        reader.reject(&["http.public_url"], "must be https unless on loopback: passwords and tokens go there");
    }
}

fn check_socket_url(config: &Config, reader: &mut Reader) {
    let Some(url) = &config.ws.public_url else { return };
    if url.has_credentials() {
        reader.reject(&["ws.public_url"], "must hold no user and no password: everyone sees it");
    }
    if url.hosts().len() != 1 || url.expose().contains(['?', '#', ';', ',', '\'']) {
        reader.reject(&["ws.public_url"], "must be one host, with a port and a path at most");
    }
    if url.expose().starts_with("ws://") && !url.hosts().iter().all(HostPort::is_loopback) {
        reader.reject(&["ws.public_url"], "must be wss unless on loopback: tokens go there");
    }
}

fn check_listeners(config: &Config, reader: &mut Reader) {
    let mut taken: Vec<(&str, &HostPort)> =
        vec![("http.listen", &config.http.listen), ("ws.listen", &config.ws.listen)];
    taken.extend(config.broker_listeners());
    for (index, (key, place)) in taken.iter().enumerate() {
        let twin = taken[..index].iter().find(|(_, other)| other == place && place.port() != 0);
        if let Some((other, _)) = twin {
            reader.reject(&[key, other], format!("{other} and {key} are both {place}; give each a port of its own"));
        }
    }
}

fn check_tls(config: &Config, reader: &mut Reader) {
    let (http, ws, mqtt) = (&config.http, &config.ws, &config.mqtt);
    let pairs = [
        ("http.tls_certificate", &http.tls_certificate, "http.tls_key", &http.tls_key),
        ("ws.tls_certificate", &ws.tls_certificate, "ws.tls_key", &ws.tls_key),
        ("mqtt.tls_certificate", &mqtt.tls_certificate, "mqtt.tls_key", &mqtt.tls_key),
    ];
    for (certificate_key, certificate, key_key, key) in pairs {
        match (certificate, key) {
            (Some(_), None) => reader.reject(&[certificate_key], format!("needs {key_key} as well")),
            (None, Some(_)) => reader.reject(&[key_key], format!("needs {certificate_key} as well")),
            _ => {}
        }
    }
    if mqtt.tls_listen.is_some() && mqtt.tls_certificate.is_none() && mqtt.tls_key.is_none() {
        reader.reject(&["mqtt.tls_listen"], "needs mqtt.tls_certificate and mqtt.tls_key as well");
    }
    if mqtt.tls_listen.is_none() && mqtt.tls_certificate.is_some() {
        reader.reject(&["mqtt.tls_certificate"], "needs mqtt.tls_listen as well: the port that speaks TLS");
    }
    if config.has_broker() && mqtt.listen.is_none() && mqtt.tls_listen.is_none() {
        reader.reject(&["mqtt.listen"], "may be empty only where mqtt.tls_listen is set: no device could connect");
    }
    let begins =
        |url: &Option<super::ServiceUrl>, scheme| url.as_ref().is_some_and(|url| url.expose().starts_with(scheme));
    if http.tls_certificate.is_some() && begins(&http.public_url, "http://") {
        reader
            .reject(&["http.public_url"], "must be https where http.tls_certificate is set: the port speaks TLS alone");
    }
    if ws.tls_certificate.is_some() && begins(&ws.public_url, "ws://") {
        reader.reject(&["ws.public_url"], "must be wss where ws.tls_certificate is set: the port speaks TLS alone");
    }
}

fn check_parts(config: &Config, reader: &mut Reader) {
    let is_own = config.kafka.backend == Backend::Embedded;
    if is_own && !config.parts.ingest {
        let why = "needs kafka.backend = \"service\": nobody else can write into the embedded log, so nothing would ever come";
        reader.reject(&["parts.ingest"], why);
    }
    if is_own && !config.parts.consumer {
        reader.reject(
            &["parts.consumer"],
            "needs kafka.backend = \"service\": nobody else can read the embedded log, so nothing would ever go on",
        );
    }
}

fn check_mqtt(config: &Config, reader: &mut Reader) {
    if config.mqtt.url.as_ref().is_some_and(super::ServiceUrl::has_credentials) {
        reader.reject(&["mqtt.url"], "must hold no user and no password; use mqtt.username and mqtt.password");
    }
    if config.mqtt.url.as_ref().is_some_and(|url| url.hosts().len() != 1) {
        reader.reject(&["mqtt.url"], "must name one host");
    }
    if config.mqtt.password.is_some() && config.mqtt.username.is_none() {
        reader.reject(&["mqtt.password"], "needs mqtt.username as well");
    }
    let subscriptions = config.topic_filters().subscriptions(config.mqtt.stray_topics);
    if let (Backend::Service, Err(error)) = (config.mqtt.backend, subscriptions) {
        let remedy = "a broker may send a message once for each; change one, or set mqtt.stray_topics = false";
        reader.reject(&["mqtt.filters", "mqtt.stray_topics"], format!("{error}: {remedy}"));
    }
    if u64::from(config.mqtt.packet_size_max) > config.journal.bytes_max / 16 {
        reader.reject(
            &["mqtt.packet_size_max", "journal.bytes_max"],
            "mqtt.packet_size_max must be a sixteenth of journal.bytes_max at most, or a few messages fill the journal",
        );
    }
}
