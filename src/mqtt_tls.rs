//! TLS of the MQTT clients that commands are themselves.

use std::time::Duration;

use anyhow::Context as _;
use orinoco_services::{TlsOptions, diagnose_mqtts, is_mqtts, paho_ssl_options};
use paho_mqtt::{AsyncClient, ConnectOptions, SslOptions};
use tokio::time::timeout;

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

/// Connects within `limit`: paho keeps its own time; this is for the case that it does not.
///
/// # Errors
/// Why it failed, with the reason where that is TLS: the C library does not tell.
pub(crate) async fn connect(
    client: &AsyncClient,
    options: ConnectOptions,
    limit: Duration,
    (url, tls): (&str, &TlsOptions),
) -> anyhow::Result<()> {
    let error = match timeout(limit, client.connect(options)).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => anyhow::Error::from(error),
        Err(elapsed) => elapsed.into(),
    };
    Err(match diagnose_mqtts(url, tls).await {
        Some(why) => error.context(why),
        None => error,
    })
}
