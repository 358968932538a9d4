//! TLS of the MQTT clients that commands are themselves.

use anyhow::Context as _;
use orinoco_services::{TlsOptions, diagnose_mqtts, is_mqtts, paho_ssl_options};
use paho_mqtt::SslOptions;

/// For the connect options; `None` where the URL is none of TLS.
///
/// # Errors
/// A file that can't be read or understood.
pub(crate) fn ssl_options(url: &str, tls: &TlsOptions) -> anyhow::Result<Option<SslOptions>> {
    if !is_mqtts(url) {
        return Ok(None);
    }
    // The C library would only say that it failed.
    tls.check().context("TLS of the MQTT broker")?;
    paho_ssl_options(tls).map(Some).context("TLS of the MQTT broker")
}

/// What a failed connect says, with the reason where that is TLS: the C library does not tell.
pub(crate) async fn explained<T>(url: &str, tls: &TlsOptions, connected: anyhow::Result<T>) -> anyhow::Result<T> {
    match connected {
        Ok(connected) => Ok(connected),
        Err(error) => match diagnose_mqtts(url, tls).await {
            Some(why) => Err(error.context(why)),
            None => Err(error),
        },
    }
}
