//! What the sections say about TLS with their servers, in one form.

use std::path::Path;

use orinoco_services::SslMode;

use super::reader::Reader;
use super::{Backend, Config, Kafka, SaslMechanism, ServiceUrl};

/// A key with its value.
pub type FileKey<'a> = (&'static str, Option<&'a Path>);

/// One section's. Its files are in use where `is_on`.
#[derive(Debug, Clone, Copy)]
pub struct ClientTls<'a> {
    pub section: &'static str,
    /// Whether the section's server is reached by TLS, and verified.
    pub is_on: bool,
    /// How that is said.
    turned_on_by: &'static str,
    pub ca: FileKey<'a>,
    pub certificate: FileKey<'a>,
    pub key: FileKey<'a>,
}

impl<'a> ClientTls<'a> {
    /// Those that are set.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &'a Path)> {
        [self.ca, self.certificate, self.key].into_iter().filter_map(|(key, path)| Some((key, path?)))
    }
}

impl Config {
    /// The five, by section.
    #[must_use]
    pub fn client_tls(&self) -> [ClientTls<'_>; 5] {
        let Self { mqtt, kafka, redis_ws, redis_qr, postgres, .. } = self;
        [
            ClientTls {
                section: "mqtt",
                is_on: mqtt.url.as_ref().is_some_and(|url| url.scheme() == "mqtts"),
                turned_on_by: "mqtt.url = \"mqtts://...\"",
                ca: ("mqtt.tls_ca", mqtt.tls_ca.as_deref()),
                certificate: ("mqtt.tls_client_certificate", mqtt.tls_client_certificate.as_deref()),
                key: ("mqtt.tls_client_key", mqtt.tls_client_key.as_deref()),
            },
            ClientTls {
                section: "kafka",
                is_on: kafka.tls,
                turned_on_by: "kafka.tls = true",
                ca: ("kafka.tls_ca", kafka.tls_ca.as_deref()),
                certificate: ("kafka.tls_certificate", kafka.tls_certificate.as_deref()),
                key: ("kafka.tls_key", kafka.tls_key.as_deref()),
            },
            ClientTls {
                section: "redis_ws",
                is_on: redis_ws.url.scheme() == "rediss",
                turned_on_by: "redis_ws.url = \"rediss://...\"",
                ca: ("redis_ws.tls_ca", redis_ws.tls_ca.as_deref()),
                certificate: ("redis_ws.tls_certificate", redis_ws.tls_certificate.as_deref()),
                key: ("redis_ws.tls_key", redis_ws.tls_key.as_deref()),
            },
            ClientTls {
                section: "redis_qr",
                is_on: redis_qr.url.scheme() == "rediss",
                turned_on_by: "redis_qr.url = \"rediss://...\"",
                ca: ("redis_qr.tls_ca", redis_qr.tls_ca.as_deref()),
                certificate: ("redis_qr.tls_certificate", redis_qr.tls_certificate.as_deref()),
                key: ("redis_qr.tls_key", redis_qr.tls_key.as_deref()),
            },
            ClientTls {
                section: "postgres",
                is_on: is_verified(&postgres.url),
                turned_on_by: "sslmode=verify-full in postgres.url",
                ca: ("postgres.tls_ca", postgres.tls_ca.as_deref()),
                certificate: ("postgres.tls_certificate", postgres.tls_certificate.as_deref()),
                key: ("postgres.tls_key", postgres.tls_key.as_deref()),
            },
        ]
    }
}

fn is_verified(url: &ServiceUrl) -> bool {
    SslMode::of(url.expose()) == Ok(SslMode::Verified)
}

/// Half of a pair, files that nobody would read, and a name without a password.
pub(super) fn check(config: &Config, reader: &mut Reader) {
    for tls in config.client_tls() {
        let ClientTls { certificate, key, .. } = tls;
        for ((half, _), (other, other_value)) in [(certificate, key), (key, certificate)] {
            if tls.files().any(|(name, _)| name == half) && other_value.is_none() {
                reader.reject(&[half], format!("needs {other} as well"));
            }
        }
        if !tls.is_on
            && let Some((name, _)) = tls.files().next()
        {
            reader.reject(&[name], format!("has no effect without TLS: set {}", tls.turned_on_by));
        }
    }
    if let Err(problem) = SslMode::of(config.postgres.url.expose()) {
        reader.reject(&["postgres.url"], problem);
    }
    let files = ["sslrootcert", "sslcert", "sslkey"];
    if let Some(name) = files.into_iter().find(|name| config.postgres.url.parameter(name).is_some()) {
        let instead = "postgres.tls_ca, postgres.tls_certificate, postgres.tls_key";
        reader.reject(&["postgres.url"], format!("{name} does not belong there; use {instead}"));
    }
    check_sasl(config, reader);
}

fn check_sasl(config: &Config, reader: &mut Reader) {
    let kafka = &config.kafka;
    let (username, password) = (kafka.sasl_username.is_some(), kafka.sasl_password.is_some());
    if kafka.sasl_mechanism == SaslMechanism::None {
        for (name, is_set) in [("kafka.sasl_username", username), ("kafka.sasl_password", password)] {
            if is_set {
                reader.reject(&[name], "has no effect without kafka.sasl_mechanism");
            }
        }
    } else if !(username && password) {
        reader.reject(&["kafka.sasl_mechanism"], "needs kafka.sasl_username and kafka.sasl_password as well");
    }
}

impl Kafka {
    /// What is allowed, and yet shows the password to whoever listens; a sentence for people.
    #[must_use]
    pub fn password_advice(&self) -> Option<&'static str> {
        let in_the_clear = self.backend == Backend::Service && !self.tls && self.sasl_mechanism == SaslMechanism::Plain;
        in_the_clear.then_some(
            "kafka.sasl_mechanism PLAIN without TLS sends the password as it is; set kafka.tls = true, or use SCRAM-SHA-512",
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::config::{Flags, Loaded, tests::load_text};

    /// Lines of a file in services mode, and what is wrong with them.
    fn load(lines: &str) -> Result<Loaded, String> {
        let (loaded, _folder) = load_text(&format!("mode = \"services\"\n{lines}"), &[], Flags::default());
        loaded.map_err(|error| error.to_string())
    }

    #[test]
    fn what_would_have_no_effect_or_is_half_is_refused() {
        for (lines, expected) in [
            ("[kafka]\ntls_ca = \"a\"\n", "set kafka.tls = true"),
            ("[redis_ws]\ntls_ca = \"a\"\n", "set redis_ws.url = \"rediss://...\""),
            ("[redis_qr]\ntls_ca = \"a\"\n", "set redis_qr.url = \"rediss://...\""),
            ("[mqtt]\ntls_ca = \"a\"\nurl = \"mqtt://h\"\n", "set mqtt.url = \"mqtts://...\""),
            ("[postgres]\ntls_ca = \"a\"\n", "set sslmode=verify-full in postgres.url"),
            ("[postgres]\ntls_ca = \"a\"\nurl = \"postgres://h/d?sslmode=prefer\"\n", "set sslmode=verify-full"),
            ("[postgres]\nurl = \"postgres://h/d?sslmode=on\"\n", "sslmode=on is none of disable, prefer"),
            ("[postgres]\nurl = \"postgres://h/d?sslmode=require&ssl%6Dode=prefer\"\n", "sslmode stands there twice"),
            ("[postgres]\nurl = \"postgres://h/d?sslrootcert=a\"\n", "use postgres.tls_ca"),
            ("[kafka]\ntls = true\ntls_certificate = \"a\"\n", "kafka.tls_certificate: needs kafka.tls_key"),
            ("[kafka]\ntls = true\ntls_key = \"a\"\n", "kafka.tls_key: needs kafka.tls_certificate"),
            ("[kafka]\nsasl_mechanism = \"PLAIN\"\nsasl_username = \"u\"\n", "needs kafka.sasl_username and"),
            ("[kafka]\nsasl_password = \"p\"\n", "no effect without kafka.sasl_mechanism"),
            ("[kafka]\nsasl_mechanism = \"GSSAPI\"\n", "use \"none\" or \"PLAIN\" or \"SCRAM-SHA-256\" or"),
        ] {
            let problem = load(lines).unwrap_err();
            assert!(problem.contains(expected) && problem.lines().count() == 1, "{lines}: {problem}");
        }
    }

    #[test]
    fn each_section_says_whether_it_uses_tls() {
        let loaded = load(
            "[mqtt]\nurl = \"mqtts://h\"\ntls_ca = \"a\"\n[kafka]\ntls = true\n[redis_ws]\nurl = \"rediss://h\"\n\
            [redis_qr]\nurl = \"rediss://h\"\n[postgres]\nurl = \"postgres://h/d?sslmode=require\"\ntls_ca = \"b\"\n",
        );
        let config = loaded.unwrap().config;
        assert!(config.client_tls().iter().all(|tls| tls.is_on));
        assert_eq!(config.mqtt_url(), "mqtts://h");
        assert_eq!(config.mqtt.url.unwrap().hosts()[0].port(), 8883);
        assert!(load("").unwrap().config.client_tls().iter().all(|tls| !tls.is_on));
    }

    #[test]
    fn a_password_in_the_clear_is_warned_of_and_none_is_shown() {
        let sasl = |mechanism: &str| {
            format!("[kafka]\nsasl_mechanism = \"{mechanism}\"\nsasl_username = \"u\"\nsasl_password = \"s3cret\"\n")
        };
        let plain = load(&sasl("PLAIN")).unwrap();
        assert!(plain.advice().iter().any(|advice| advice.contains("kafka.tls = true")), "{:?}", plain.advice());
        assert!(!format!("{plain:?}").contains("s3cret"));
        assert_eq!(load(&(sasl("PLAIN") + "tls = true\n")).unwrap().advice(), Vec::<String>::new());
        assert_eq!(load(&sasl("SCRAM-SHA-512")).unwrap().advice(), Vec::<String>::new());
    }
}
