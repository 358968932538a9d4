//! What listens for browsers and other clients.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::super::kind::{List, Number, Optional, Url, address, network, origin, path, seconds};
use super::super::reader::{Fallback::Fixed, Reload::Live, section};
use super::super::value::{HostPort, ServiceUrl};

section! {
    /// REST, health, metrics and the web console.
    Http = "http" {
        /// Where it listens.
        listen: HostPort = "listen", address(), Fixed("127.0.0.1:8090");
        /// The certificate by which it speaks TLS, and nothing else then: a PEM file with the server's own first, then those that lead to
        /// its authority. Read again when it changes.
        tls_certificate: Option<PathBuf> = "tls_certificate", Optional(path()), Fixed("");
        /// Its private key: a PEM file without a passphrase.
        tls_key: Option<PathBuf> = "tls_key", Optional(path()), Fixed("");
        /// How browsers and phones reach it: what a QR code points at. Where this is empty: `http://` (`https://` with
        /// `http.tls_certificate`) and `http.listen`.
        public_url: Option<ServiceUrl> = "public_url", Optional(Url(&[("http", 80), ("https", 443)])), Fixed("");
        /// Pages of other origins that may use this interface (CORS): scheme, host and port as browsers send them.
        allowed_origins: Option<Vec<String>> = "allowed_origins", Optional(List { of: origin(), count_max: 64 }), Fixed("");
        /// Networks of proxies whose `X-Forwarded-For` is believed.
        trusted_proxies: Option<Vec<IpNet>> = "trusted_proxies", Optional(List { of: network(), count_max: 64 }), Fixed("");
        /// Connections at a time; further ones wait in the kernel's queue.
        connections_max: usize = "connections_max", Number::new(1..=1_000_000), Fixed("10000");
        /// Bytes of a request's body; a longer one gets 413.
        body_bytes_max: usize = "body_bytes_max", Number::new(1024..=16_777_216), Fixed("65536");
    }
}

section! {
    /// The WebSocket listener: plain mode and the Centrifuge protocol.
    Ws = "ws" {
        /// Where it listens.
        listen: HostPort = "listen", address(), Fixed("127.0.0.1:8081");
        /// The certificate by which it speaks TLS, and nothing else then: a PEM file as for `http.tls_certificate`, which may be the same one.
        tls_certificate: Option<PathBuf> = "tls_certificate", Optional(path()), Fixed("");
        /// Its private key: a PEM file without a passphrase.
        tls_key: Option<PathBuf> = "tls_key", Optional(path()), Fixed("");
        /// How browsers reach it: where the web console connects. Where this is empty: the page's host, at the port of
        /// `ws.listen`.
        public_url: Option<ServiceUrl> = "public_url", Optional(Url(&[("ws", 80), ("wss", 443)])), Fixed("");
        /// Sockets at a time; a further one gets 503. Each needs a file descriptor.
        connections_max: usize = "connections_max", Number::new(1..=1_000_000), Fixed("100000"), Live;
        /// Bytes queued for one client. At the limit only the newest value of each device is kept, then the socket is closed
        /// with 3008.
        queue_bytes_max: usize = "queue_bytes_max", Number::new(4096..=67_108_864), Fixed("262144"), Live;
        /// Seconds between pings.
        ping_interval: Duration = "ping_interval_s", seconds(1..=3600), Fixed("25"), Live;
        /// Seconds without a sign of life after which a socket is closed.
        idle_timeout: Duration = "idle_timeout_s", seconds(2..=86_400), Fixed("60"), Live;
        /// Seconds for which a client may take nothing of what waits for it.
        stall_max: Duration = "stall_max_s", seconds(1..=3600), Fixed("10"), Live;
    }
}

section! {
    /// TLS of the listeners that have a certificate.
    Tls = "tls" {
        /// Seconds between looks whether certificates and keys have changed. New handshakes get what was read; connections that are open go on.
        reload_interval: Duration = "reload_interval_s", seconds(1..=86_400), Fixed("60");
    }
}
