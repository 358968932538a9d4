//! The log, the stores and the accounts.

use std::time::Duration;

use super::super::kind::{
    Flag, List, Number, OneOf, Optional, Url, address, choice, hours, milliseconds, topic_prefix,
};
use super::super::reader::{Fallback::Fixed, Fallback::OfMode, Reload::Actors, section};
use super::super::value::{HostPort, Scheme, ServiceUrl};
use super::Backend;

const REDIS: &[Scheme] = &[("redis", 6379)];
const POSTGRES: &[Scheme] = &[("postgres", 5432), ("postgresql", 5432)];

choice! {
    /// What happens when the log does not hold the records any more that are next.
    OnDataLoss {
        /// An alarm, then on with the earliest that are left.
        Earliest = "earliest",
        /// An alarm, and the partition stands still until somebody has looked.
        Halt = "halt",
    }
}

section! {
    /// The log of records: topics `coordX`, `coordY` and `coord.dlq`, the dead letters.
    Kafka = "kafka" {
        /// Files of the data directory, or the servers at `kafka.brokers`.
        backend: Backend = "backend", OneOf::new(), OfMode;
        /// Servers to ask for all others.
        brokers: Vec<HostPort> = "brokers", List { of: address(), count_max: 64 }, Fixed("127.0.0.1:9092");
        /// Before the names of all three topics: installations that share a cluster each have their own, such as `staging.`.
        topic_prefix: Option<String> = "topic_prefix", Optional(topic_prefix()), Fixed("");
        /// Partitions of `coordX` and of `coordY` where they are made; topics that exist keep theirs. Of the embedded log too.
        partitions: u32 = "partitions", Number::new(1..=1024), Fixed("4");
        /// Replicas of topics that are made.
        replication_factor: u16 = "replication_factor", Number::new(1..=16), Fixed("1");
        /// Whether missing topics are made.
        create_topics: bool = "create_topics", Flag, Fixed("true");
        /// What happens when records that were next are gone: `earliest` goes on with the first ones left, `halt` waits for
        /// somebody to look. Either raises an alarm.
        on_data_loss: OnDataLoss = "on_data_loss", OneOf::new(), Fixed("earliest"), Actors(&["KafkaConsumer"]);
        /// Milliseconds for a call to the servers.
        call_timeout: Duration = "call_timeout_ms", milliseconds(100..=60_000), Fixed("5000");
    }
}

section! {
    /// The embedded log, used where `kafka.backend` is `embedded`.
    Log = "log" {
        /// Bytes kept a partition; older ones are deleted.
        retention_bytes: u64 = "retention_bytes", Number::new(1_048_576..=1_099_511_627_776), Fixed("268435456");
        /// Hours that records are kept.
        retention: Duration = "retention_h", hours(1..=87_600), Fixed("168");
    }
}

section! {
    /// Coordinates: latest values, history, publication.
    RedisWs = "redis_ws" {
        /// A file of the data directory, or the server at `redis_ws.url`.
        backend: Backend = "backend", OneOf::new(), OfMode;
        /// The server.
        url: ServiceUrl = "url", Url(REDIS), Fixed("redis://127.0.0.1:6379");
        /// Connections at a time; further calls wait for one, within `call_timeout_ms`.
        pool_max: u32 = "pool_max", Number::new(1..=256), Fixed("16");
        /// Milliseconds for a call to the server.
        call_timeout: Duration = "call_timeout_ms", milliseconds(100..=60_000), Fixed("2000");
    }
}

section! {
    /// QR challenges and refresh tokens.
    RedisQr = "redis_qr" {
        /// A file of the data directory, or the server at `redis_qr.url`.
        backend: Backend = "backend", OneOf::new(), OfMode;
        /// The server.
        url: ServiceUrl = "url", Url(REDIS), Fixed("redis://127.0.0.1:6378");
        /// Connections at a time; further calls wait for one, within `call_timeout_ms`.
        pool_max: u32 = "pool_max", Number::new(1..=256), Fixed("16");
        /// Milliseconds for a call to the server.
        call_timeout: Duration = "call_timeout_ms", milliseconds(100..=60_000), Fixed("2000");
    }
}

section! {
    /// Accounts, and the leases by which daemons share the work.
    Postgres = "postgres" {
        /// A file of the data directory, or the server at `postgres.url`.
        backend: Backend = "backend", OneOf::new(), OfMode;
        /// The server.
        url: ServiceUrl = "url", Url(POSTGRES), Fixed("postgres://orinoco:orinoco@127.0.0.1:5433/orinoco");
        /// Whether `orinoco serve` applies missing migrations; else it refuses to start on an older schema.
        migrate: bool = "migrate", Flag, Fixed("false");
        /// Milliseconds for a call to the server.
        call_timeout: Duration = "call_timeout_ms", milliseconds(100..=60_000), Fixed("2000");
    }
}
