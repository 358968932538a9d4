//! For deterministic simulations: plans of faults as data, and the backends' models behind ways that can be cut.
//!
//! ```text
//! Plan (workload, schedule, faults) --> the simulation --> Trace (hash, last lines, violations)
//! actor --> Remote (Link: latency, cut, stalled, answers lost) --> Watched --> Mutated --> model
//! ingest --> Watched --> JournalOnDisk (Disk: full, broken, unsynced, slow) --> model
//! ```
//!
//! Invariant: everything random here comes from a plan's seeds, and nothing waits for real time: one plan, one trace.

mod broker;
mod disk;
mod link;
mod logins;
mod mutated;
mod plan;
mod remote;
mod remote_login;
mod trace;
mod watched;

pub use broker::SimulatedBroker;
pub use disk::{Disk, JournalOnDisk};
pub use link::Link;
pub use logins::LoginServer;
pub use mutated::{MutatedSource, MutatedStore};
pub use plan::{Backend, DiskTrouble, Mode, Mutation, Plan, PlannedFault, Schedule, What, When, Workload};
pub use remote::Remote;
pub use trace::{Trace, Violation};
pub use watched::{WatchedJournal, WatchedLog, WatchedStore};
