//! A command's end.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orinoco_domain::account::UserId;
use orinoco_ports::EndReason;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{ANSWER_BYTES_MAX, socket};
use crate::reload::Outcome;

const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A connection to a running daemon.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error(
        "no daemon runs on {data_dir}; start one with `orinoco serve`, or name the folder of the one that runs by --data-dir"
    )]
    NotRunning { data_dir: String },
    /// The daemon belongs to somebody else.
    #[error("{path} may not be opened; run this as the user of the daemon")]
    Denied { path: String },
    /// The connection failed.
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
    /// The daemon is there and does not answer.
    #[error("{path}: no answer within {} s; the daemon hangs, or is stopped", ANSWER_MAX.as_secs())]
    Timeout { path: String },
    /// The daemon said no.
    #[error("{0}")]
    Refused(String),
    /// The other end is no daemon of this version.
    #[error("{path}: the answer is not understood: {reason}")]
    Protocol { path: String, reason: String },
}

impl Client {
    /// # Errors
    /// [`ControlError`].
    pub async fn connect(path: &Path) -> Result<Self, ControlError> {
        let connected = timeout(ANSWER_MAX, socket::connect(path)).await;
        let place = || path.display().to_string();
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(connect_error(path, error)),
            Err(_) => return Err(ControlError::Timeout { path: place() }),
        };
        Ok(Self { path: path.to_owned(), stream: BufReader::new(stream) })
    }

    /// The daemon's tree, as `orinoco_supervision::Snapshot` is serialised.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn tree(&mut self) -> Result<Value, ControlError> {
        let mut answer = self.request(&json!({ "command": "tree" })).await?;
        match answer.get_mut("snapshot") {
            Some(snapshot) => Ok(snapshot.take()),
            None => Err(self.protocol("it has no snapshot")),
        }
    }

    /// Has the daemon read its files again.
    ///
    /// # Errors
    /// [`ControlError`]; a refusal is an [`Outcome`].
    pub async fn reload(&mut self) -> Result<Outcome, ControlError> {
        let mut answer = self.request(&json!({ "command": "reload" })).await?;
        let outcome = answer.get_mut("reload").map(Value::take).unwrap_or_default();
        serde_json::from_value(outcome).map_err(|error| self.protocol(error))
    }

    /// Kills the actor at `path`, where supervision.toml allows it.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn kill(&mut self, path: &str) -> Result<(), ControlError> {
        self.request(&json!({ "command": "kill", "path": path })).await.map(|_| ())
    }

    /// Ends all logins of an account in the daemon's login store, and closes their sockets.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn end_logins(&mut self, user_id: UserId, reason: EndReason) -> Result<(), ControlError> {
        let request = json!({ "command": "end_logins", "userId": user_id.0, "reason": reason.as_str() });
        self.request(&request).await.map(|_| ())
    }

    async fn request(&mut self, request: &Value) -> Result<Value, ControlError> {
        let outcome = timeout(ANSWER_MAX, self.exchange(request)).await;
        let line = match outcome {
            Ok(Ok(line)) => line,
            Ok(Err(source)) => return Err(ControlError::Io { path: self.path.display().to_string(), source }),
            Err(_) => return Err(ControlError::Timeout { path: self.path.display().to_string() }),
        };
        let answer: Value = serde_json::from_slice(&line).map_err(|error| self.protocol(error))?;
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(ControlError::Refused(error.to_owned())),
            None => Ok(answer),
        }
    }

    async fn exchange(&mut self, request: &Value) -> io::Result<Vec<u8>> {
        // A server that refuses the connection closes it without reading; what it said is still there to be read.
        let written = self.stream.get_mut().write_all(format!("{request}\n").as_bytes()).await;
        let mut line = Vec::new();
        (&mut self.stream).take(ANSWER_BYTES_MAX as u64).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            written?;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }

    fn protocol(&self, reason: impl ToString) -> ControlError {
        ControlError::Protocol { path: self.path.display().to_string(), reason: reason.to_string() }
    }
}

fn connect_error(path: &Path, error: io::Error) -> ControlError {
    let place = path.display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            let data_dir = path.parent().unwrap_or(path).display().to_string();
            ControlError::NotRunning { data_dir }
        }
        io::ErrorKind::PermissionDenied => ControlError::Denied { path: place },
        _ => ControlError::Io { path: place, source: error },
    }
}
