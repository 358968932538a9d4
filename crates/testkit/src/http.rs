//! As much of an HTTP client as a test of health and metrics needs.

use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_secs(10);
const RESPONSE_BYTES_MAX: u64 = 16 << 20;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Header lines, as they came.
    pub headers: String,
    /// Body.
    pub body: String,
}

impl HttpResponse {
    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {}", self.body))
    }
}

/// GET over a connection of its own.
pub(crate) async fn get(address: &str, path: &str) -> anyhow::Result<HttpResponse> {
    timeout(TIMEOUT, exchange(address, path))
        .await
        .with_context(|| format!("http://{address}{path} does not answer"))?
}

async fn exchange(address: &str, path: &str) -> anyhow::Result<HttpResponse> {
    let mut stream = TcpStream::connect(address).await?;
    // HTTP/1.0: the body then ends with the connection and is never chunked.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    stream.take(RESPONSE_BYTES_MAX).read_to_end(&mut response).await?;
    let response = String::from_utf8(response)?;
    let (head, body) = response.split_once("\r\n\r\n").context("an answer without an end of its headers")?;
    let (status_line, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let mut words = status_line.split(' ');
    ensure!(words.next().is_some_and(|version| version.starts_with("HTTP/1.")), "not HTTP/1: {status_line}");
    let status = words.next().context("no status")?.parse()?;
    Ok(HttpResponse { status, headers: headers.to_owned(), body: body.to_owned() })
}
