//! `sslmode` of a URL, as libpq has it, and stricter where that costs nobody anything.
//!
//! | `sslmode` | here |
//! |---|---|
//! | `disable` | never TLS |
//! | `prefer`, or none | TLS where the server offers it, and whoever that is: it keeps listeners out, not impostors |
//! | `require`, `verify-ca`, `verify-full` | TLS, and the certificate and the host's name are verified; libpq verifies with `verify-full` only both |
//!
//! tokio-postgres knows the first three; what is verified is up to the connector that it is given.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// What a word of `sslmode` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    Prefer,
    /// TLS, and the server is verified.
    Verified,
}

impl SslMode {
    const WORDS: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];

    /// What a URL asks for.
    ///
    /// # Errors
    /// A word that is none, or two of them.
    pub fn of(url: &str) -> Result<Self, String> {
        Self::extract(url).map(|(mode, _)| mode)
    }

    /// `None` for what is none of [`SslMode::WORDS`].
    fn parse(word: &str) -> Option<Self> {
        match word {
            "disable" => Some(Self::Disable),
            "prefer" => Some(Self::Prefer),
            "require" | "verify-ca" | "verify-full" => Some(Self::Verified),
            _ => None,
        }
    }

    /// The word that tokio-postgres knows for it.
    fn word(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Verified => "require",
        }
    }

    /// Takes the parameter out of a URL, in a word that tokio-postgres knows.
    ///
    /// # Errors
    /// As [`SslMode::of`].
    pub(super) fn extract(url: &str) -> Result<(Self, String), String> {
        let Some((before, query)) = url.split_once('?') else { return Ok((Self::Prefer, url.to_owned())) };
        let mut mode = None;
        let mut parameters = Vec::new();
        for parameter in query.split('&') {
            let (name, word) = parameter.split_once('=').unwrap_or((parameter, ""));
            if percent_decode_str(name).decode_utf8_lossy() != "sslmode" {
                parameters.push(parameter.to_owned());
                continue;
            }
            let read =
                Self::parse(word).ok_or_else(|| format!("sslmode={word} is none of {}", Self::WORDS.join(", ")))?;
            if mode.replace(read).is_some() {
                return Err("sslmode stands there twice; leave one of them".to_owned());
            }
            parameters.push(format!("sslmode={}", read.word()));
        }
        Ok((mode.unwrap_or(Self::Prefer), format!("{before}?{}", parameters.join("&"))))
    }
}

/// For `prefer`, which would do without TLS as well.
pub(super) fn unverified() -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let verifier = Arc::new(Anybody(provider));
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Takes any certificate, from whoever holds its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_mode_is_read_and_the_rest_of_the_url_stays() {
        for (url, mode, rest) in [
            ("postgres://u:p@h/d", SslMode::Prefer, "postgres://u:p@h/d"),
            ("postgres://h/d?sslmode=disable", SslMode::Disable, "postgres://h/d?sslmode=disable"),
            ("postgres://h/d?sslmode=prefer&a=b", SslMode::Prefer, "postgres://h/d?sslmode=prefer&a=b"),
            ("postgres://h/d?a=b&sslmode=require", SslMode::Verified, "postgres://h/d?a=b&sslmode=require"),
            ("postgres://h?sslmode=verify-ca", SslMode::Verified, "postgres://h?sslmode=require"),
            ("postgres://h?sslmode=verify-full&a=b", SslMode::Verified, "postgres://h?sslmode=require&a=b"),
            ("postgres://h?ssl%6Dode=verify-full", SslMode::Verified, "postgres://h?sslmode=require"),
        ] {
            assert_eq!(SslMode::extract(url).unwrap(), (mode, rest.to_owned()), "{url}");
        }
        for word in ["allow", "", "Require"] {
            assert!(SslMode::extract(&format!("postgres://h?sslmode={word}")).unwrap_err().contains("verify-full"));
        }
        let twice = SslMode::extract("postgres://h?sslmode=verify-full&sslmode=prefer").unwrap_err();
        assert!(twice.contains("twice"), "{twice}");
    }
}
