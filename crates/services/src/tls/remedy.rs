//! What to do about a TLS connection that failed.
//!
//! Some clients hand on no more than a text, so that all are read as text: rustls' own words. A test brings each about, so that a release
//! of rustls that words it otherwise is noticed.

/// Names of settings, for remedies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsKeys {
    /// Where the server is: `kafka.brokers`.
    pub server: &'static str,
    /// The trusted authorities: `kafka.tls_ca`.
    pub ca: &'static str,
    /// The client certificate: `kafka.tls_certificate`.
    pub certificate: &'static str,
}

impl TlsKeys {
    pub const KAFKA: Self = Self { server: "kafka.brokers", ca: "kafka.tls_ca", certificate: "kafka.tls_certificate" };
    pub const MQTT: Self = Self { server: "mqtt.url", ca: "mqtt.tls_ca", certificate: "mqtt.tls_client_certificate" };
    pub const POSTGRES: Self =
        Self { server: "postgres.url", ca: "postgres.tls_ca", certificate: "postgres.tls_certificate" };
    pub const REDIS_QR: Self =
        Self { server: "redis_qr.url", ca: "redis_qr.tls_ca", certificate: "redis_qr.tls_certificate" };
    pub const REDIS_WS: Self =
        Self { server: "redis_ws.url", ca: "redis_ws.tls_ca", certificate: "redis_ws.tls_certificate" };

    /// The text, and behind it the remedy where it is about TLS.
    #[must_use]
    pub fn with_remedy(&self, text: String) -> String {
        match self.remedy(&text) {
            Some(remedy) => format!("{text}; {remedy}"),
            None => text,
        }
    }

    fn remedy(&self, text: &str) -> Option<String> {
        let Self { server, ca, certificate } = self;
        let has = |words: &str| text.contains(words);
        Some(if has("invalid peer certificate: UnknownIssuer") {
            format!("the authority that signed it is not trusted: set {ca} to its certificate (PEM)")
        } else if has("certificate not valid for name") || has("NotValidForName") {
            format!("name the server in {server} as its certificate does, or give it one that names it so")
        } else if has("invalid peer certificate: certificate expired") || has("certificate not valid yet") {
            "renew the server's certificate, or set the clock".to_owned()
        } else if has("CaUsedAsEndEntity") {
            format!(
                "the server shows an authority's certificate as its own: give it one that is signed by the one in {ca}"
            )
        } else if has("invalid peer certificate") {
            format!("mend the server's certificate, or {ca}")
        } else if has("received fatal alert") {
            format!("the server refused us: it may want a client certificate that it knows ({certificate} and its key)")
        } else if has("received corrupt message") || has("does not support TLS") {
            format!("the server does not speak TLS there: turn it on, or leave TLS out ({server})")
        } else if has("tls handshake") {
            format!(
                "the server may not speak TLS at that port ({server}), or want a client certificate ({certificate})"
            )
        } else {
            return None;
        })
    }
}

#[cfg(test)]
mod tests {
    use rustls::{CertificateError, Error, pki_types::UnixTime};

    use super::*;

    /// Those that take a clock, or an authority that shows itself; the others are in tests/services/tls.rs.
    #[test]
    fn what_rustls_says_of_a_certificate_is_understood() {
        let time = UnixTime::now();
        for (error, expected) in [
            (CertificateError::ExpiredContext { time, not_after: time }, "renew the server's certificate"),
            (CertificateError::NotValidYetContext { time, not_before: time }, "set the clock"),
            (CertificateError::BadSignature, "mend the server's certificate"),
        ] {
            let text = TlsKeys::REDIS_QR.with_remedy(Error::InvalidCertificate(error).to_string());
            assert!(text.contains(expected), "{text}");
        }
        assert_eq!(TlsKeys::MQTT.with_remedy("Connection refused".to_owned()), "Connection refused");
    }
}
