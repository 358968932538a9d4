//! The log, the stores and the accounts.

use std::{path::PathBuf, time::Duration};

use super::super::kind::{
    Flag, List, Number, OneOf, Optional, Password, Url, address, choice, hours, milliseconds, path, topic_prefix, words,
};
use super::super::reader::{Fallback::Fixed, Fallback::OfMode, Reload::Actors, section};
use super::super::value::{HostPort, Scheme, Secret, ServiceUrl};
use super::Backend;

const REDIS: &[Scheme] = &[("redis", 6379), ("rediss", 6379)];
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

choice! {
    /// How a password is shown to Kafka.
    SaslMechanism {
        /// Not at all.
        None = "none",
        /// As it is.
        Plain = "PLAIN",
        /// By a proof that one knows it, on both sides.
        ScramSha256 = "SCRAM-SHA-256",
        /// The same with a longer hash.
        ScramSha512 = "SCRAM-SHA-512",
    }
}

section! {
    /// The log of records: topics `coordX`, `coordY` and `coord.dlq`, the dead letters.
    Kafka = "kafka" {
        /// Files of the data directory, or the servers at `kafka.brokers`.
        backend: Backend = "backend", OneOf::new(), OfMode;
        /// Servers to ask for all others.
        brokers: Vec<HostPort> = "brokers", List { of: address(), count_max: 64 }, Fixed("127.0.0.1:9092");
        /// Whether the servers are reached by TLS: with a `sasl_mechanism`, what Kafka's clients call `security.protocol` SASL_SSL, else
        /// SSL. The servers' certificates are verified, and their names as `brokers` and Kafka's `advertised.listeners` have them.
        tls: bool = "tls", Flag, Fixed("false");
        /// PEM file of the authorities that may sign the servers' certificates; empty: those of the system.
        tls_ca: Option<PathBuf> = "tls_ca", Optional(path()), Fixed("");
        /// PEM file of our certificate and those between it and its authority, where the servers ask for one (`ssl.client.auth`).
        tls_certificate: Option<PathBuf> = "tls_certificate", Optional(path()), Fixed("");
        /// PEM file of its private key, without a password.
        tls_key: Option<PathBuf> = "tls_key", Optional(path()), Fixed("");
        /// How we say who we are. PLAIN sends the password as it is: use it over TLS.
        sasl_mechanism: SaslMechanism = "sasl_mechanism", OneOf::new(), Fixed("none");
        /// Needed with a mechanism.
        sasl_username: Option<String> = "sasl_username", Optional(words()), Fixed("");
        /// Needed with a mechanism.
        sasl_password: Option<Secret> = "sasl_password", Optional(Password), Fixed("");
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
        /// The server; `rediss://` is TLS, and verifies its certificate.
        url: ServiceUrl = "url", Url(REDIS), Fixed("redis://127.0.0.1:6379");
        /// For `rediss://`: PEM file of the authorities that may sign the server's certificate; empty: those of the system.
        tls_ca: Option<PathBuf> = "tls_ca", Optional(path()), Fixed("");
        /// PEM file of our certificate and those between it and its authority, where the server asks for one (`tls-auth-clients`).
        tls_certificate: Option<PathBuf> = "tls_certificate", Optional(path()), Fixed("");
        /// PEM file of its private key, without a password.
        tls_key: Option<PathBuf> = "tls_key", Optional(path()), Fixed("");
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
        /// The server; `rediss://` is TLS, and verifies its certificate.
        url: ServiceUrl = "url", Url(REDIS), Fixed("redis://127.0.0.1:6378");
        /// For `rediss://`: PEM file of the authorities that may sign the server's certificate; empty: those of the system.
        tls_ca: Option<PathBuf> = "tls_ca", Optional(path()), Fixed("");
        /// PEM file of our certificate and those between it and its authority, where the server asks for one (`tls-auth-clients`).
        tls_certificate: Option<PathBuf> = "tls_certificate", Optional(path()), Fixed("");
        /// PEM file of its private key, without a password.
        tls_key: Option<PathBuf> = "tls_key", Optional(path()), Fixed("");
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
        /// The server. `?sslmode=disable`: no TLS; `prefer`, or none: TLS where the server offers it, whoever that is; `require`, `verify-ca`
        /// and `verify-full`: TLS, and the server's certificate and name are verified.
        url: ServiceUrl = "url", Url(POSTGRES), Fixed("postgres://orinoco:orinoco@127.0.0.1:5433/orinoco");
        /// For `sslmode=require` and the two behind it: PEM file of the authorities that may sign the server's certificate; empty: those of
        /// the system.
        tls_ca: Option<PathBuf> = "tls_ca", Optional(path()), Fixed("");
        /// PEM file of our certificate and those between it and its authority, where the server asks for one (`clientcert` in `pg_hba.conf`).
        tls_certificate: Option<PathBuf> = "tls_certificate", Optional(path()), Fixed("");
        /// PEM file of its private key, without a password.
        tls_key: Option<PathBuf> = "tls_key", Optional(path()), Fixed("");
        /// Whether `orinoco serve` applies missing migrations; else it refuses to start on an older schema.
        migrate: bool = "migrate", Flag, Fixed("false");
        /// Milliseconds for a call to the server.
        call_timeout: Duration = "call_timeout_ms", milliseconds(100..=60_000), Fixed("2000");
    }
}
