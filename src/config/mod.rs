//! The daemon's configuration: defaults < `orinoco.toml` < environment `ORINOCO__SECTION__KEY` < flags.
//!
//! Invariants: it is read whole, and found right or wrong, before anything is bound, made or reached; unknown keys are refused in
//! the file and in the environment; every mistake is reported, each with its file and line or its variable; secrets are
//! hidden wherever values are shown. Relative paths start at the working directory.

mod advice;
mod changes;
mod client_tls;
mod error;
mod kind;
mod reader;
mod reference;
mod rules;
mod sections;
mod source;
mod supervision;
mod traces;
mod value;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use orinoco_domain::{Subscriptions, TopicFilters};

#[cfg(test)]
pub(crate) use tests::assert_up_to_date;

pub use changes::Changed;
pub use client_tls::{ClientTls, FileKey};
pub use error::{ConfigError, Origin, Problem};
pub use reader::{Reload, Setting};
pub use sections::{
    Anonymous, Auth, Backend, General, Http, Journal, JournalMode, Kafka, Limits, LimitsMode, Log, LogFormat, Mode,
    Mqtt, OnDataLoss, PairingMode, Parts, Postgres, RedisQr, RedisWs, SaslMechanism, Signup, Stream, Telemetry, Tls,
    Ws,
};
pub use source::VARIABLE_PREFIX;
pub use supervision::SupervisionFile;
pub use traces::otlp_headers;
pub use value::{HostPort, REDACTED, Scheme, Secret, ServiceUrl};

use reader::Reader;
use source::{Found, Raw};

/// The file that is read where no `--config` names one, if it is there.
pub const FILE_DEFAULT: &str = "orinoco.toml";

/// All of it, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `mode`, `data_dir`, `supervision`.
    pub general: General,
    pub parts: Parts,
    pub http: Http,
    pub ws: Ws,
    pub tls: Tls,
    pub mqtt: Mqtt,
    pub journal: Journal,
    pub kafka: Kafka,
    pub log: Log,
    pub redis_ws: RedisWs,
    pub redis_qr: RedisQr,
    pub postgres: Postgres,
    pub stream: Stream,
    pub auth: Auth,
    pub limits: Limits,
    pub telemetry: Telemetry,
}

/// A configuration with where each value came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// Every key, in the order of the documentation.
    pub settings: Vec<Setting>,
}

impl Loaded {
    /// A mistake in the value of a key, found where it was used: as if found when it was read.
    #[must_use]
    pub fn mistake(&self, key: &str, message: impl Into<String>) -> ConfigError {
        let origin = self.settings.iter().find(|setting| setting.key == key).map(|setting| setting.origin.clone());
        let origin = origin.unwrap_or(Origin::Default);
        ConfigError::new(vec![Problem { origin, key: key.to_owned(), message: message.into() }])
    }

    /// Whether any layer sets this key.
    #[must_use]
    pub fn is_set(&self, key: &str) -> bool {
        self.settings.iter().any(|setting| setting.key == key && setting.origin != Origin::Default)
    }

    /// What `--demo` makes of it.
    #[must_use]
    pub fn for_demo(mut self) -> Self {
        self.config.stream.public = true;
        self
    }

    /// What is wrong with what a key names, found after the layers were read.
    #[must_use]
    pub fn problem(&self, key: &str, message: String) -> Problem {
        let setting = self.settings.iter().find(|setting| setting.key == key);
        let origin = setting.map_or(Origin::Default, |setting| setting.origin.clone());
        Problem { origin, key: key.to_owned(), message }
    }
}

/// The strongest layer.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--mode`.
    pub mode: Option<String>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
}

/// Reads all layers: the file, this process's environment and `flags`.
///
/// # Errors
/// [`ConfigError`] with every mistake.
pub fn load(flags: &Flags) -> Result<Loaded, ConfigError> {
    load_from(flags, std::env::vars_os(), Path::new(FILE_DEFAULT))
}

/// [`load`] with an environment and a default file of the caller's.
///
/// # Errors
/// [`ConfigError`] with every mistake.
pub fn load_from(
    flags: &Flags,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    file_default: &Path,
) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let mut found = match &flags.config {
        Some(path) => source::read_file(path, Origin::Flag("--config"), &mut problems),
        None if file_default.exists() => {
            let origin = Origin::File { name: file_default.display().to_string(), line: 0 };
            source::read_file(file_default, origin, &mut problems)
        }
        None => Vec::new(),
    };
    found.extend(source::read_environment(environment, &mut problems));
    found.extend(flags.found());
    let mut reader = Reader::new(found, problems);
    let config = Config::read(&mut reader);
    rules::check(&config, &mut reader);
    reader.reject_unknown();
    if reader.problems.is_empty() {
        Ok(Loaded { config, settings: reader.settings })
    } else {
        Err(ConfigError::new(reader.problems))
    }
}

impl Flags {
    fn found(&self) -> Vec<Found> {
        let data_dir = self.data_dir.as_ref().map(|path| path.display().to_string());
        let flags = [("mode", "--mode", self.mode.clone()), ("data_dir", "--data-dir", data_dir)];
        let set = flags.into_iter().filter_map(|(key, flag, text)| text.map(|text| (key, flag, text)));
        set.map(|(key, flag, text)| Found { key: key.to_owned(), raw: Raw::Untyped(text), origin: Origin::Flag(flag) })
            .collect()
    }
}

impl Config {
    /// The order here is that of the documentation.
    fn read(reader: &mut Reader) -> Self {
        let general = General::read(reader);
        // The backends' defaults hang on it.
        reader.mode = general.mode;
        Self {
            general,
            parts: Parts::read(reader),
            http: Http::read(reader),
            ws: Ws::read(reader),
            tls: Tls::read(reader),
            mqtt: Mqtt::read(reader),
            journal: Journal::read(reader),
            kafka: Kafka::read(reader),
            log: Log::read(reader),
            redis_ws: RedisWs::read(reader),
            redis_qr: RedisQr::read(reader),
            postgres: Postgres::read(reader),
            stream: Stream::read(reader),
            auth: Auth::read(reader),
            limits: Limits::read(reader),
            telemetry: Telemetry::read(reader),
        }
    }

    /// The folder of everything that is kept in files.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.general.data_dir
    }

    /// The socket of `orinoco tree` and its like.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.general.data_dir.join("control.sock")
    }

    /// The keys that sign and derive.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.auth.key_file.clone().unwrap_or_else(|| self.general.data_dir.join("keys.json"))
    }

    fn http_scheme(&self) -> &'static str {
        if self.http.tls_certificate.is_some() { "https" } else { "http" }
    }

    /// How browsers and phones reach the HTTP port; without a slash at the end.
    #[must_use]
    pub fn public_url(&self) -> String {
        match &self.http.public_url {
            Some(url) => url.expose().trim_end_matches('/').to_owned(),
            None => format!("{}://{}", self.http_scheme(), self.http.listen.dialled()),
        }
    }

    /// How browsers reach the WebSocket port, without a slash at the end; `None` where that was not said.
    #[must_use]
    pub fn ws_public_url(&self) -> Option<String> {
        self.ws.public_url.as_ref().map(|url| url.expose().trim_end_matches('/').to_owned())
    }

    /// Whether devices connect to this process.
    #[must_use]
    pub fn has_broker(&self) -> bool {
        self.parts.ingest && self.mqtt.backend == Backend::Embedded
    }

    /// Where the embedded broker listens, by key; nothing where it is not used.
    #[must_use]
    pub fn broker_listeners(&self) -> Vec<(&'static str, &HostPort)> {
        let places = [("mqtt.listen", &self.mqtt.listen), ("mqtt.tls_listen", &self.mqtt.tls_listen)];
        let set = places.into_iter().filter_map(|(key, place)| place.as_ref().map(|place| (key, place)));
        if self.has_broker() { set.collect() } else { Vec::new() }
    }

    /// The broker that devices publish to: the embedded one where it is used and nothing else was said.
    #[must_use]
    pub fn mqtt_url(&self) -> String {
        match (&self.mqtt.url, &self.mqtt.listen, &self.mqtt.tls_listen) {
            (Some(url), ..) => url.expose().to_owned(),
            (None, Some(listen), _) if self.mqtt.backend == Backend::Embedded => format!("mqtt://{}", listen.dialled()),
            (None, None, Some(listen)) if self.mqtt.backend == Backend::Embedded => {
                format!("mqtts://{}", listen.dialled())
            }
            (None, ..) => "mqtt://127.0.0.1:3123".to_owned(),
        }
    }

    /// Which topics carry coordinates, and whose. Checked when the configuration was read.
    #[must_use]
    pub fn topic_filters(&self) -> TopicFilters {
        TopicFilters::parse(&self.mqtt.filters).unwrap_or_default()
    }

    /// What to ask the broker of the backend `service` for. Checked when the configuration was read.
    #[must_use]
    pub fn subscriptions(&self) -> Subscriptions {
        let exact = || Subscriptions { wanted: self.mqtt.filters.clone(), superseded: Vec::new() };
        self.topic_filters().subscriptions(self.mqtt.stray_topics).unwrap_or_else(|_| exact())
    }

    /// The five backends, by section.
    #[must_use]
    pub fn backends(&self) -> [(&'static str, Backend); 5] {
        [
            ("mqtt", self.mqtt.backend),
            ("kafka", self.kafka.backend),
            ("redis_ws", self.redis_ws.backend),
            ("redis_qr", self.redis_qr.backend),
            ("postgres", self.postgres.backend),
        ]
    }
}

impl Default for Config {
    /// As if no layer said anything.
    fn default() -> Self {
        Self::read(&mut Reader::new(Vec::new(), Vec::new()))
    }
}
