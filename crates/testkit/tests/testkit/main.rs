//! The servers are real, answer their own command-line clients, can be hurt, and leave nothing behind.
#![allow(clippy::unwrap_used)]

mod daemon;
mod program;
mod servers;
mod stand_in;

use std::process::{Command, Stdio};
use std::time::Duration;

use orinoco_testkit::{poll_until, process_is_running};

const DEADLINE: Duration = Duration::from_secs(30);

/// Runs a command-line client and returns what it printed.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Polls, where the parent of that process has yet to collect it.
async fn assert_gone(pid: u32) {
    poll_until(DEADLINE, &format!("process {pid} to be gone"), async || (!process_is_running(pid)).then_some(()))
        .await
        .unwrap();
}
