//! A collector of traces: tests/clients/otlp_collector.py.

use std::{path::Path, process::Stdio};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{CertificateFiles, within};

pub(crate) struct Collector {
    events: Lines<BufReader<ChildStdout>>,
    commands: Option<ChildStdin>,
    port: u16,
    /// Told while something else was waited for.
    waiting: Vec<Value>,
    request: Value,
    _process: Child,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self::start_at(0).await
    }

    pub(crate) async fn start_at(port: u16) -> Self {
        Self::start_with(port, None).await
    }

    pub(crate) async fn start_with(port: u16, tls: Option<&CertificateFiles>) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut python = Command::new(root.join(".stack/clients/python/bin/python"));
        python.arg(root.join("tests/clients/otlp_collector.py")).arg(port.to_string()).kill_on_drop(true);
        python.args(tls.into_iter().flat_map(|files| [&files.certificate, &files.key]));
        let process = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = process.expect("python; scripts/install test installs it");
        let commands = process.stdin.take();
        let events = BufReader::new(process.stdout.take().unwrap()).lines();
        let (waiting, request) = (Vec::new(), Value::Null);
        let mut collector = Self { events, commands, port, waiting, request, _process: process };
        let listening = collector.next("listening").await;
        collector.port = u16::try_from(listening["port"].as_u64().unwrap()).unwrap();
        collector
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The request that brought the last spans.
    pub(crate) fn request(&self) -> &Value {
        &self.request
    }

    /// Waits for so many spans.
    pub(crate) async fn spans(&mut self, count: usize) -> Vec<Value> {
        let mut spans = Vec::new();
        while spans.len() < count {
            spans.push(self.next("span").await);
        }
        spans
    }

    /// Waits until it has refused a request.
    pub(crate) async fn refused(&mut self) {
        self.next("refused").await;
    }

    /// Says how it answers from now on.
    pub(crate) async fn set(&mut self, line: &str) {
        self.commands.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).await.unwrap();
        self.next("set").await;
    }

    /// Ends it, and gives the spans that were not waited for.
    pub(crate) async fn rest(&mut self) -> Vec<Value> {
        self.commands = None;
        while let Some(line) = within("the collector's end", self.events.next_line()).await.unwrap() {
            self.waiting.push(serde_json::from_str(&line).unwrap());
        }
        self.waiting.drain(..).filter(|event| event["event"] == "span").collect()
    }

    async fn next(&mut self, wanted: &str) -> Value {
        if let Some(at) = self.waiting.iter().position(|event| event["event"] == wanted) {
            return self.waiting.remove(at);
        }
        loop {
            let line = within(wanted, self.events.next_line()).await.unwrap();
            let event: Value = serde_json::from_str(&line.expect("the collector ended; its error is above")).unwrap();
            if event["event"] == wanted {
                return event;
            }
            if event["event"] == "request" {
                self.request = event;
            } else {
                self.waiting.push(event);
            }
        }
    }
}
