//! Free ports.

use std::net::TcpListener;
use std::sync::Mutex;

use anyhow::Context;

/// Below the range from which Linux takes the ports of outgoing connections (32768 and up), so that no connection takes
/// the port between choosing and binding, or while its server is down.
const RANGE: std::ops::Range<u16> = 20_000..32_000;
const TRIES_MAX: usize = 1_000;

static NEXT: Mutex<Option<u16>> = Mutex::new(None);

/// A TCP port of the loopback address that nobody listens on and that this process has not handed out lately.
///
/// # Errors
/// None was found.
pub fn free_port() -> anyhow::Result<u16> {
    let mut next = NEXT.lock().map_err(|_| anyhow::anyhow!("a test panicked while choosing a port"))?;
    // A random start keeps test processes that run side by side apart.
    let mut candidate = next.unwrap_or_else(|| fastrand::u16(RANGE));
    for _ in 0..TRIES_MAX {
        let port = candidate;
        candidate = if port + 1 < RANGE.end { port + 1 } else { RANGE.start };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            *next = Some(candidate);
            return Ok(port);
        }
    }
    None.context("no free port between 20000 and 32000")
}
