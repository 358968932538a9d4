//! Real servers and a real daemon for tests, on free ports of the loopback address and in temporary folders.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use orinoco_testkit::{Postgres, Redis, RedisKind};
//!
//! let database = Postgres::shared().await?.fresh_database().await?; // one server for many tests, a database for each
//! let redis = Redis::start(RedisKind::Ws).await?;                   // one's own server, to be hurt
//! redis.kill().await?;
//! redis.restart().await?;
//! # let _ = database; Ok(())
//! # }
//! ```
//!
//! Invariants:
//! - Nothing outlives the test process, however that ends: a handle kills its server when dropped, and a guard process
//!   kills it when the test process is gone.
//! - A missing server is an error that names `scripts/install services`. Nothing is skipped.
//! - `shared()` takes the server that `make test` started (`ORINOCO_TEST_*` in the environment) or starts one for the
//!   test process; tests that share a server keep apart by [`unique_name`] or a fresh database.

mod daemon;
mod http;
mod kafka;
mod mosquitto;
mod poll;
mod port;
mod postgres;
mod process;
mod program;
mod redis;
mod server;
pub mod simulation;
mod tls;
mod usage;

pub use daemon::{Daemon, DaemonConfig};
pub use http::HttpResponse;
pub use kafka::{Kafka, KafkaAddress, KafkaListener};
pub use mosquitto::{Mosquitto, MosquittoAddress};
pub use poll::poll_until;
pub use port::free_port;
pub use postgres::{Database, Postgres, PostgresAddress};
pub use program::Program;
pub use redis::{Redis, RedisAddress, RedisDatabase, RedisKind};
pub use server::{Address, Server};
pub use tls::ServerTls;
pub use usage::{ProcessUsage, process_is_running};

/// A name that no other test has: `{prefix}-{random}`, of letters, digits and hyphens (valid as a topic, a key prefix or
/// a device).
pub fn unique_name(prefix: &str) -> String {
    format!("{prefix}-{:016x}", fastrand::u64(..))
}
