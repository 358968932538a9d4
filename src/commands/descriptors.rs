//! How many files and sockets this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Backend, Config};

/// What the daemon needs beyond clients: its files, its links to backends.
const OWN: u64 = 256;

/// How many descriptors a daemon of this configuration may come to need.
#[must_use]
pub fn needed(config: &Config) -> u64 {
    // One that comes by TLS is carried on to the broker over two more.
    let of_device = if config.mqtt.tls_listen.is_some() { 3 } else { 1 };
    let devices = if config.mqtt.backend == Backend::Embedded { config.mqtt.sessions_max * of_device } else { 0 };
    let clients = config.ws.connections_max + config.http.connections_max + devices;
    OWN + u64::try_from(clients).unwrap_or(u64::MAX - OWN)
}

/// The most that this process may raise its limit to: `ulimit -Hn`.
#[must_use]
pub fn limit_max() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Raises the limit as far as the system lets this process; returns what it is then. The usual 1024 would be full with a thousand
/// sockets.
pub fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    // Where the system refuses, what it was holds on.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
