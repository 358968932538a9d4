//! The HTTP port's clients: a connection that stays open, and a stream of events.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const ANSWER_WAIT_MAX: Duration = Duration::from_secs(20);
const ANSWER_BYTES_MAX: usize = 1 << 20;
const EMAIL: &str = "phone@example.org";
const PASSWORD: &str = "correct horse battery";

/// A connection.
pub(crate) struct Portal {
    stream: TcpStream,
    host: String,
    received: Vec<u8>,
}

impl Portal {
    pub(crate) async fn connect(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host: address.to_owned(), received: Vec::new() })
    }

    /// Below `/api/v1/`; `token` is left out where it is empty.
    ///
    /// # Errors
    /// No answer in time, or none that is understood.
    pub(crate) async fn post(&mut self, path: &str, token: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        self.ask("POST", path, token, &body.to_string()).await
    }

    /// As [`Portal::post`].
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn get(&mut self, path: &str, token: &str) -> anyhow::Result<(u16, Value)> {
        self.ask("GET", path, token, "").await
    }

    async fn ask(&mut self, method: &str, path: &str, token: &str, body: &str) -> anyhow::Result<(u16, Value)> {
        let bearer = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let request = format!(
            "{method} /api/v1/{path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{bearer}Content-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        timeout(ANSWER_WAIT_MAX, self.answer()).await.context("no answer in time")?
    }

    async fn answer(&mut self) -> anyhow::Result<(u16, Value)> {
        let end = loop {
            match find(&self.received, b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => receive(&mut self.stream, &mut self.received).await?,
            }
        };
        let head = String::from_utf8_lossy(&self.received[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no length")?;
        let length: usize = length.trim().parse()?;
        while self.received.len() < end + length {
            receive(&mut self.stream, &mut self.received).await?;
        }
        let body = serde_json::from_slice(&self.received[end..end + length])?;
        self.received.drain(..end + length);
        Ok((status, body))
    }
}

async fn receive(stream: &mut TcpStream, received: &mut Vec<u8>) -> anyhow::Result<()> {
    ensure!(received.len() < ANSWER_BYTES_MAX, "an answer without an end");
    ensure!(stream.read_buf(received).await? > 0, "the connection was closed");
    Ok(())
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

/// Somebody with a phone: an access token.
pub(crate) async fn log_in(address: &str) -> anyhow::Result<String> {
    let mut portal = Portal::connect(address).await?;
    let account = json!({ "email": EMAIL, "password": PASSWORD });
    let (status, answer) = portal.post("auth/signup", "", &account).await?;
    ensure!(status == 201, "signing up: {status} {answer}");
    log_in_as(address, EMAIL, PASSWORD).await
}

/// An access token of an account that is there.
pub(crate) async fn log_in_as(address: &str, email: &str, password: &str) -> anyhow::Result<String> {
    let mut portal = Portal::connect(address).await?;
    let (status, answer) = portal.post("auth/login", "", &json!({ "email": email, "password": password })).await?;
    ensure!(status == 200, "logging in: {status} {answer}");
    Ok(answer["accessToken"].as_str().context("no access token")?.to_owned())
}

/// Who asks to be logged in.
pub(crate) struct Browser {
    verifier: String,
    pub(crate) code_challenge: String,
    pub(crate) id: String,
    pub(crate) nonce: String,
}

impl Browser {
    /// That has not asked yet.
    pub(crate) fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let seed = format!("{} {}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed));
        let verifier = URL_SAFE_NO_PAD.encode(Sha256::digest(seed));
        let code_challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        Self { verifier, code_challenge, id: String::new(), nonce: String::new() }
    }

    /// With the answer to its request.
    pub(crate) fn made(self, answer: &Value) -> anyhow::Result<Self> {
        let text = |name: &str| answer[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
        Ok(Self { id: text("challengeId")?, nonce: text("nonce")?, ..self })
    }
}

/// A challenge's stream of events.
pub(crate) struct Events {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Events {
    pub(crate) async fn open(address: &str, browser: &Browser) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!(
            "GET /api/v1/qr/challenges/{}/events HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\nOrinoco-Verifier: {}\r\n\r\n",
            browser.id, browser.verifier
        );
        stream.write_all(request.as_bytes()).await?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Reads on until an event says this status.
    pub(crate) async fn until(&mut self, status: &str) -> anyhow::Result<()> {
        let wanted = format!("\"status\":\"{status}\"");
        let seen = async {
            while find(&self.received, wanted.as_bytes()).is_none() {
                receive(&mut self.stream, &mut self.received).await?;
            }
            anyhow::Ok(())
        };
        match timeout(ANSWER_WAIT_MAX, seen).await {
            Ok(seen) => seen,
            Err(_) => bail!("no event {status} in: {}", String::from_utf8_lossy(&self.received)),
        }
    }
}
