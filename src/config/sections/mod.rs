//! One struct for each concern: keys, defaults, bounds and documentation stand together in the `section!` that declares them.

mod access;
mod backends;
mod ingest;
mod listeners;
mod parts;
mod stream;

pub use access::{Auth, Limits, LimitsMode, Signup};
pub use backends::{Kafka, Log, OnDataLoss, Postgres, RedisQr, RedisWs, SaslMechanism};
pub use ingest::{Anonymous, Journal, JournalMode, Mqtt};
pub use listeners::{Http, Tls, Ws};
pub use parts::Parts;
pub use stream::{PairingMode, Stream};

use std::path::PathBuf;

use super::kind::{Number, OneOf, Optional, Password, Url, choice, log_directives, path, words};
use super::reader::{Fallback::Fixed, Reload::Live, section};
use super::traces::Ratio;
use super::value::{Secret, ServiceUrl};

choice! {
    /// A set of defaults: which backends are used.
    Mode {
        /// All inside this process, in files of the data directory.
        Embedded = "embedded",
        /// Real servers, which many daemons may share.
        Services = "services",
    }
}

impl Mode {
    pub(super) const fn backend_name(self) -> &'static str {
        match self {
            Self::Embedded => Backend::Embedded.as_str(),
            Self::Services => Backend::Service.as_str(),
        }
    }
}

choice! {
    /// Which adapter of a port is used.
    Backend {
        /// The one inside this process.
        Embedded = "embedded",
        /// The one that speaks to a server.
        Service = "service",
    }
}

choice! {
    /// How log lines look.
    LogFormat {
        /// For people.
        Text = "text",
        /// For machines: one JSON object a line.
        Json = "json",
    }
}

section! {
    /// Keys that belong to no section. In the file they stand before the first one.
    General = "" {
        /// The default of every `backend`: all inside this process, or real servers.
        mode: Mode = "mode", OneOf::new(), Fixed("embedded");
        /// The folder of the journal, the embedded backends, the keys and the control socket; made when missing. One daemon
        /// a folder.
        data_dir: PathBuf = "data_dir", path(), Fixed("orinoco-data");
        /// The file of the actor tree. Where this is empty, `supervision.toml` in the working directory, and where there is
        /// none, the one that was built in.
        supervision: Option<PathBuf> = "supervision", Optional(path()), Fixed(""), Live;
    }
}

section! {
    /// Logs, written to the standard error output, and traces.
    Telemetry = "telemetry" {
        /// For people or for machines.
        log_format: LogFormat = "log_format", OneOf::new(), Fixed("text");
        /// What is logged.
        log: String = "log", log_directives(), Fixed("info"), Live;
        /// The collector that traces are exported to, by OTLP over HTTP with protobuf: `/v1/traces` is added. Where this is empty,
        /// nothing is traced.
        otlp_endpoint: Option<ServiceUrl> = "otlp_endpoint", Optional(Url(&[("http", 80), ("https", 443)])), Fixed("");
        /// Headers that the collector wants, `name=value` by commas, as `OTEL_EXPORTER_OTLP_HEADERS` has them: what is no letter or digit
        /// of a value may be written as %20 and the like.
        otlp_headers: Option<Secret> = "otlp_headers", Optional(Password), Fixed("");
        /// The authorities by which the collector's certificate is checked, a PEM file; where this is empty, those of the system. For https.
        otlp_tls_ca: Option<PathBuf> = "otlp_tls_ca", Optional(path()), Fixed("");
        /// How this daemon is called in traces.
        service_name: String = "service_name", words(), Fixed("orinoco");
        /// Which part of the messages and logins that come without `traceparent` begin a trace. One that comes with a sampled
        /// `traceparent` is traced in any case.
        trace_ratio: u32 = "trace_ratio", Ratio, Fixed("0");
        /// Spans that wait to be exported; at the limit a further one is dropped.
        spans_max: usize = "spans_max", Number::new(512..=1_000_000), Fixed("8192");
    }
}
