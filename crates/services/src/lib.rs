//! Adapters to the services that many daemons share: Redis, Kafka, PostgreSQL, an MQTT broker.
//!
//! Each implements one port of `orinoco-ports`; the client libraries' types do not leave this crate.

mod kafka_log;
mod mqtt;
mod pool;
mod postgres;
mod redis_login;
mod redis_server;
mod redis_store;

pub use kafka_log::{KafkaLog, KafkaLogOptions};
pub use mqtt::{PahoSource, PahoSourceOptions};
pub use postgres::{
    PostgresAccounts, PostgresAccountsOptions, PostgresLeases, PostgresLeasesOptions, SchemaError, check_schema,
    migrate, schema_version, schema_version_needed,
};
pub use redis_login::{RedisLoginStore, RedisLoginStoreOptions};
pub use redis_store::{RedisStore, RedisStoreOptions};
