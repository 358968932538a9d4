//! Adapters inside one process, on one data directory: nothing else to install or start.
//!
//! - [`accounts`]: accounts, device credentials, the audit log
//! - [`backup`]: a copy of all of it in one file, and back
//! - [`broker`]: the MQTT broker inside the process
//! - [`data_dir`]: the directory, and the lock on it
//! - [`journal`]: what was acknowledged to devices and not yet by the log
//! - [`leases`]: who owns what, where there is one owner
//! - [`log`]: records of both axes, and dead letters
//! - [`login`]: challenges and logins
//! - [`store`]: latest values, history, publication
//!
//! What is written survives kill -9. A power cut may take the last moments (in mode `power` nothing that was acknowledged), never the
//! consistency; each room's docs say how.

pub mod accounts;
pub mod backup;
pub mod broker;
mod codec;
pub mod data_dir;
mod files;
pub mod journal;
pub mod leases;
pub mod log;
pub mod login;
mod power;
mod segment;
mod sqlite;
pub mod store;
