//! Tier 1 of the tests of faults: whole daemons on models of their backends, on paused time and one thread, by seeds.
//!
//! `make simulate` runs any number of seeds, `ORINOCO_SIM_SEED=7` one of them with its trace, and `ORINOCO_SIM_PLAN='{...}'` a plan
//! as a failure prints it. See docs/reliability.md.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod campaign;
mod check;
mod daemon;
mod entropy;
mod injector;
mod keeper;
mod logins;
mod memory;
mod restarts;
mod services;
#[expect(dead_code, reason = "shared with the tests of the cast")]
#[path = "../cast/sockets.rs"]
mod sockets;
mod strategy;
#[path = "../cast/stream.rs"]
mod stream;
mod tests;
mod watchers;
mod workload;
mod world;
