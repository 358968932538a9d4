//! OTP-style supervision for [ractor](https://docs.rs/ractor): the tree is a file, the actors are a catalog.
//!
//! ```text
//! supervision.toml --Plan::parse--> Plan --+
//!                                          +--Tree::start--> Tree --inspect, kill, shutdown, wait
//! program ------------------------> Catalog+
//! ```
//!
//! Supervisors and workers are ractor actors. This crate adds what ractor leaves out: strategies, restart intensity
//! with escalation, backoff, ordered start and stop, bounded mailboxes, addresses that survive restarts, a watchdog,
//! pools with lifetimes, inspection. See the README for the vocabulary and an example.
//!
//! Invariants:
//! 1. The running tree equals the file: unknown names are refused on both sides.
//! 2. No handler of a supervisor waits; delays are timers, starts are tasks.
//! 3. Every mailbox has a bound and a policy at the bound; a message that was refused comes back to its sender.
//! 4. A successor starts after its predecessor's state is dropped.
//! 5. Memory is bounded by what lives, not by what has lived.

mod actor;
mod address;
mod alarm;
mod builder;
mod catalog;
mod cell;
mod chaos;
mod context;
mod delay;
pub mod fault;
mod histogram;
mod inspect;
mod mailbox;
mod node;
pub mod plan;
mod pool;
mod reload;
mod shell;
mod supervisor;
mod sync;
mod tree;
mod watchdog;

pub use actor::{Actor, Failure, Message};
pub use address::{Address, CallError, Group, Reply, SendError};
pub use alarm::Alarm;
pub use catalog::Catalog;
pub use context::{Context, Task, Timer};
pub use histogram::Quantiles;
pub use inspect::{
    CurrentSnapshot, FailureSnapshot, MailboxSnapshot, NodeKind, NodeSnapshot, PoolChildSnapshot, PoolSnapshot,
    Snapshot, Status, TimingSnapshot,
};
pub use plan::{Diff, Plan, PlanError};
pub use pool::{ChildStart, Key, Pool, StartChildError};
pub use tree::{Exit, NotFound, ReloadError, Tree, TreeError};
