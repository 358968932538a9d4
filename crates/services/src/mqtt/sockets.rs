//! The operating system's socket under paho's connection, so that it can be shut down.
//!
//! paho sends the PUBACK right after the message callback has returned, whatever that returns, and shows its socket to nobody. A message
//! that was refused must not be acknowledged: so the callback shuts the socket down before it returns, and the PUBACK goes nowhere.
//! The socket is found as the one that came into being while we connected and leads to the broker's port (Linux: /proc). Should
//! another part of this process have connected to the same port at the same moment, its connection is shut down as well.

use std::{collections::HashMap, fs, os::fd::RawFd};

use nix::sys::socket::{Shutdown, SockaddrIn, SockaddrStorage, getpeername, shutdown};

/// The inode is the socket's identity: a descriptor's number may belong to another file by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sockets(HashMap<RawFd, String>);

impl Sockets {
    /// All sockets of this process; `None` where /proc doesn't tell.
    pub(super) fn open_now() -> Option<Self> {
        let entries = fs::read_dir("/proc/self/fd").ok()?.flatten();
        let socket = |entry: fs::DirEntry| {
            let descriptor = entry.file_name().to_str()?.parse().ok()?;
            Some((descriptor, inode_of(descriptor)?))
        };
        Some(Self(entries.filter_map(socket).collect()))
    }

    /// Those that came into being since, and are connected to that port. A descriptor that stays open is always listed, so none means
    /// that the connection is over; `None` where /proc doesn't tell.
    pub(super) fn opened_since(before: Option<&Self>, remote_port: u16) -> Option<Self> {
        let before = before?;
        let mut now = Self::open_now()?;
        now.0.retain(|descriptor, inode| before.0.get(descriptor) != Some(inode) && leads_to(*descriptor, remote_port));
        Some(now)
    }

    /// Nothing is sent or received any more from here on; says whether there was anything to shut down.
    pub(super) fn shut_down(&self) -> bool {
        let mut any = false;
        for (descriptor, inode) in &self.0 {
            if inode_of(*descriptor).as_ref() == Some(inode) {
                any |= shutdown(*descriptor, Shutdown::Both).is_ok();
            }
        }
        any
    }
}

/// `None` where it is no socket. proc(5): the link reads `socket:[INODE]`.
fn inode_of(descriptor: RawFd) -> Option<String> {
    let link = fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()?;
    let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
    Some(inode.to_owned())
}

/// Whether the other end is a TCP port of that number. A socket that is not connected any more sends nothing, and leads nowhere.
fn leads_to(descriptor: RawFd, remote_port: u16) -> bool {
    let Ok(peer) = getpeername::<SockaddrStorage>(descriptor) else { return false };
    let port = peer.as_sockaddr_in().map(SockaddrIn::port).or_else(|| Some(peer.as_sockaddr_in6()?.port()));
    port == Some(remote_port)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn only_new_connections_to_the_port_are_shut_down() {
        let (listener, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("[::1]:0").unwrap());
        let mut earlier = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let before = Sockets::open_now();
        let none = Sockets::opened_since(before.as_ref(), listener.local_addr().unwrap().port());
        assert!(none.unwrap().0.is_empty());
        let mut wanted = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut elsewhere = TcpStream::connect(other.local_addr().unwrap()).unwrap();
        let (mut earlier_peer, mut wanted_peer) = (listener.accept().unwrap().0, listener.accept().unwrap().0);
        let mut elsewhere_peer = other.accept().unwrap().0;

        let found = Sockets::opened_since(before.as_ref(), listener.local_addr().unwrap().port()).unwrap();
        assert!(found.shut_down());
        assert!(wanted.write_all(b"PUBACK").is_err());
        assert_eq!(wanted_peer.read(&mut [0; 8]).unwrap(), 0);
        for (stream, peer) in [(&mut earlier, &mut earlier_peer), (&mut elsewhere, &mut elsewhere_peer)] {
            stream.write_all(b"x").unwrap();
            assert_eq!(peer.read(&mut [0; 8]).unwrap(), 1);
        }
        drop(wanted);
        assert!(!found.shut_down(), "a closed socket is found closed");
    }
}
