//! TLS with the servers: from the configuration to what the adapters take.

use orinoco_services::{KafkaSasl, PostgresAccess, SaslMechanism as Mechanism, TlsIdentity, TlsOptions};

use crate::config::{Backend, Config, ConfigError, Loaded, SaslMechanism};

/// How a section's server is reached; `section` is one that has TLS.
pub(super) fn options(config: &Config, section: &str) -> TlsOptions {
    let Some(tls) = config.client_tls().into_iter().find(|tls| tls.section == section) else {
        return TlsOptions::default();
    };
    let identity = tls
        .certificate
        .1
        .zip(tls.key.1)
        .map(|(certificate, key)| TlsIdentity { certificate: certificate.to_owned(), key: key.to_owned() });
    TlsOptions { ca: tls.ca.1.map(Into::into), identity }
}

/// How paho's clients reach the broker of `mqtts://`.
#[must_use]
pub fn mqtt_tls(config: &Config) -> TlsOptions {
    options(config, "mqtt")
}

/// How PostgreSQL is reached.
#[must_use]
pub fn postgres_access(config: &Config) -> PostgresAccess {
    PostgresAccess { url: config.postgres.url.expose().to_owned(), tls: options(config, "postgres") }
}

/// How the collector of traces is reached, where that is by https.
pub(super) fn collector(config: &Config) -> Option<TlsOptions> {
    let telemetry = &config.telemetry;
    telemetry.is_encrypted().then(|| TlsOptions { ca: telemetry.otlp_tls_ca.clone(), identity: None })
}

/// Who we are to Kafka.
pub(super) fn kafka_sasl(config: &Config) -> Option<KafkaSasl> {
    let kafka = &config.kafka;
    let mechanism = match kafka.sasl_mechanism {
        SaslMechanism::None => return None,
        SaslMechanism::Plain => Mechanism::Plain,
        SaslMechanism::ScramSha256 => Mechanism::ScramSha256,
        SaslMechanism::ScramSha512 => Mechanism::ScramSha512,
    };
    // Checked when the configuration was read: both are there.
    let username = kafka.sasl_username.clone().unwrap_or_default();
    let password = kafka.sasl_password.as_ref().map(|password| password.expose().to_owned()).unwrap_or_default();
    Some(KafkaSasl { mechanism, username, password })
}

/// Whether the files of TLS can be read and understood, of all servers that are used.
///
/// # Errors
/// The first that can't, with the key that names it.
pub fn check_tls_files(loaded: &Loaded) -> Result<(), ConfigError> {
    let config = &loaded.config;
    let backends = config.backends();
    for tls in config.client_tls() {
        let is_used = backends.contains(&(tls.section, Backend::Service)) || tls.section == "mqtt";
        if !(tls.is_on && is_used) {
            continue;
        }
        if let Err(error) = options(config, tls.section).check() {
            let of_file = tls.files().find(|(_, path)| *path == error.path).map(|(key, _)| key);
            return Err(loaded.mistake(of_file.unwrap_or(tls.ca.0), error.to_string()));
        }
    }
    let of_collector = collector(config).map_or(Ok(()), |tls| tls.check());
    of_collector.map_err(|error| loaded.mistake("telemetry.otlp_tls_ca", error.to_string()))
}
