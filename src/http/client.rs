//! Who asks: the address, as far as it can be believed, and what the client calls itself.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header::USER_AGENT};
use ipnet::IpNet;
use orinoco_domain::ClientInfo;

use crate::auth::Caller;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Hops that are looked at.
const HOPS_MAX: usize = 16;

/// The other end of a connection; put into each request by the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The caller of a request that came from `peer`.
pub(crate) fn caller(peer: IpAddr, headers: &HeaderMap, trusted_proxies: &[IpNet]) -> Caller {
    let address = address(peer, headers, trusted_proxies);
    let user_agent = headers.get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    Caller { address, client: ClientInfo::new(&address.to_string(), user_agent.as_deref().unwrap_or_default()) }
}

/// The last address in `X-Forwarded-For` that no trusted proxy has: what stands before it may be made up by the client.
fn address(peer: IpAddr, headers: &HeaderMap, trusted_proxies: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    let trusted = |address: IpAddr| trusted_proxies.iter().any(|network| network.contains(&address));
    let values = headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let listed: Vec<&str> = values.flat_map(|value| value.split(',')).collect();
    let mut believed = peer;
    for hop in listed.into_iter().rev().take(HOPS_MAX) {
        if !trusted(believed) {
            break;
        }
        let Some(address) = parse(hop.trim()) else { break };
        believed = address;
    }
    believed
}

/// An address, with or without a port.
fn parse(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(|| with_port().ok()).or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn seen(peer: &str, forwarded: &[&str], proxies: &[&str]) -> String {
        let headers = forwarded.iter().map(|value| (X_FORWARDED_FOR, value.parse().unwrap())).collect();
        let proxies: Vec<IpNet> = proxies.iter().map(|network| network.parse().unwrap()).collect();
        address(peer.parse().unwrap(), &headers, &proxies).to_string()
    }

    #[test]
    fn a_forwarded_address_counts_only_from_a_trusted_proxy() {
        assert_eq!(seen("192.0.2.1", &["203.0.113.7"], &[]), "192.0.2.1");
        assert_eq!(seen("192.0.2.1", &["203.0.113.7"], &["10.0.0.0/8"]), "192.0.2.1");
        assert_eq!(seen("10.0.0.1", &["203.0.113.7"], &["10.0.0.0/8"]), "203.0.113.7");
        assert_eq!(seen("::ffff:10.0.0.1", &["[2001:db8::1]:80"], &["10.0.0.0/8"]), "2001:db8::1");
    }

    #[test]
    fn what_a_client_made_up_before_the_proxy_is_not_believed() {
        let proxies = ["10.0.0.0/8"];
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, 203.0.113.7"], &proxies), "203.0.113.7");
        assert_eq!(seen("10.0.0.1", &["1.1.1.1", "203.0.113.7, 10.0.0.2"], &proxies), "203.0.113.7");
        assert_eq!(seen("10.0.0.1", &["203.0.113.7, nonsense"], &proxies), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[], &proxies), "10.0.0.1");
    }

    #[test]
    fn a_user_agent_is_bounded_and_printable() {
        let headers = HeaderMap::from_iter([(USER_AGENT, "x".repeat(999).parse().unwrap())]);
        let caller = caller("192.0.2.1".parse().unwrap(), &headers, &[]);
        assert_eq!(caller.client.user_agent().len(), ClientInfo::USER_AGENT_LENGTH_MAX);
        assert_eq!(caller.client.address(), "192.0.2.1");
    }
}
