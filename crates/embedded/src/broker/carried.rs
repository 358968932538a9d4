//! Connections that came by TLS, on their way to rmqtt.
//!
//! rmqtt takes connections from its own listening socket alone, and its TLS stands on another library than all else here. So what comes
//! in at `mqtt.tls_listen` is decrypted by us and carried on to an inner port of rmqtt's, on loopback. Invariant: at the inner port only
//! connections that we made ourselves are let in, and each counts as coming from where its client is. The kernel vouches for that: two
//! connections to one port never have the same address at their other end, and ours is noted before it connects.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmqtt::types::Id;
use tokio::net::{TcpSocket, TcpStream};

/// An address has 28,000 ports for connections to one place, unless the system says otherwise: these are for ours alone, of which there
/// may be a million.
const SOURCES: u32 = 64;
/// What the kernel holds for a client beside its own connection's: a client that takes nothing shows early.
const RECEIVE_BUFFER_BYTES: u32 = 64 * 1024;

/// By the address of our end: where the client is.
#[derive(Default)]
pub(super) struct Carried {
    /// Where rmqtt listens for them; `None` where there is no TLS.
    inner: Option<SocketAddr>,
    clients: Mutex<HashMap<SocketAddr, SocketAddr>>,
    count: AtomicU32,
}

/// Somebody else connected to the inner port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stranger;

impl Carried {
    pub(super) fn new(inner: Option<SocketAddr>) -> Arc<Self> {
        Arc::new(Self { inner, ..Self::default() })
    }

    /// From where a client comes, as far as rmqtt knows or we do.
    pub(super) fn origin(&self, id: &Id) -> Result<Option<SocketAddr>, Stranger> {
        if self.inner.is_none() || id.local_addr != self.inner {
            return Ok(id.remote_addr);
        }
        let client = id.remote_addr.and_then(|own| self.clients().get(&own).copied());
        client.map(Some).ok_or(Stranger)
    }

    /// Carries a client on to the inner port.
    ///
    /// # Errors
    /// rmqtt does not listen any more, or no descriptor or port is left.
    pub(super) async fn connect(self: &Arc<Self>, client: SocketAddr) -> io::Result<Link> {
        let inner = self.inner.ok_or(io::ErrorKind::NotConnected)?;
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        let number = self.count.fetch_add(1, Ordering::Relaxed) % SOURCES;
        socket.bind(SocketAddr::from((Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 77, 1)) + number), 0)))?;
        let own = socket.local_addr()?;
        self.clients().insert(own, client);
        let entry = Entry { carried: Arc::clone(self), own };
        let stream = socket.connect(inner).await?;
        stream.set_nodelay(true)?;
        Ok(Link { _entry: entry, stream })
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<SocketAddr, SocketAddr>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Our connection to the inner port. The entry is dropped first: while it is there, the address is nobody else's.
pub(super) struct Link {
    _entry: Entry,
    pub(super) stream: TcpStream,
}

struct Entry {
    carried: Arc<Carried>,
    own: SocketAddr,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.carried.clients().remove(&self.own);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::net::TcpListener;

    use super::*;

    fn id(local: SocketAddr, remote: SocketAddr) -> Id {
        Id::new(1, local.port(), Some(local), Some(remote), "c".into(), None)
    }

    #[tokio::test]
    async fn at_the_inner_port_only_what_we_carry_is_let_in_and_as_from_where_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inner = listener.local_addr().unwrap();
        let carried = Carried::new(Some(inner));
        let client: SocketAddr = "198.51.100.7:4711".parse().unwrap();
        let link = carried.connect(client).await.unwrap();
        let (_accepted, own) = listener.accept().await.unwrap();
        assert_eq!(carried.origin(&id(inner, own)), Ok(Some(client)));

        let _other = TcpStream::connect(inner).await.unwrap();
        let (_accepted, other) = listener.accept().await.unwrap();
        assert_eq!(carried.origin(&id(inner, other)), Err(Stranger));
        let plain: SocketAddr = "127.0.0.1:3123".parse().unwrap();
        assert_eq!(carried.origin(&id(plain, other)), Ok(Some(other)), "another port is none of its business");
        drop(link);
        assert_eq!(carried.origin(&id(inner, own)), Err(Stranger), "the address may be anybody's now");
    }
}
