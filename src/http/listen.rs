//! Listening sockets: bound, accepted from, drained. Shared by the HTTP and the WebSocket port.
//!
//! Invariants: no more connections are open than there are slots; at the bound the next one waits in the kernel's queue until one ends.
//! A failure to accept (no descriptor left) never ends the port.

use std::{
    convert::Infallible,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use orinoco_ports::{Running, ServerError};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, lookup_host},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
    time::Instant,
};

/// Connections that wait in the kernel's queue; the system's own limit (`net.core.somaxconn`) may be lower.
const BACKLOG: u32 = 4096;
/// The listening socket of a port that was killed goes with a task, which the runtime has yet to drop when the next one binds.
const FORMER_GONE_MAX: Duration = Duration::from_secs(1);
const BIND_AGAIN_AFTER: Duration = Duration::from_millis(2);
/// After a failure to accept, such as too many open files.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A connection, with what it holds as long as it counts.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    /// Its slot among the connections of the port.
    pub(crate) slot: OwnedSemaphorePermit,
    pub(crate) draining: Draining,
}

/// Held as long as a drain has to wait for the connection.
#[derive(Clone)]
pub(crate) struct Draining(watch::Receiver<bool>);

impl Draining {
    /// Waits for the beginning of a drain. A port that was dropped does not drain: its connections live on.
    pub(crate) async fn begun(&mut self) {
        if self.0.wait_for(|draining| *draining).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Binds `address` (`host:port`), named by its key in errors. `send_buffer_bytes` is what accepted sockets inherit. A port that is taken
/// is tried again for [`FORMER_GONE_MAX`].
///
/// # Errors
/// [`ServerError::Bind`].
pub(crate) async fn bind(
    key: &'static str,
    address: &str,
    send_buffer_bytes: Option<u32>,
) -> Result<TcpListener, ServerError> {
    let failed = |source| ServerError::Bind { key, address: address.to_owned(), source };
    let give_up_at = Instant::now() + FORMER_GONE_MAX;
    loop {
        match bind_now(address, send_buffer_bytes).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < give_up_at => {
                tokio::time::sleep(BIND_AGAIN_AFTER).await;
            }
            bound => return bound.map_err(failed),
        }
    }
}

async fn bind_now(address: &str, send_buffer_bytes: Option<u32>) -> io::Result<TcpListener> {
    let mut last_error = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in lookup_host(address).await? {
        match listen(address, send_buffer_bytes) {
            Ok(listener) => return Ok(listener),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

fn listen(address: SocketAddr, send_buffer_bytes: Option<u32>) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    if let Some(bytes) = send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A port at work.
pub(crate) struct Port {
    place: String,
    accepting: JoinHandle<Infallible>,
    draining: watch::Sender<bool>,
}

impl Port {
    /// Accepts connections, each served by a task of its own.
    pub(crate) fn open<F>(
        scheme: &str,
        listener: TcpListener,
        slots: Arc<Semaphore>,
        serve: impl Fn(Accepted) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let place = listener.local_addr().map_or_else(|_| scheme.to_owned(), |address| format!("{scheme}://{address}"));
        let (draining, receiver) = watch::channel(false);
        let accepting = tokio::spawn(async move {
            loop {
                let slot = slot(&slots).await;
                let (stream, peer) = accept(&listener).await;
                tokio::spawn(serve(Accepted { stream, peer, slot, draining: Draining(receiver.clone()) }));
            }
        });
        Self { place, accepting, draining }
    }
}

async fn slot(slots: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    loop {
        if let Ok(slot) = Arc::clone(slots).acquire_owned().await {
            return slot;
        }
        debug_assert!(false, "the semaphore of a port is never closed");
        tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut said = false;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The client went before its turn.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if !said {
                    tracing::error!(%error, "connections can't be accepted; trying on");
                    said = true;
                }
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

impl Drop for Port {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[async_trait]
impl Running for Port {
    fn place(&self) -> &str {
        &self.place
    }

    async fn failed(&mut self) -> ServerError {
        let reason = match (&mut self.accepting).await {
            Ok(never) => match never {},
            Err(error) => error.to_string(),
        };
        ServerError::Ended { place: self.place.clone(), reason }
    }

    async fn drain(self: Box<Self>) {
        self.accepting.abort();
        // The accepting task's own receiver goes with it.
        self.draining.send_replace(true);
        self.draining.closed().await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_port_that_its_former_holder_has_yet_to_let_go_of_is_waited_for() {
        let former = bind("http.listen", "127.0.0.1:0", None).await.unwrap();
        let address = former.local_addr().unwrap().to_string();
        let refused = bind("http.listen", &address, None).await.unwrap_err();
        assert!(matches!(refused, ServerError::Bind { key: "http.listen", .. }), "{refused}");
        let letting_go = async {
            tokio::time::sleep(FORMER_GONE_MAX / 2).await;
            drop(former);
        };
        let (next, ()) = tokio::join!(bind("http.listen", &address, None), letting_go);
        assert_eq!(next.unwrap().local_addr().unwrap().to_string(), address);
    }
}
