//! The way in: MQTT and the journal.

use std::path::PathBuf;
use std::time::Duration;

use super::super::kind::{
    Flag, FlagOr, List, Number, OneOf, Optional, Password, Url, address, choice, path, seconds, topic_filter, words,
};
use super::super::reader::{Fallback::Fixed, Fallback::OfMode, section};
use super::super::value::{HostPort, Secret, ServiceUrl};
use super::Backend;

choice! {
    /// From where clients without credentials may connect.
    Anonymous {
        /// From the machine of the daemon.
        Loopback = "loopback",
        /// From anywhere.
        Everywhere = "true",
        /// Only devices with credentials connect.
        Nowhere = "false",
    }
}

section! {
    /// Where devices' messages come from.
    Mqtt = "mqtt" {
        /// The broker inside this process, or the one at `mqtt.url`.
        backend: Backend = "backend", OneOf::new(), OfMode;
        /// Where the embedded broker listens. May be empty where `mqtt.tls_listen` is set.
        listen: Option<HostPort> = "listen", Optional(address()), Fixed("127.0.0.1:3123");
        /// Where the embedded broker listens for TLS (usually port 8883), beside `mqtt.listen`. Where this is empty: nowhere.
        tls_listen: Option<HostPort> = "tls_listen", Optional(address()), Fixed("");
        /// The certificate of `mqtt.tls_listen`: a PEM file as for `http.tls_certificate`, which may be the same one.
        tls_certificate: Option<PathBuf> = "tls_certificate", Optional(path()), Fixed("");
        /// Its private key: a PEM file without a passphrase.
        tls_key: Option<PathBuf> = "tls_key", Optional(path()), Fixed("");
        /// The broker of the backend `service`, and of `orinoco simulate`. Where this is empty: the embedded broker where
        /// that is used, else `mqtt://127.0.0.1:3123`. `mqtts://` is TLS, and verifies the broker's certificate.
        url: Option<ServiceUrl> = "url", Optional(Url(&[("mqtt", 1883), ("tcp", 1883), ("mqtts", 8883)])), Fixed("");
        /// For `mqtts://`: the PEM file of the authorities that may sign the broker's certificate; empty: those of the system.
        tls_ca: Option<PathBuf> = "tls_ca", Optional(path()), Fixed("");
        /// For `mqtts://`: the PEM file of our certificate and those between it and its authority, where the broker asks for one.
        tls_client_certificate: Option<PathBuf> = "tls_client_certificate", Optional(path()), Fixed("");
        /// The PEM file of its private key, without a password.
        tls_client_key: Option<PathBuf> = "tls_client_key", Optional(path()), Fixed("");
        /// Our name at the broker of the backend `service`. Daemons that share the broker share it too: it is the session that
        /// the next owner takes over.
        client_id: String = "client_id", words(), Fixed("orinoco-ingest");
        /// For the backend `service`.
        username: Option<String> = "username", Optional(words()), Fixed("");
        /// For the backend `service`.
        password: Option<Secret> = "password", Optional(Password), Fixed("");
        /// The topics of coordinates. The embedded broker takes every topic, the backend `service` subscribes to these.
        filters: Vec<String> = "filters", List { of: topic_filter(), count_max: 64 },
            Fixed("coordX,coordY,devices/+/coordX,devices/+/coordY");
        /// Whether the backend `service` subscribes to what stands beside the device's level too (`devices/#` for
        /// `devices/+/coordX`): what no filter names becomes a dead letter then, as with the embedded broker.
        stray_topics: bool = "stray_topics", Flag, Fixed("true");
        /// From where the embedded broker takes clients without credentials: from this machine, from everywhere (true), or from nowhere
        /// (false).
        anonymous: Anonymous = "anonymous", FlagOr::new(), Fixed("loopback");
        /// Bytes of an MQTT packet with its fixed header; the embedded broker closes the connection of a longer one.
        packet_size_max: u32 = "packet_size_max", Number::new(128..=524_288), Fixed("262144");
        /// Clients of the embedded broker at a time.
        sessions_max: usize = "sessions_max", Number::new(1..=1_000_000), Fixed("10000");
        /// Messages in flight without PUBACK a connection.
        receive_max: u16 = "receive_max", Number::new(1..=65_535), Fixed("1000");
        /// Seconds between signs of life on the link to the broker of the backend `service`. One that hangs is noticed after two of them,
        /// or two and a half.
        keep_alive: Duration = "keep_alive_s", seconds(5..=3600), Fixed("10");
        /// Seconds for which the broker of the backend `service` keeps our session, and so the devices' messages, while no
        /// daemon is connected.
        session_expiry: Duration = "session_expiry_s", seconds(60..=31_536_000), Fixed("86400");
    }
}

choice! {
    /// What the journal survives.
    JournalMode {
        /// The end of the process, kill -9 too.
        Process = "process",
        /// A power cut: fsync before each PUBACK.
        Power = "power",
    }
}

section! {
    /// Messages that were acknowledged to devices and not yet by Kafka, in files of the data directory.
    Journal = "journal" {
        /// What it survives: `process` the end of the process, `power` a power cut as well (fsync before each PUBACK).
        mode: JournalMode = "mode", OneOf::new(), Fixed("process");
        /// Bytes on disk. At the limit devices get no PUBACK until there is room; nothing is dropped.
        bytes_max: u64 = "bytes_max", Number::new(1_048_576..=1_099_511_627_776), Fixed("1073741824");
    }
}
