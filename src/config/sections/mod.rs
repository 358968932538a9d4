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

use super::kind::{OneOf, Optional, choice, log_directives, path};
use super::reader::{Fallback::Fixed, Reload::Live, section};

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
    /// Logs, written to the standard error output.
    Telemetry = "telemetry" {
        /// For people or for machines.
        log_format: LogFormat = "log_format", OneOf::new(), Fixed("text");
        /// What is logged.
        log: String = "log", log_directives(), Fixed("info"), Live;
    }
}
