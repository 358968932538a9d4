//! Binds the port and gives rmqtt its limits.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use orinoco_ports::ServerError;
use rmqtt::net::{Builder, Listener};
use tokio::net::{TcpSocket, lookup_host};

use super::options::BrokerOptions;

/// Connections the kernel holds for us while we are busy; it has its own limit as well (net.core.somaxconn).
pub(super) const BACKLOG_MAX: i32 = 4_096;
/// Handshakes under way at a time; others wait. Few, since rmqtt's queue of them has no end: 400 bytes for each stay with every start.
const HANDSHAKES_MAX: usize = 128;

/// Where rmqtt takes what came by TLS; the system chooses the port.
const INNER: &str = "127.0.0.1:0";

/// Binds `mqtt.listen`; returns the listener and its address.
pub(super) async fn bind(options: &BrokerOptions) -> Result<(Listener, SocketAddr), ServerError> {
    bind_at(options, "mqtt.listen", &options.listen).await
}

/// Binds the inner port (see `carried`). Its number is another one than that of `other`, as rmqtt knows listeners by their ports.
pub(super) async fn bind_inner(
    options: &BrokerOptions,
    other: Option<SocketAddr>,
) -> Result<(Listener, SocketAddr), ServerError> {
    loop {
        let bound = bind_at(options, super::encrypted::KEY, INNER).await?;
        if other.is_none_or(|other| other.port() != bound.1.port()) {
            return Ok(bound);
        }
    }
}

async fn bind_at(
    options: &BrokerOptions,
    key: &'static str,
    listen: &str,
) -> Result<(Listener, SocketAddr), ServerError> {
    let failed = |source| ServerError::Bind { key, address: listen.to_owned(), source };
    let wanted = resolve(listen).await.map_err(failed)?;
    // rmqtt identifies a listener by its configured port, so a free one is reserved here and given to it. Bound and never
    // listening, with SO_REUSEADDR, the reservation does not stand in rmqtt's way; a listening socket would, as it should.
    let reserved = reserve(wanted).map_err(failed)?;
    let address = reserved.local_addr().map_err(failed)?;
    let listener = builder(options, address).bind().and_then(Listener::tcp).map_err(|error| failed(io_error(error)))?;
    Ok((listener, address))
}

pub(super) async fn resolve(listen: &str) -> io::Result<SocketAddr> {
    lookup_host(listen).await?.next().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
}

pub(super) fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn io_error(error: rmqtt::Error) -> io::Error {
    error.downcast::<io::Error>().unwrap_or_else(io::Error::other)
}

fn builder(options: &BrokerOptions, address: SocketAddr) -> Builder {
    Builder::new()
        .name("orinoco")
        .laddr(address)
        .reuseaddr(Some(true))
        .nodelay(true)
        .backlog(BACKLOG_MAX)
        // The number of connections is bounded by the sessions; this one bounds what waits for a handshake.
        .max_connections(options.sessions_max)
        .max_handshaking_limit(HANDSHAKES_MAX)
        .handshake_timeout(options.handshake_timeout)
        .send_timeout(options.send_timeout)
        // Else rmqtt lets clients without a user name in by itself.
        .allow_anonymous(false)
        .max_packet_size(remaining_length_max(options.packet_size_max))
        .max_clientid_len(options.client_id_size_max)
        .max_topic_levels(options.topic_levels_max)
        .max_subscriptions(options.subscriptions_max)
        .max_inflight(NonZeroU16::new(options.inflight_max).unwrap_or(NonZeroU16::MIN))
        .max_mqueue_len(options.queue_messages_max)
        .session_expiry_interval(options.session_expiry_max)
        // Zero would mean "as long as the client wants".
        .max_session_expiry_interval(options.session_expiry_max.max(Duration::from_nanos(1)))
        // Zero: a message that does not say never expires, a retained one neither.
        .message_expiry_interval(Duration::ZERO)
        // Zero: repeated on the next connection only (MQTT 5.0, section 4.4).
        .message_retry_interval(Duration::ZERO)
}

/// The longest remaining length of a packet of `packet_size_max` bytes in all. MQTT 5.0, section 3.1.2.11.4, counts a packet with its
/// fixed header (a byte, and one to four for the length); rmqtt compares the remaining length alone. It also announces it as Maximum
/// Packet Size, which is then up to five bytes less than what is taken.
fn remaining_length_max(packet_size_max: u32) -> u32 {
    let with_length_of = |bytes: u32| packet_size_max.saturating_sub(1 + bytes).min((1 << (7 * bytes)) - 1);
    // Zero would mean no limit.
    (1..=4).map(with_length_of).max().unwrap_or_default().max(1)
}

#[cfg(test)]
mod tests {
    use super::remaining_length_max;

    #[test]
    fn a_whole_packet_counts_with_its_fixed_header() {
        for (packet_size_max, remaining_max) in [
            (2, 1),
            (129, 127),
            (130, 127), // 128 would take two bytes, and 131 in all
            (131, 128),
            (2_000, 1_997),
            (16_386, 16_383),
            (16_387, 16_383),
            (16_388, 16_384),
            (262_144, 262_140),
            (u32::MAX, (1 << 28) - 1),
        ] {
            assert_eq!(remaining_length_max(packet_size_max), remaining_max, "{packet_size_max}");
        }
    }
}
