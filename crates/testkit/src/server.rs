//! What all servers have in common: start, stop, pause, kill, start again with the same port and data.

use std::future::Future;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::poll::poll_until;
use crate::process::{Launch, Process};
use crate::usage::ProcessUsage;

/// How long a server may take until it answers. Kafka takes 4 s on two quiet cores.
const READY_DEADLINE: Duration = Duration::from_secs(90);
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// Where a server is reached, whoever started it.
pub trait Address: Clone + Send + Sync + 'static {
    /// As the daemon's configuration takes it: a URL, or `host:port` for Kafka.
    fn url(&self) -> &str;

    /// Whether the server answers a real request.
    fn answers(&self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// A server of one's own, killed when dropped. Its port and its data stay the same over [`restart`](Self::restart).
#[derive(Debug)]
pub struct Server<A: Address> {
    // Before the folder: the process is gone when its files go.
    process: Process,
    folder: TempDir,
    address: A,
    stop_signal: Signal,
}

/// What PostgreSQL says while processes of a server that was killed are still about to notice that.
const LEFTOVER: &str = "pre-existing shared memory block";
const LEFTOVER_TRIES_MAX: usize = 20;
const LEFTOVER_PAUSE: Duration = Duration::from_millis(200);

impl<A: Address> Server<A> {
    /// Starts a prepared server and waits until it answers.
    pub(crate) async fn launch(
        mut launch: Launch,
        folder: TempDir,
        address: A,
        stop_signal: Signal,
    ) -> anyhow::Result<Self> {
        launch.scratch = Some(folder.path().to_owned());
        let server = Self { process: Process::new(launch), folder, address, stop_signal };
        server.process.start()?;
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// The address as the daemon's configuration takes it: a URL, or `host:port` for Kafka.
    pub fn url(&self) -> &str {
        self.address.url()
    }

    /// The address, for what can be asked of the server.
    pub fn address(&self) -> &A {
        &self.address
    }

    /// The folder of its data and its log (`log`).
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process id.
    ///
    /// # Errors
    /// It is not running.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.process.pid()
    }

    /// Memory, processor time, descriptors and threads.
    ///
    /// # Errors
    /// It is not running.
    pub fn usage(&self) -> anyhow::Result<ProcessUsage> {
        self.process.usage()
    }

    /// Shuts it down in its orderly way and waits for its end.
    ///
    /// # Errors
    /// It was not running, or did not end within 30 s.
    pub async fn stop(&self) -> anyhow::Result<ExitStatus> {
        self.process.stop(self.stop_signal, STOP_DEADLINE).await
    }

    /// SIGKILL; returns when it is gone. Does nothing where it does not run.
    ///
    /// # Errors
    /// The kernel refused.
    pub async fn kill(&self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Starts it again with the same port and data, after an orderly stop if it runs, and waits until it answers.
    ///
    /// # Errors
    /// As [`stop`](Self::stop), or it ended at its start, or did not answer within 90 s; with the end of its log.
    pub async fn restart(&self) -> anyhow::Result<()> {
        if self.process.pid().is_ok() {
            self.stop().await?;
        }
        for _ in 0..LEFTOVER_TRIES_MAX {
            self.process.start()?;
            match self.wait_until_ready().await {
                Err(_) if self.process.launch().log_tail().contains(LEFTOVER) => {
                    self.process.kill()?;
                    tokio::time::sleep(LEFTOVER_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
        bail!("{} is held by processes of its last start", self.process.launch().program.display())
    }

    /// SIGSTOP, for its helper processes too: connections stay open, nothing is answered.
    ///
    /// # Errors
    /// It is not running.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.process.pause()
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// It is not running.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.process.resume()
    }

    async fn wait_until_ready(&self) -> anyhow::Result<()> {
        let what = format!("an answer of {}", self.url());
        let outcome = poll_until(READY_DEADLINE, &what, async || {
            if let Ok(Some(status)) = self.process.exit_status() {
                return Some(Err(status));
            }
            self.address.answers().await.ok().map(Ok)
        })
        .await
        .with_context(|| format!("its log ends:\n{}", self.process.launch().log_tail()))?;
        if let Err(status) = outcome {
            let launch = self.process.launch();
            bail!(
                "{} ended at its start with {status}; its log ends:\n{}",
                launch.program.display(),
                launch.log_tail()
            );
        }
        Ok(())
    }
}

/// One server for the whole test process: taken from the environment, else started once.
pub(crate) async fn shared<A, F>(
    variable: &str,
    from_url: impl FnOnce(String) -> A,
    own: &tokio::sync::OnceCell<Server<A>>,
    start: impl FnOnce() -> F,
) -> anyhow::Result<A>
where
    A: Address,
    F: Future<Output = anyhow::Result<Server<A>>>,
{
    if let Ok(url) = std::env::var(variable) {
        let address = from_url(url);
        address.answers().await.with_context(|| format!("{variable}={} does not answer", address.url()))?;
        return Ok(address);
    }
    Ok(own.get_or_try_init(start).await?.address.clone())
}
