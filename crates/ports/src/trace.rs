//! Traces: spans as plain data, and where they are sent.

use std::time::Duration;

use async_trait::async_trait;
use orinoco_domain::TraceContext;

/// What took time, finished: a message on one stretch of its way, or a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The trace, and the span's own id.
    pub context: TraceContext,
    /// The span that it is part of; `None` at the root of a trace.
    pub parent: Option<u64>,
    /// `<operation> <destination>`, of few values: no ids.
    pub name: String,
    pub kind: SpanKind,
    /// Nanoseconds since 1970.
    pub begun_ns: u64,
    /// Nanoseconds since 1970.
    pub ended_ns: u64,
    /// Names of OpenTelemetry's semantic conventions.
    pub attributes: Vec<(&'static str, SpanValue)>,
    /// Why it failed.
    pub error: Option<String>,
}

/// OpenTelemetry specification, SpanKind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Answers a request.
    Server,
    /// Hands a message to a broker.
    Producer,
    /// Does what a message asks for.
    Consumer,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpanValue {
    Word(&'static str),
    Text(String),
    Integer(i64),
}

/// Sends spans to a collector.
#[async_trait]
pub trait SpanExporter: Send + Sync + 'static {
    /// One try. Answers how many of the spans the collector refused for themselves: they are lost, and not to be sent again.
    ///
    /// # Errors
    /// [`ExportError`].
    async fn export(&self, spans: &[Span]) -> Result<u64, ExportError>;
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Send the same again, `after` so long where the collector says so.
    #[error("trace collector {place} can't be reached: {reason}")]
    Unavailable { place: String, reason: String, after: Option<Duration> },
    /// Sending the same again won't help.
    #[error(
        "trace collector {place} refused the spans: {reason}; check telemetry.otlp_endpoint and telemetry.otlp_headers"
    )]
    Refused { place: String, reason: String },
}
