//! Redis, in the configuration of either of the daemon's two.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::port::free_port;
use crate::process::Launch;
use crate::server::{Address, Server, shared};
use crate::unique_name;

const TIMEOUT: Duration = Duration::from_secs(2);
/// `databases` of deploy/redis/*.conf.
const DATABASES: u32 = 64;
/// A test that takes longer than this loses its database to another; one that died gives it back.
const CLAIM_SECONDS: u32 = 3_600;

static SHARED_QR: OnceCell<Redis> = OnceCell::const_new();
static SHARED_WS: OnceCell<Redis> = OnceCell::const_new();

/// Which of the two configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisKind {
    /// Coordinates: file synced each second.
    Ws,
    /// Challenges and refresh tokens: file synced before each answer.
    Qr,
}

/// A Redis server of one's own.
pub type Redis = Server<RedisAddress>;

/// Where a Redis server is.
#[derive(Debug, Clone)]
pub struct RedisAddress {
    url: String,
}

impl Redis {
    /// Starts a server on a free port.
    ///
    /// # Errors
    /// It is not installed, or did not start; with the end of its log.
    pub async fn start(kind: RedisKind) -> anyhow::Result<Self> {
        Self::start_with(kind, &[]).await
    }

    /// The same, with more arguments: `--tls-port`, for instance.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(kind: RedisKind, more_arguments: &[String]) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("orinoco-redis-")?;
        let port = free_port()?;
        let conf = match kind {
            RedisKind::Ws => "ws.conf",
            RedisKind::Qr => "qr.conf",
        };
        let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/redis").join(conf);
        let launch = Launch::new("redis-server", folder.path(), folder.path().join("log")).arguments([
            conf.as_os_str(),
            "--port".as_ref(),
            port.to_string().as_ref(),
            "--dir".as_ref(),
            folder.path().as_os_str(),
        ]);
        let launch = launch.arguments(more_arguments);
        let address = RedisAddress { url: format!("redis://127.0.0.1:{port}") };
        Self::launch(launch, folder, address, Signal::TERM).await
    }

    /// The server that the tests of one run share: `ORINOCO_TEST_REDIS_WS_URL` or `ORINOCO_TEST_REDIS_QR_URL`, else one for
    /// this process. Take a [`fresh_database`](RedisAddress::fresh_database) of it; publications cross databases, so
    /// channels need a [`unique_name`].
    ///
    /// # Errors
    /// It does not answer, or could not be started.
    pub async fn shared(kind: RedisKind) -> anyhow::Result<RedisAddress> {
        let (variable, own) = match kind {
            RedisKind::Ws => ("ORINOCO_TEST_REDIS_WS_URL", &SHARED_WS),
            RedisKind::Qr => ("ORINOCO_TEST_REDIS_QR_URL", &SHARED_QR),
        };
        shared(variable, |url| RedisAddress { url }, own, || Self::start(kind)).await
    }
}

/// An empty database of a shared server, given back when dropped.
#[derive(Debug)]
pub struct RedisDatabase {
    server: RedisAddress,
    number: u32,
    url: String,
}

impl RedisAddress {
    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Claims one of the databases 1 to 63 and empties it. (Database 0 keeps the claims.)
    ///
    /// # Errors
    /// All are taken, or the server does not answer.
    pub async fn fresh_database(&self) -> anyhow::Result<RedisDatabase> {
        let claim = unique_name("claim");
        for number in 1..DATABASES {
            let key = claim_key(number);
            let answer = self.command(0, &["SET", &key, &claim, "NX", "EX", &CLAIM_SECONDS.to_string()]).await?;
            if answer == "+OK" {
                self.command(number, &["FLUSHDB"]).await?;
                let url = format!("{}/{number}", self.url);
                return Ok(RedisDatabase { server: self.clone(), number, url });
            }
        }
        bail!("all {} databases of {} are taken by tests", DATABASES - 1, self.url)
    }

    /// Sends one command to one database and returns the first line of the answer, its type mark (`+`, `-`, `:`, `$`)
    /// included.
    ///
    /// # Errors
    /// The server does not answer within 2 s, or answers with an error.
    pub async fn command(&self, database: u32, words: &[&str]) -> anyhow::Result<String> {
        let (server, words) = (self.clone(), words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        tokio::task::spawn_blocking(move || server.command_blocking(database, &words)).await?
    }

    fn command_blocking(&self, database: u32, words: &[String]) -> anyhow::Result<String> {
        let host = self.url.strip_prefix("redis://").context("not a redis:// URL")?.trim_end_matches('/');
        let address = host.to_socket_addrs()?.next().with_context(|| format!("{host} has no address"))?;
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let mut stream = BufReader::new(stream);
        let select = ["SELECT", &database.to_string()].map(str::to_owned);
        let mut answer = String::new();
        for words in [&select[..], words] {
            stream.get_mut().write_all(&encode(words))?;
            answer.clear();
            stream.read_line(&mut answer).with_context(|| format!("{} does not answer", self.url))?;
            if answer.starts_with('-') || answer.is_empty() {
                bail!("{} answered '{}' to {}", self.url, answer.trim_end(), words[0]);
            }
        }
        Ok(answer.trim_end().to_owned())
    }
}

impl Address for RedisAddress {
    fn url(&self) -> &str {
        &self.url
    }

    async fn answers(&self) -> anyhow::Result<()> {
        let answer = self.command(0, &["PING"]).await?;
        if answer != "+PONG" {
            bail!("{} answered '{answer}' to PING", self.url);
        }
        Ok(())
    }
}

impl RedisDatabase {
    /// `redis://127.0.0.1:PORT/NUMBER`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for RedisDatabase {
    fn drop(&mut self) {
        // Blocking, because the runtime of a test that ends runs nothing more. A destructor has nobody to tell: if this
        // fails, the claim ends by itself.
        let _ = self.server.command_blocking(0, &["DEL".to_owned(), claim_key(self.number)]);
    }
}

fn claim_key(number: u32) -> String {
    format!("orinoco-testkit:database:{number}")
}

/// RESP2: an array of bulk strings.
fn encode(words: &[String]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}
