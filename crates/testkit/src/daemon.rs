//! The daemon itself as a process, for tests through its front door.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Signal;

use crate::http::{self, HttpResponse};
use crate::poll::poll_until;
use crate::port::free_port;
use crate::process::{Launch, Process};
use crate::usage::ProcessUsage;

const READY_DEADLINE: Duration = Duration::from_secs(60);
const STOP_DEADLINE: Duration = Duration::from_secs(60);
/// The daemon's own variables in the environment of the tests would make them depend on who runs them.
const VARIABLE_PREFIX: &str = "ORINOCO__";

/// What a daemon is started with, beyond its data directory and its ports.
#[derive(Debug, Clone, Default)]
pub struct DaemonConfig {
    /// After `serve --data-dir DIR`, such as `["--mode", "services"]`.
    pub arguments: Vec<String>,
    /// Environment, such as `("ORINOCO__STREAM__PUBLIC", "true")`; it wins over the ports chosen here.
    pub environment: Vec<(String, String)>,
    /// A program with its arguments that becomes the daemon (by exec): `setpriv ...`, or a shell that sets limits. Often none.
    pub run_by: Vec<String>,
}

impl DaemonConfig {
    /// Adds arguments.
    #[must_use]
    pub fn arguments<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets one key of the configuration, as `set("stream.public", "true")`.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<String>) -> Self {
        let name = format!("{VARIABLE_PREFIX}{}", key.replace('.', "__").to_uppercase());
        self.environment.push((name, value.into()));
        self
    }
}

/// A daemon on free ports, killed when dropped. Its ports and its data stay the same over [`restart`](Self::restart).
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    http: String,
    ws: String,
    mqtt: String,
}

impl Daemon {
    /// Starts `binary serve` and waits until `/readyz` answers 200.
    ///
    /// Its output goes to the file `{data_dir}.stderr.log`, appended over restarts.
    ///
    /// # Errors
    /// It ended, or was not ready within 60 s; with the end of its output.
    pub async fn spawn(binary: &Path, config: DaemonConfig, data_dir: &Path) -> anyhow::Result<Self> {
        let daemon = Self::spawn_without_waiting(binary, config, data_dir)?;
        daemon.wait_until_ready(READY_DEADLINE).await?;
        Ok(daemon)
    }

    /// Starts `binary serve` and does not wait: for a daemon that is to be seen unready.
    ///
    /// # Errors
    /// The binary cannot be run.
    pub fn spawn_without_waiting(binary: &Path, config: DaemonConfig, data_dir: &Path) -> anyhow::Result<Self> {
        let (http, ws, mqtt) = (loopback()?, loopback()?, loopback()?);
        let parent = data_dir.parent().context("the data directory needs a parent folder, for the log")?;
        let (program, before) = match config.run_by.split_first() {
            Some((program, arguments)) => (Path::new(program), arguments),
            None => (binary, &[][..]),
        };
        let mut launch = Launch::new(program, parent, log_path(data_dir, parent))
            .arguments(before)
            .arguments(config.run_by.first().map(|_| binary))
            .arguments(["serve".as_ref(), "--data-dir".as_ref(), data_dir.as_os_str()])
            .arguments(&config.arguments);
        launch.environment_removed_prefix = Some(VARIABLE_PREFIX);
        for (key, value) in [("HTTP", &http), ("WS", &ws), ("MQTT", &mqtt)] {
            launch.environment.push((format!("{VARIABLE_PREFIX}{key}__LISTEN"), value.clone()));
        }
        launch.environment.extend(config.environment);
        let address = |section: &str, chosen: &String| -> String {
            let name = format!("{VARIABLE_PREFIX}{section}__LISTEN");
            let set = launch.environment.iter().rev().find(|(variable, _)| *variable == name);
            set.map_or_else(|| chosen.clone(), |(_, value)| value.clone())
        };
        let (http, ws, mqtt) = (address("HTTP", &http), address("WS", &ws), address("MQTT", &mqtt));
        let daemon = Self { process: Process::new(launch), http, ws, mqtt };
        daemon.process.start()?;
        Ok(daemon)
    }

    /// `host:port` of REST, health and metrics.
    pub fn http_address(&self) -> &str {
        &self.http
    }

    /// `host:port` of the WebSocket listener.
    pub fn ws_address(&self) -> &str {
        &self.ws
    }

    /// `host:port` of the embedded broker. Nobody listens there when the daemon uses another broker.
    pub fn mqtt_address(&self) -> &str {
        &self.mqtt
    }

    /// GET on the HTTP port.
    ///
    /// # Errors
    /// No answer within 10 s, or not HTTP.
    pub async fn get(&self, path: &str) -> anyhow::Result<HttpResponse> {
        http::get(&self.http, path).await
    }

    /// A counter of `/metrics`, summed over its labels; 0 where it was never counted.
    ///
    /// # Errors
    /// No answer, or another than 200.
    pub async fn counter(&self, name: &str) -> anyhow::Result<f64> {
        let answer = self.get("/metrics").await?;
        if answer.status != 200 {
            bail!("/metrics answers {}", answer.status);
        }
        let lines = answer.body.lines().filter_map(|line| line.strip_prefix(name));
        let values = lines.filter(|rest| rest.starts_with(['{', ' '])).filter_map(|rest| rest.rsplit(' ').next());
        Ok(values.filter_map(|value| value.parse::<f64>().ok()).sum())
    }

    /// Waits until `/readyz` answers 200.
    ///
    /// # Errors
    /// It ended, or the deadline passed; with its last answer and the end of its output.
    pub async fn wait_until_ready(&self, deadline: Duration) -> anyhow::Result<()> {
        let mut last = String::from("none");
        let outcome = poll_until(deadline, "/readyz to answer 200", async || {
            if let Some(status) = self.process.exit_status().transpose() {
                return Some(status.map(Some));
            }
            match self.get("/readyz").await {
                Ok(response) if response.status == 200 => return Some(Ok(None)),
                Ok(response) => last = format!("{} {}", response.status, response.body),
                Err(error) => last = format!("{error:#}"),
            }
            None
        })
        .await
        .with_context(|| format!("last answer: {last}; its output ends:\n{}", self.process.launch().log_tail()))?;
        if let Some(status) = outcome? {
            bail!("the daemon ended with {status}; its output ends:\n{}", self.process.launch().log_tail());
        }
        Ok(())
    }

    /// Waits for the daemon to end by itself, as after bad configuration.
    ///
    /// # Errors
    /// It still ran at the deadline.
    pub async fn wait_for_exit(&self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        let status =
            poll_until(deadline, "the daemon to end", async || self.process.exit_status().transpose()).await??;
        self.process.kill()?;
        Ok(status)
    }

    /// SIGKILL; returns when it is gone. Does nothing where it does not run.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// SIGTERM, and waits for the orderly end.
    ///
    /// # Errors
    /// It was not running, or did not end within 60 s.
    pub async fn terminate(&self) -> anyhow::Result<ExitStatus> {
        self.process.stop(Signal::TERM, STOP_DEADLINE).await
    }

    /// Starts it again with the same ports and data, after SIGTERM if it runs, and waits until it is ready.
    ///
    /// # Errors
    /// As [`terminate`](Self::terminate) and [`spawn`](Self::spawn).
    pub async fn restart(&self) -> anyhow::Result<()> {
        if self.process.pid().is_ok() {
            self.terminate().await?;
        }
        self.start_without_waiting()?;
        self.wait_until_ready(READY_DEADLINE).await
    }

    /// Starts it again, unless it runs, and does not wait.
    ///
    /// # Errors
    /// The binary cannot be run.
    pub fn start_without_waiting(&self) -> anyhow::Result<()> {
        self.process.start()
    }

    /// SIGSTOP: connections stay open, nothing is answered.
    ///
    /// # Errors
    /// It is not running.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// It is not running.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// SIGHUP: it reads its files again.
    ///
    /// # Errors
    /// It is not running.
    pub fn hang_up(&self) -> anyhow::Result<()> {
        self.process.signal(Signal::HUP)
    }

    /// Sets how large a file may become that it writes to (the soft limit of RLIMIT_FSIZE), bytes; `None`: as large as may be.
    ///
    /// # Errors
    /// It is not running, or may not have that much.
    pub fn limit_file_bytes(&self, bytes_max: Option<u64>) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid()?)?);
        let resource = rustix::process::Resource::Fsize;
        let maximum = rustix::process::getrlimit(resource).maximum;
        let limit = rustix::process::Rlimit { current: bytes_max.or(maximum), maximum };
        rustix::process::prlimit(pid, resource, limit).context("prlimit")?;
        Ok(())
    }

    /// Its process id.
    ///
    /// # Errors
    /// It is not running.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.process.pid()
    }

    /// The file of its output.
    pub fn stderr_path(&self) -> &Path {
        &self.process.launch().log
    }

    /// Its output so far, of all its starts.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn stderr(&self) -> anyhow::Result<String> {
        let bytes = std::fs::read(self.stderr_path()).with_context(|| self.stderr_path().display().to_string())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Memory, processor time, descriptors and threads at one moment.
    ///
    /// # Errors
    /// It is not running.
    pub fn usage(&self) -> anyhow::Result<ProcessUsage> {
        self.process.usage()
    }

    /// Resident memory, bytes.
    ///
    /// # Errors
    /// It is not running.
    pub fn rss_bytes(&self) -> anyhow::Result<u64> {
        Ok(self.usage()?.rss_bytes)
    }

    /// Processor time since its start, seconds.
    ///
    /// # Errors
    /// It is not running.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        Ok(self.usage()?.cpu_seconds)
    }

    /// Open file descriptors.
    ///
    /// # Errors
    /// It is not running.
    pub fn fd_count(&self) -> anyhow::Result<usize> {
        Ok(self.usage()?.fd_count)
    }

    /// Threads.
    ///
    /// # Errors
    /// It is not running.
    pub fn thread_count(&self) -> anyhow::Result<usize> {
        Ok(self.usage()?.thread_count)
    }
}

fn loopback() -> anyhow::Result<String> {
    Ok(format!("127.0.0.1:{}", free_port()?))
}

/// `DIR.stderr.log`: beside the data directory, so that two daemons with one parent folder have two logs.
fn log_path(data_dir: &Path, parent: &Path) -> PathBuf {
    let mut name = data_dir.file_name().unwrap_or_default().to_owned();
    name.push(".stderr.log");
    parent.join(name)
}
