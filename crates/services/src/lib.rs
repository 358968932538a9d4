//! Adapters to the services that many daemons share: Redis, Kafka, PostgreSQL, an MQTT broker, a collector of traces.
//!
//! Each implements one port of `orinoco-ports`; the client libraries' types do not leave this crate (but for [`paho_ssl_options`], as commands
//! are paho's clients themselves).

mod kafka_log;
mod mqtt;
mod otlp;
mod pool;
mod postgres;
mod redis_login;
mod redis_server;
mod redis_store;
mod tls;

pub use kafka_log::{KafkaLog, KafkaLogOptions, KafkaSasl, SaslMechanism};
pub use mqtt::{PahoSource, PahoSourceOptions, diagnose_mqtts, is_mqtts, paho_ssl_options};
pub use otlp::{OtlpExporter, OtlpOptions};
pub use postgres::{
    PostgresAccess, PostgresAccounts, PostgresAccountsOptions, PostgresLeases, PostgresLeasesOptions, SchemaError,
    SslMode, check_schema, migrate, schema_version, schema_version_needed,
};
pub use redis_login::{RedisLoginStore, RedisLoginStoreOptions};
pub use redis_store::{RedisStore, RedisStoreOptions};
pub use tls::{TlsFileError, TlsIdentity, TlsKeys, TlsOptions};
