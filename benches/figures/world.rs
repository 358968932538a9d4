//! Servers and a folder, in which daemons are started one after the other.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use orinoco_testkit::{
    Daemon, DaemonConfig, Kafka, Mosquitto, Postgres, Redis, RedisKind, poll_until, process_is_running,
};
use tempfile::TempDir;

/// Followed by the process id.
const FOLDER_PREFIX: &str = "orinoco-bench-";
const BINARY: &str = env!("CARGO_BIN_EXE_orinoco");
/// After so long, what was waited for is taken for lost.
pub(crate) const DEADLINE: Duration = Duration::from_secs(240);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Embedded,
    Services,
}

impl Mode {
    pub(crate) const BOTH: [Self; 2] = [Self::Embedded, Self::Services];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Services => "services",
        }
    }
}

pub(crate) struct Services {
    pub(crate) mosquitto: Mosquitto,
    pub(crate) kafka: Kafka,
    pub(crate) redis_ws: Redis,
    pub(crate) redis_qr: Redis,
    postgres: Postgres,
}

pub(crate) struct World {
    pub(crate) services: Option<Services>,
    data_dir: PathBuf,
    // Last: servers and daemons are gone when their files go.
    _folder: TempDir,
}

impl World {
    /// # Errors
    /// A server is missing or did not start.
    pub(crate) async fn new(mode: Mode) -> anyhow::Result<Self> {
        let folder = folder()?;
        let services = match mode {
            Mode::Embedded => None,
            Mode::Services => Some(Services::start().await?),
        };
        Ok(Self { services, data_dir: folder.path().join("data"), _folder: folder })
    }

    /// Away with what earlier daemons have left; none may run.
    ///
    /// # Errors
    /// The folder can't be removed.
    pub(crate) fn empty_data_dir(&self) -> anyhow::Result<()> {
        match std::fs::remove_dir_all(&self.data_dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("the data directory"),
            _ => Ok(()),
        }
    }

    /// A daemon on what earlier ones have left; it may not be ready.
    ///
    /// # Errors
    /// It cannot be run.
    pub(crate) fn spawn(&self, settings: &[(&str, &str)]) -> anyhow::Result<Daemon> {
        let mut config = DaemonConfig::default().set("stream.public", "true").set("limits.mode", "off");
        if let Some(services) = &self.services {
            config = services.configure(config);
        }
        for (key, value) in settings {
            config = config.set(key, *value);
        }
        Daemon::spawn_without_waiting(Path::new(BINARY), config, &self.data_dir)
    }

    /// A daemon that is ready.
    ///
    /// # Errors
    /// It ended, or was not ready in time; with the end of its output.
    pub(crate) async fn spawn_ready(&self, settings: &[(&str, &str)]) -> anyhow::Result<Daemon> {
        let daemon = self.spawn(settings)?;
        daemon.wait_until_ready(DEADLINE).await?;
        Ok(daemon)
    }

    /// In the embedded accounts, beside the daemon that runs.
    ///
    /// # Errors
    /// It could not be made.
    pub(crate) fn add_administrator(&self, email: &str, password: &str) -> anyhow::Result<()> {
        let mut command = Command::new(BINARY);
        command.arg("--data-dir").arg(&self.data_dir).args(["user", "add", "--admin", "--email", email]);
        let mut child = command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        child.stdin.take().context("no standard input")?.write_all(password.as_bytes())?;
        ensure!(child.wait()?.success(), "the administrator was not made");
        Ok(())
    }

    /// `host:port` that devices publish to.
    pub(crate) fn broker_address(&self, daemon: &Daemon) -> String {
        match &self.services {
            Some(services) => services.mosquitto.address().host_and_port().to_owned(),
            None => daemon.mqtt_address().to_owned(),
        }
    }
}

impl Services {
    async fn start() -> anyhow::Result<Self> {
        Ok(Self {
            mosquitto: Mosquitto::start().await?,
            kafka: Kafka::start().await?,
            redis_ws: Redis::start(RedisKind::Ws).await?,
            redis_qr: Redis::start(RedisKind::Qr).await?,
            postgres: Postgres::start().await?,
        })
    }

    fn configure(&self, config: DaemonConfig) -> DaemonConfig {
        config
            .set("mode", "services")
            .set("mqtt.url", self.mosquitto.url())
            .set("kafka.brokers", self.kafka.url())
            .set("redis_ws.url", self.redis_ws.url())
            .set("redis_qr.url", self.redis_qr.url())
            .set("postgres.url", self.postgres.url())
            .set("postgres.migrate", "true")
    }
}

/// A folder of this process; those of earlier processes, which were killed, go.
fn folder() -> anyhow::Result<TempDir> {
    for entry in std::fs::read_dir(std::env::temp_dir())?.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(FOLDER_PREFIX)?.split('-').next()?.parse().ok());
        if owner.is_some_and(|pid: u32| !process_is_running(pid)) {
            // It may be another user's.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    Ok(TempDir::with_prefix(format!("{FOLDER_PREFIX}{}-", std::process::id()))?)
}

/// Waits until these components of `/readyz` are up.
pub(crate) async fn wait_for_components(daemon: &Daemon, names: &[&str]) -> anyhow::Result<()> {
    poll_until(DEADLINE, &format!("{names:?} to be up"), async || {
        let answer = daemon.get("/readyz").await.ok()?.json().ok()?;
        let components = answer["components"].as_array()?;
        let is_up =
            |name: &&str| components.iter().any(|component| component["name"] == **name && component["state"] == "up");
        names.iter().all(is_up).then_some(())
    })
    .await
    .with_context(|| format!("the daemon's log ends:\n{}", log_tail(daemon)))
}

/// Waits until a counter of `/metrics`, summed over its labels, is at least `count`.
pub(crate) async fn wait_for_counter(daemon: &Daemon, name: &str, count: usize) -> anyhow::Result<()> {
    let mut last = 0.0;
    let what = format!("{name} to reach {count}");
    let waited = poll_until(DEADLINE, &what, async || {
        last = daemon.counter(name).await.unwrap_or(last);
        (last >= count as f64).then_some(())
    });
    let waited = waited.await;
    waited.with_context(|| format!("it is {last}; the daemon's log ends:\n{}", log_tail(daemon)))
}

fn log_tail(daemon: &Daemon) -> String {
    let log = daemon.stderr().unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
