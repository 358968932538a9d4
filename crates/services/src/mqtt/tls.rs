//! TLS of paho's connections. The C library has OpenSSL for that, and reads the files with each connect; what fails there it does not say.

use std::time::Duration;

use paho_mqtt::{SslOptions, SslOptionsBuilder};

use crate::tls::{TlsKeys, TlsOptions};

/// What asking why may take.
const DIAGNOSIS_MAX: Duration = Duration::from_secs(3);

/// For `mqtts://`: the broker's certificate and its name are verified.
///
/// # Errors
/// A path that is no UTF-8 text.
pub fn paho_ssl_options(tls: &TlsOptions) -> paho_mqtt::Result<SslOptions> {
    let mut builder = SslOptionsBuilder::new();
    // The chain, and then the name.
    builder.enable_server_cert_auth(true).verify(true);
    if let Some(ca) = &tls.ca {
        builder.trust_store(ca)?;
    }
    if let Some(identity) = &tls.identity {
        builder.key_store(&identity.certificate)?.private_key(&identity.key)?;
    }
    Ok(builder.finalize())
}

/// Whether a URL means TLS.
#[must_use]
pub fn is_mqtts(url: &str) -> bool {
    url.starts_with("mqtts://")
}

/// Why a connection to this URL failed, as far as TLS is to blame: the same handshake once more, by ourselves.
pub async fn diagnose_mqtts(url: &str, tls: &TlsOptions) -> Option<String> {
    let place = url.strip_prefix("mqtts://")?.trim_end_matches('/');
    let has_port = place.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let address = if has_port { place.to_owned() } else { format!("{place}:{MQTTS_PORT}") };
    tls.diagnose(&address, &TlsKeys::MQTT, DIAGNOSIS_MAX).await
}

/// IANA's secure-mqtt.
pub(super) const MQTTS_PORT: u16 = 8_883;
