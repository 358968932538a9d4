//! Exports spans to a collector: OTLP 1.x over HTTP with protobuf (OpenTelemetry Protocol Specification, section OTLP/HTTP).
//!
//! Invariant: one try a call, and no time of its own: the caller bounds it and repeats it. What may be repeated is what the specification lists
//! (section "Failures"): 429, 502, 503, 504, and a connection that failed.

mod connection;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header::RETRY_AFTER};
use orinoco_ports::{ExportError, Span, SpanExporter};
use prost::Message as _;

use crate::TlsOptions;
use connection::{Answer, Connection};
use wire::ExportTraceServiceResponse;

/// Where to, and who we are.
#[derive(Debug, Clone)]
pub struct OtlpOptions {
    /// `http://host:port` or `https://host:port`, with a path at most, to which `/v1/traces` is added.
    pub endpoint: String,
    /// Sent with each request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Attributes of the resource, such as `service.name`.
    pub resource: Vec<(&'static str, String)>,
    /// For https.
    pub tls: TlsOptions,
}

/// See the module.
pub struct OtlpExporter {
    connection: Connection,
    place: String,
    resource: Vec<(&'static str, String)>,
}

impl OtlpExporter {
    /// # Errors
    /// The endpoint is no URL with a host.
    pub fn new(options: OtlpOptions) -> Result<Self, String> {
        let place = format!("{}/v1/traces", options.endpoint.trim_end_matches('/'));
        let uri: Uri = place.parse().map_err(|error| format!("{place}: {error}"))?;
        if uri.host().is_none() {
            return Err(format!("{place} names no host"));
        }
        let headers: HeaderMap = options.headers.into_iter().collect();
        Ok(Self { connection: Connection::new(uri, headers, options.tls), place, resource: options.resource })
    }

    fn unavailable(&self, reason: impl ToString, after: Option<Duration>) -> ExportError {
        ExportError::Unavailable { place: self.place.clone(), reason: reason.to_string(), after }
    }
}

#[async_trait]
impl SpanExporter for OtlpExporter {
    async fn export(&self, spans: &[Span]) -> Result<u64, ExportError> {
        let body = wire::encode(&self.resource, spans);
        let answer = self.connection.post(body.into()).await.map_err(|error| self.unavailable(error, None))?;
        match answer.status {
            status if status.is_success() => Ok(rejected(&answer)),
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(self.unavailable(answer.status, retry_after(&answer))),
            status => Err(ExportError::Refused { place: self.place.clone(), reason: status.to_string() }),
        }
    }
}

/// Spans that the collector did not take, of a request that it took ("Partial Success"). An answer that can't be understood says nothing.
fn rejected(answer: &Answer) -> u64 {
    let response = ExportTraceServiceResponse::decode(answer.body.clone()).unwrap_or_default();
    let Some(partial) = response.partial_success else { return 0 };
    if !partial.error_message.is_empty() {
        tracing::debug!(reason = partial.error_message, spans = partial.rejected_spans, "trace collector took a part");
    }
    partial.rejected_spans.unsigned_abs()
}

/// In seconds (RFC 9110, section 10.2.3); a date is left to our own delays.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let seconds = answer.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
