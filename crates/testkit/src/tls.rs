//! What each server's configuration says about TLS. The certificates are the test's own.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::kafka::KafkaListener;

/// A server's certificate and private key, and the authority that its clients' certificates are from. All PEM; the key PKCS #8.
#[derive(Debug, Clone)]
pub struct ServerTls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_ca: PathBuf,
}

impl ServerTls {
    /// Lines for [`Mosquitto::start_with`](crate::Mosquitto::start_with): one more listener.
    pub fn mosquitto_lines(&self, port: u16, demands_certificate: bool) -> Vec<String> {
        vec![
            format!("listener {port} 127.0.0.1"),
            format!("certfile {}", self.certificate.display()),
            format!("keyfile {}", self.key.display()),
            format!("cafile {}", self.client_ca.display()),
            format!("require_certificate {demands_certificate}"),
        ]
    }

    /// Arguments for [`Redis::start_with`](crate::Redis::start_with): one more port.
    pub fn redis_arguments(&self, port: u16, demands_certificate: bool) -> Vec<String> {
        let clients = if demands_certificate { "yes" } else { "no" };
        let arguments = [
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", self.certificate.display().to_string()),
            ("--tls-key-file", self.key.display().to_string()),
            ("--tls-ca-cert-file", self.client_ca.display().to_string()),
            ("--tls-auth-clients", clients.to_owned()),
        ];
        arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    /// A listener for [`Kafka::start_with`](crate::Kafka::start_with) that takes one user, by PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512. Its
    /// keystore is written into the folder.
    ///
    /// # Errors
    /// A file can't be read or written.
    pub fn kafka_listener(
        &self,
        brokers: &str,
        folder: &Path,
        username: &str,
        password: &str,
    ) -> anyhow::Result<KafkaListener> {
        let read = |path: &Path| std::fs::read_to_string(path).with_context(|| path.display().to_string());
        let keystore = folder.join("kafka.keystore.pem");
        std::fs::write(&keystore, read(&self.key)? + &read(&self.certificate)?)?;
        let (listener, modules) = ("listener.name.sasl_ssl", "org.apache.kafka.common.security");
        let properties = format!(
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL\n\
            {listener}.ssl.keystore.type=PEM\n\
            {listener}.ssl.keystore.location={}\n\
            {listener}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
            {listener}.plain.sasl.jaas.config={modules}.plain.PlainLoginModule required \
            user_{username}=\"{password}\";\n\
            {listener}.scram-sha-256.sasl.jaas.config={modules}.scram.ScramLoginModule required;\n\
            {listener}.scram-sha-512.sasl.jaas.config={modules}.scram.ScramLoginModule required;",
            keystore.display()
        );
        let scram =
            |mechanism: &str| ["--add-scram".to_owned(), format!("{mechanism}=[name={username},password={password}]")];
        let format_arguments = [scram("SCRAM-SHA-256"), scram("SCRAM-SHA-512")].concat();
        Ok(KafkaListener { place: Some(format!("SASL_SSL://{brokers}")), properties, format_arguments })
    }
}
