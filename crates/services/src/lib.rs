//! Adapters to the services that many daemons share: Redis, Kafka, PostgreSQL, an MQTT broker.
//!
//! Each implements one port of `orinoco-ports`; the client libraries' types do not leave this crate.

mod pool;
mod redis_store;

pub use redis_store::{RedisStore, RedisStoreOptions};
