//! The control socket: how a command talks to the daemon that runs on the same data directory.
//!
//! `<data_dir>/control.sock`, mode 0600. Lines of JSON: a request, then its answer.
//!
//! | request | answer |
//! |---|---|
//! | `{"command":"tree"}` | `{"snapshot":{...}}`, as `orinoco_supervision::Snapshot` |
//! | `{"command":"reload"}` | `{"reload":{"outcome":"applied","lines":[...],...}}`, as `orinoco::reload::Outcome` |
//! | `{"command":"kill","path":"root/..."}` | `{"killed":"root/..."}`; only where supervision.toml says `[chaos] allow_kill = true` |
//! | `{"command":"end_logins","userId":1,"reason":"disabled"}` | `{"ended":2}`; reasons are those of `EndReason` |
//! | `{"command":"strike","target":"root/...","point":"...",...}` | `{"struck":{...}}`; only in a build with the feature `faults` |
//! | any other | `{"error":"..."}` |
//!
//! Invariants: a line has at most [`LINE_BYTES_MAX`] bytes, at most [`CONNECTIONS_MAX`] connections are served at a time (a further one is
//! told so and closed), and every wait has an end.

mod client;
mod connection;
mod kill;
mod logins;
mod server;
mod socket;
#[cfg(feature = "faults")]
mod strike;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use client::{Client, ControlError};
pub(crate) use kill::{KillError, kill};
pub use logins::{EndLoginsError, LoginEnder};
pub use server::{ControlServer, TreeSlot};

/// Bytes of a request, its newline included.
pub const LINE_BYTES_MAX: usize = 4096;
/// Bytes of an answer that the client takes: a snapshot of a large tree.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
pub const CONNECTIONS_MAX: usize = 8;
/// How long a connection may say nothing, and how long an answer may take to be read.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// For the login store, within what a client waits for an answer.
const END_LOGINS_MAX: Duration = Duration::from_secs(5);
