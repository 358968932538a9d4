//! mosquitto, in the daemon's tuned configuration.

use std::fs;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::port::free_port;
use crate::process::Launch;
use crate::server::{Address, Server, shared};

const CONFIGURATION: &str = include_str!("../../../deploy/mosquitto/mosquitto.conf");
const TIMEOUT: Duration = Duration::from_secs(2);
/// Debian keeps it out of the PATH of ordinary users.
const PROGRAM: &str = "/usr/sbin/mosquitto";

/// MQTT 3.1.1 section 3.1: CONNECT, clean session, no keep-alive, empty client id.
const CONNECT: [u8; 14] = [0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 0x02, 0, 0, 0, 0];
/// Section 3.2: CONNACK, no session present, accepted.
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
/// Section 3.14.
const DISCONNECT: [u8; 2] = [0xe0, 0];

static SHARED: OnceCell<Mosquitto> = OnceCell::const_new();

/// A mosquitto of one's own. It saves its sessions every 30 s and when stopped: killed, it loses what came since.
pub type Mosquitto = Server<MosquittoAddress>;

/// Where a broker is.
#[derive(Debug, Clone)]
pub struct MosquittoAddress {
    url: String,
}

impl Mosquitto {
    /// Starts a broker on a free port.
    ///
    /// # Errors
    /// It is not installed, or did not start; with the end of its log.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// The same, with more lines in its configuration: another listener, for instance.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(more_lines: &[String]) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("orinoco-mosquitto-")?;
        let port = free_port()?;
        let mut lines: Vec<String> = CONFIGURATION
            .lines()
            .map(|line| match line.split_once(' ') {
                Some(("listener", _)) => format!("listener {port} 127.0.0.1"),
                Some(("persistence_location", _)) => format!("persistence_location {}/", folder.path().display()),
                _ => line.to_owned(),
            })
            .collect();
        if rustix::process::geteuid().is_root() {
            // It would become the user mosquitto, which can't write here.
            lines.push("user root".to_owned());
        }
        lines.extend_from_slice(more_lines);
        let conf = folder.path().join("mosquitto.conf");
        fs::write(&conf, lines.join("\n") + "\n")?;
        let launch =
            Launch::new(PROGRAM, folder.path(), folder.path().join("log")).arguments(["-c".as_ref(), conf.as_os_str()]);
        let address = MosquittoAddress { url: format!("mqtt://127.0.0.1:{port}") };
        Self::launch(launch, folder, address, Signal::TERM).await
    }

    /// The broker that the tests of one run share: `ORINOCO_TEST_MQTT_URL`, else one for this process. Topics and client
    /// ids need a [`unique_name`](crate::unique_name).
    ///
    /// # Errors
    /// It does not answer, or could not be started.
    pub async fn shared() -> anyhow::Result<MosquittoAddress> {
        shared("ORINOCO_TEST_MQTT_URL", |url| MosquittoAddress { url }, &SHARED, Self::start).await
    }
}

impl MosquittoAddress {
    /// `mqtt://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `127.0.0.1:PORT`.
    pub fn host_and_port(&self) -> &str {
        self.url.trim_start_matches("mqtt://")
    }

    async fn connect(&self) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(self.host_and_port()).await?;
        stream.write_all(&CONNECT).await?;
        let mut answer = [0; CONNACK.len()];
        stream.read_exact(&mut answer).await?;
        if answer != CONNACK {
            bail!("{} answered {answer:?} to CONNECT", self.url);
        }
        stream.write_all(&DISCONNECT).await?;
        Ok(())
    }
}

impl Address for MosquittoAddress {
    fn url(&self) -> &str {
        &self.url
    }

    async fn answers(&self) -> anyhow::Result<()> {
        timeout(TIMEOUT, self.connect()).await.with_context(|| format!("{} does not answer", self.url))?
    }
}
