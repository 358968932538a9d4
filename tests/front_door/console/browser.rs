//! A scenario in Chromium: a process that says what it has reached, and waits where the test has to do something.

use std::{path::Path, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::support::World;

/// Chromium starts, loads and draws by software; the scenarios themselves give up after a minute without progress.
const STEP_MAX: Duration = Duration::from_secs(120);
/// Of a scenario that goes over all pages.
const LONG_STEP_MAX: Duration = Duration::from_secs(600);

/// Browsers at a time: each wants a core for itself.
static BROWSERS: Semaphore = Semaphore::const_new(2);

pub(super) struct Scenario {
    name: &'static str,
    process: Option<Running>,
    options: Value,
}

struct Running {
    // Killed when it is dropped.
    process: Child,
    commands: ChildStdin,
    events: Lines<BufReader<ChildStdout>>,
    _place: SemaphorePermit<'static>,
}

impl Scenario {
    /// `options` of the scenario, beyond where the daemon is and where pictures go.
    pub(super) fn start(world: &World, name: &'static str, mut options: Value) -> Self {
        let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../console");
        options["base"] = json!(format!("http://{}", world.daemon.http_address()));
        options["pictures"] = json!(pictures);
        Self { name, process: None, options }
    }

    /// With the first wait for it, when there is a place for a browser.
    async fn running(&mut self) -> &mut Running {
        if self.process.is_none() {
            let place = BROWSERS.acquire().await.unwrap();
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            let mut command = Command::new("node");
            command.arg(root.join("tests/clients/console.mjs")).arg(root.join(".stack/clients"));
            command.arg(self.name).arg(self.options.to_string());
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
            let process = command.spawn();
            let mut process = process.unwrap_or_else(|error| panic!("node: {error}; scripts/install test installs it"));
            let commands = process.stdin.take().unwrap();
            let events = BufReader::new(process.stdout.take().unwrap()).lines();
            self.process = Some(Running { process, commands, events, _place: place });
        }
        self.process.as_mut().unwrap()
    }

    /// What it reaches next, which must be this.
    pub(super) async fn event(&mut self, name: &str) -> Value {
        self.next(name, STEP_MAX).await
    }

    /// The same, of a scenario that says nothing until then.
    pub(super) async fn last_event(&mut self, name: &str) -> Value {
        self.next(name, LONG_STEP_MAX).await
    }

    async fn next(&mut self, name: &str, step_max: Duration) -> Value {
        let scenario = self.name;
        let running = self.running().await;
        let line = timeout(step_max, running.events.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("{scenario}: waited {step_max:?} in vain for {name}"));
        let line = line.unwrap().unwrap_or_else(|| panic!("{scenario} ended before {name}; its error is above"));
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["event"], name, "{scenario}");
        event
    }

    /// Lets it go on.
    pub(super) async fn go_on(&mut self) {
        self.running().await.commands.write_all(b"\n").await.unwrap();
    }

    /// To its end, which must be a good one.
    pub(super) async fn end(mut self) {
        self.event("done").await;
        let running = self.running().await;
        assert!(timeout(STEP_MAX, running.process.wait()).await.unwrap().unwrap().success());
    }
}
