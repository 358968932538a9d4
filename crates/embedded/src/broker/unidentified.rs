//! Closes connections that never send a whole CONNECT.
//!
//! rmqtt's handshake timeout begins after it has recognised the protocol version, so a connection that sends nothing, or half a
//! CONNECT, stays for ever and keeps its descriptor. rmqtt accepts connections itself and does not show them before CONNECT.
//! So we look at our own process's sockets: one at our port that has no session after the timeout is shut down, which rmqtt
//! sees as the end of the connection.
//!
//! A descriptor is only ever reached as a duplicate (pidfd_getfd(2)) whose addresses were checked, so that one reused in
//! between is not touched. Where pidfd_getfd is forbidden (a container's seccomp profile without SYS_PTRACE), that is said once
//! in the log, and such connections stay.

use std::collections::HashMap;
use std::io;
use std::mem::take;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Dir, Mode, OFlags, openat, readlinkat};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// Sockets at our listening addresses, by inode.
pub(super) struct UnidentifiedSockets {
    addresses: Vec<SocketAddr>,
    timeout: Duration,
    process: OwnedFd,
    sockets: HashMap<u64, Socket>,
}

#[derive(Debug, Clone, Copy)]
enum Socket {
    /// Not ours, or a connection that had its CONNECT.
    Settled,
    Waiting {
        since: Instant,
        peer: SocketAddr,
    },
}

impl UnidentifiedSockets {
    /// # Errors
    /// The kernel has no pidfd_open(2), or it is forbidden.
    pub(super) fn new(addresses: Vec<SocketAddr>, timeout: Duration) -> io::Result<Self> {
        let process = pidfd_open(getpid(), PidfdFlags::empty())?;
        Ok(Self { addresses, timeout, process, sockets: HashMap::new() })
    }

    /// Notes which sockets there are; the time of those seen first begins.
    ///
    /// # Errors
    /// /proc can't be read, or pidfd_getfd(2) is forbidden.
    pub(super) fn look(&mut self, now: Instant) -> io::Result<()> {
        let present = socket_inodes()?;
        self.sockets.retain(|inode, _| present.contains_key(inode));
        for (&inode, &descriptor) in &present {
            if !self.sockets.contains_key(&inode) {
                let socket =
                    self.peer_of(descriptor)?.map_or(Socket::Settled, |peer| Socket::Waiting { since: now, peer });
                self.sockets.insert(inode, socket);
            }
        }
        Ok(())
    }

    /// Whether a connection has waited for longer than its time.
    pub(super) fn any_overdue(&self, now: Instant) -> bool {
        self.sockets.values().any(|socket| self.is_overdue(*socket, now))
    }

    /// Closes what is overdue and has no session; returns how many.
    ///
    /// # Errors
    /// As for `look`.
    pub(super) fn close_overdue(
        &mut self,
        now: Instant,
        identified: impl Fn(&SocketAddr) -> bool,
    ) -> io::Result<usize> {
        let present = socket_inodes()?;
        let mut closed = 0;
        for (inode, descriptor) in present {
            let Some(&socket) = self.sockets.get(&inode) else { continue };
            let Socket::Waiting { peer, .. } = socket else { continue };
            if !self.is_overdue(socket, now) {
                continue;
            }
            if !identified(&peer)
                && let Some(connection) = self.duplicate(descriptor)?
                && connection.peer_addr().is_ok_and(|address| address == peer)
                && connection.shutdown(Shutdown::Both).is_ok()
            {
                closed += 1;
            }
            self.sockets.insert(inode, Socket::Settled);
        }
        Ok(closed)
    }

    fn is_overdue(&self, socket: Socket, now: Instant) -> bool {
        matches!(socket, Socket::Waiting { since, .. } if now.duration_since(since) >= self.timeout)
    }

    /// Whom the descriptor is connected to, if it is a connection accepted at one of our addresses.
    fn peer_of(&self, descriptor: RawFd) -> io::Result<Option<SocketAddr>> {
        Ok(self.duplicate(descriptor)?.and_then(|connection| connection.peer_addr().ok()))
    }

    /// A duplicate, if the descriptor is a TCP socket at one of our addresses; the listening socket has no peer. (Our own ends of
    /// connections to the inner port are none, even if their port is that of a listener.)
    fn duplicate(&self, descriptor: RawFd) -> io::Result<Option<TcpStream>> {
        let duplicate = match pidfd_getfd(&self.process, descriptor, PidfdGetfdFlags::empty()) {
            Ok(duplicate) => TcpStream::from(duplicate),
            Err(rustix::io::Errno::BADF) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let is_at = |local: SocketAddr| {
            let is_same = |ours: &SocketAddr| ours.ip().is_unspecified() || local.ip() == ours.ip();
            self.addresses.iter().any(|ours| local.port() == ours.port() && is_same(ours))
        };
        let is_accepted = duplicate.local_addr().is_ok_and(is_at)
            && !duplicate.peer_addr().is_ok_and(|peer| self.addresses.contains(&peer));
        Ok(is_accepted.then_some(duplicate))
    }
}

/// This process's sockets: inode and descriptor. As many system calls as there are descriptors, so without paths to resolve.
fn socket_inodes() -> io::Result<HashMap<u64, RawFd>> {
    let mut sockets = HashMap::new();
    let folder = openat(CWD, "/proc/self/fd", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut target = Vec::new();
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let Some(descriptor) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) else { continue };
        // Descriptors may be closed while we read.
        let Ok(link) = readlinkat(&folder, entry.file_name(), take(&mut target)) else { continue };
        let inode = link.to_str().ok().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        if let Some(inode) = inode {
            sockets.insert(inode, descriptor);
        }
        target = link.into_bytes();
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn only_an_overdue_connection_without_a_session_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut silent = TcpStream::connect(address).unwrap();
        let mut known = TcpStream::connect(address).unwrap();
        let _accepted = [listener.accept().unwrap(), listener.accept().unwrap()];
        let known_address = known.local_addr().unwrap();
        let mut sockets = UnidentifiedSockets::new(vec![address], Duration::from_secs(10)).unwrap();

        let now = Instant::now();
        sockets.look(now).unwrap();
        assert!(!sockets.any_overdue(now));
        assert_eq!(sockets.close_overdue(now, |_| false).unwrap(), 0);
        let later = now + Duration::from_secs(10);
        sockets.look(later).unwrap();
        assert!(sockets.any_overdue(later));
        assert_eq!(sockets.close_overdue(later, |peer| *peer == known_address).unwrap(), 1);
        assert_eq!(silent.read(&mut [0]).unwrap(), 0, "the end of the connection");
        known.set_nonblocking(true).unwrap();
        assert_eq!(known.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        sockets.look(later).unwrap();
        assert!(!sockets.any_overdue(later), "settled connections are not looked at again");
    }
}
