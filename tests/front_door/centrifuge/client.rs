//! Official clients, each a process that is told what to do and tells what happens: see tests/clients.

use std::{collections::VecDeque, path::Path, process::Stdio};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::support::{World, within};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Library {
    /// `centrifuge` (npm) in Node.
    Node,
    /// The same in Chromium, on a page of another origin.
    Chromium,
    /// `centrifuge-python` (PyPI).
    Python,
}

pub(super) struct Client {
    // Killed when it is dropped.
    _process: Child,
    commands: ChildStdin,
    events: Lines<BufReader<ChildStdout>>,
    /// Told, and not asked for yet.
    seen: VecDeque<Value>,
}

impl Client {
    /// `token` empty: it shows none.
    pub(super) fn start(library: Library, world: &World, token: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (programs, installed) = (root.join("tests/clients"), root.join(".stack/clients"));
        let mut command = match library {
            Library::Node | Library::Chromium => {
                let program = if library == Library::Node { "centrifuge.mjs" } else { "centrifuge_chromium.mjs" };
                let mut command = Command::new("node");
                command.arg(programs.join(program)).arg(&installed);
                command
            }
            Library::Python => {
                let mut command = Command::new(installed.join("python/bin/python"));
                command.arg(programs.join("centrifuge_client.py"));
                command
            }
        };
        command.arg(format!("ws://{}/connection/websocket", world.daemon.ws_address()));
        if !token.is_empty() {
            command.arg(token);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let process = command.spawn();
        let mut process =
            process.unwrap_or_else(|error| panic!("{library:?}: {error}; scripts/install test installs it"));
        let commands = process.stdin.take().unwrap();
        let events = BufReader::new(process.stdout.take().unwrap()).lines();
        let _process = process;
        Self { _process, commands, events, seen: VecDeque::new() }
    }

    /// Starts it, and connects.
    pub(super) async fn connected(library: Library, world: &World, token: &str) -> Self {
        let mut client = Self::start(library, world, token);
        client.tell(json!({"do": "connect"})).await;
        client.event("connected").await;
        client
    }

    pub(super) async fn tell(&mut self, command: Value) {
        self.commands.write_all(format!("{command}\n").as_bytes()).await.unwrap();
    }

    /// The next event of that name; those of other names are kept.
    pub(super) async fn event(&mut self, name: &str) -> Value {
        if let Some(index) = self.seen.iter().position(|event| event["event"] == name) {
            return self.seen.remove(index).unwrap();
        }
        loop {
            let event = within(name, self.read()).await;
            if event["event"] == name {
                return event;
            }
            self.seen.push_back(event);
        }
    }

    /// The next event, whatever it is.
    pub(super) async fn next(&mut self) -> Value {
        match self.seen.pop_front() {
            Some(event) => event,
            None => within("an event", self.read()).await,
        }
    }

    async fn read(&mut self) -> Value {
        let line = self.events.next_line().await.unwrap();
        let line = line.unwrap_or_else(|| panic!("the client ended; scripts/install test installs it"));
        serde_json::from_str(&line).unwrap()
    }

    /// Whether an event of that name has come, as far as was read.
    pub(super) fn has_seen(&self, name: &str) -> bool {
        self.seen.iter().any(|event| event["event"] == name)
    }

    pub(super) async fn subscribe(&mut self, channel: &str, data: Value) -> Value {
        self.tell(json!({"do": "subscribe", "channel": channel, "data": data})).await;
        self.event("subscribed").await
    }

    /// What a call gives: a result, or the code of an error.
    pub(super) async fn call(&mut self, action: &str, channel: &str, more: Value) -> Result<Value, Value> {
        let mut command = more;
        (command["do"], command["channel"]) = (json!(action), json!(channel));
        self.tell(command).await;
        let answer = self.event("answer").await;
        match answer.get("error") {
            Some(code) => Err(code.clone()),
            None => Ok(answer["result"].clone()),
        }
    }
}
