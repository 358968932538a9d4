//! The operating system's socket under paho's connection, so that it can be shut down.
//!
//! paho sends the PUBACK right after the message callback has returned, whatever that returns, and shows its socket to nobody. A message
//! that was refused must not be acknowledged: so the callback shuts the socket down before it returns, and the PUBACK goes nowhere.
//! The socket is found as the one that came into being while we connected and leads to the broker's port (Linux: /proc). Should
//! another part of this process have connected to the same port at the same moment, its connection is shut down as well.

use std::{collections::HashMap, fs, os::fd::RawFd};

use nix::sys::socket::{Shutdown, shutdown};

/// The inode is the socket's identity: a descriptor's number may belong to another file by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sockets(HashMap<RawFd, String>);

impl Sockets {
    /// All sockets of this process.
    pub(super) fn open_now() -> Self {
        let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        let socket = |entry: fs::DirEntry| {
            let descriptor = entry.file_name().to_str()?.parse().ok()?;
            Some((descriptor, inode_of(descriptor)?))
        };
        Self(entries.filter_map(socket).collect())
    }

    /// Those that came into being since, and are connected to that port.
    pub(super) fn opened_since(before: &Self, remote_port: u16) -> Self {
        let mut now = Self::open_now();
        now.0.retain(|descriptor, inode| before.0.get(descriptor) != Some(inode));
        if !now.0.is_empty() {
            let connected = connected_to(remote_port);
            now.0.retain(|_, inode| connected.iter().any(|other| other == inode));
        }
        now
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
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

/// Inodes of TCP sockets whose other end has that port.
fn connected_to(port: u16) -> Vec<String> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let mut inodes = Vec::new();
    for line in tables.iter().flat_map(|table| table.lines().skip(1)) {
        // proc(5): number, local address, remote address (hexadecimal ADDRESS:PORT), state, .., inode as the tenth.
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let remote = fields.get(2).and_then(|remote| remote.rsplit_once(':'));
        let remote_port = remote.and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        if remote_port == Some(port)
            && let Some(inode) = fields.get(9)
        {
            inodes.push((*inode).to_owned());
        }
    }
    inodes
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
        let mut wanted = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut elsewhere = TcpStream::connect(other.local_addr().unwrap()).unwrap();
        let (mut earlier_peer, mut wanted_peer) = (listener.accept().unwrap().0, listener.accept().unwrap().0);
        let mut elsewhere_peer = other.accept().unwrap().0;

        let found = Sockets::opened_since(&before, listener.local_addr().unwrap().port());
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
