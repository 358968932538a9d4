#![allow(clippy::unwrap_used)]
//! What outlives kill -9, and what a full disk does: with real processes, a real SIGKILL and a real limit of the kernel.
//!
//! A test starts this same binary again with a role in the environment; `child` then plays it, and tells by lines `ack N` what was
//! acknowledged to it.

#[path = "crash/beside.rs"]
mod beside;
#[path = "crash/full_disk.rs"]
mod full_disk;
#[path = "crash/kill.rs"]
mod kill;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const ROLE: &str = "ORINOCO_CRASH_ROLE";
const DIRECTORY: &str = "ORINOCO_CRASH_DIRECTORY";

/// Not a test of its own: what the started processes run.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let directory = PathBuf::from(std::env::var(DIRECTORY).unwrap());
    match role.as_str() {
        "kill journal" => kill::journal::child(&directory),
        "kill log" => kill::log::child(&directory),
        "kill login" => kill::login::child(&directory),
        "kill store" => kill::store::child(&directory),
        "beside accounts" => beside::child(&directory),
        "full disk journal" => full_disk::journal_child(&directory),
        "full disk log" => full_disk::log_child(&directory),
        "full disk login" => full_disk::login_child(&directory),
        "full disk store" => full_disk::store_child(&directory),
        other => panic!("no role {other:?}"),
    }
}

fn command(program: &Path, role: &str, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.env(ROLE, role).env(DIRECTORY, directory).stdin(Stdio::null());
    command
}

const CHILD_ARGUMENTS: [&str; 4] = ["--exact", "child", "--nocapture", "--test-threads=1"];

fn acknowledge(number: u64) {
    println!("ack {number}");
}

/// Starts the role, kills it once it has told of `acks` more, and returns the last number that it told of.
fn run_until_killed(role: &str, directory: &Path, acks: usize) -> u64 {
    let mut command = command(&std::env::current_exe().unwrap(), role, directory);
    let mut child = Killed(command.args(CHILD_ARGUMENTS).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap());
    let mut last = None;
    let mut heard = 0;
    let mut line = String::new();
    while heard < acks {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "{role} ended by itself");
        if let Some(number) = acknowledged(&line) {
            last = Some(number);
            heard += 1;
        }
    }
    child.0.kill().unwrap();
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    // A line that was cut off told of nothing.
    let whole = rest.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().filter_map(acknowledged).next_back().or(last).unwrap()
}

fn acknowledged(line: &str) -> Option<u64> {
    // The harness's own words may stand in front.
    line.rsplit_once("ack ")?.1.trim().parse().ok()
}

/// Ends the process however the test ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
