//! The port that speaks TLS (`mqtt.tls_listen`).
//!
//! Invariants: no more connections are open than there may be sessions and a tenth of that, those that still shake hands among them; at the
//! bound the next one waits in the kernel's queue. (The tenth is for clients that come again before their last connection is known to be
//! gone.) One that has not shaken hands and said something within the handshake timeout is closed, and holds up nobody meanwhile. What
//! MQTT says about a connection is rmqtt's, as at the other port.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orinoco_ports::ServerError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::carried::Carried;
use super::listener::{BACKLOG_MAX, reserve, resolve};
use super::options::{BrokerOptions, TlsOptions};

/// The key of the listener, in errors.
pub(super) const KEY: &str = "mqtt.tls_listen";
/// After a failure to accept, such as too many open files.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// When one side has ended: for what the other one has still to say, or to take.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);
/// For how long a client may take nothing of what the kernel holds for it.
const STALL_MAX: Duration = Duration::from_secs(30);
/// Of the first bytes of a client; CONNECT is in them, or begins there.
const FIRST_BYTES: usize = 4096;

/// Makes an encrypted connection of an accepted one.
#[async_trait]
pub trait Encryption: Send + Sync + 'static {
    /// Shakes hands, for as long as that takes.
    ///
    /// # Errors
    /// The client does not speak TLS, or none that is spoken here, or has gone.
    async fn accept(&self, stream: TcpStream) -> io::Result<Box<dyn Duplex>>;
}

/// A connection's bytes, decrypted.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The port at work. Dropped, it closes all of its connections.
pub(super) struct EncryptedPort {
    pub(super) address: SocketAddr,
    accepting: JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
}

/// What its connections share.
struct Shared {
    tls: TlsOptions,
    carried: Arc<Carried>,
    handshake_timeout: Duration,
}

impl EncryptedPort {
    /// Binds the port, and accepts. `listening` is dropped when the listening socket is.
    pub(super) async fn open(
        options: &BrokerOptions,
        tls: &TlsOptions,
        carried: &Arc<Carried>,
        listening: Arc<oneshot::Sender<()>>,
    ) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Bind { key: KEY, address: tls.listen.clone(), source };
        let listener = bind(&tls.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let connections_max = options.sessions_max.saturating_add(options.sessions_max.div_ceil(10));
        let slots = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        let shared = Arc::new(Shared {
            tls: tls.clone(),
            carried: Arc::clone(carried),
            handshake_timeout: options.handshake_timeout,
        });
        let (stop, stopped) = oneshot::channel();
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            accept_until(stopped, (listener, listening), &slots, &shared, &mut connections).await;
            while connections.join_next().await.is_some() {}
        });
        Ok(Self { address, accepting, stop: Some(stop) })
    }

    /// Waits until it ends by itself, which is a failure. Cancel safe.
    pub(super) async fn failed(&mut self) -> String {
        match (&mut self.accepting).await {
            Ok(()) => "the listener ended".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    /// Accepts nothing any more.
    pub(super) fn stop(&mut self) {
        self.stop = None;
    }

    /// After a stop: waits until the last connections have ended.
    pub(super) async fn ended(&mut self) {
        // What is left then is closed when this is dropped.
        let _ = timeout(2 * LAST_WORDS_MAX, &mut self.accepting).await;
    }
}

impl Drop for EncryptedPort {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn bind(listen: &str) -> io::Result<TcpListener> {
    reserve(resolve(listen).await?)?.listen(BACKLOG_MAX.unsigned_abs())
}

async fn accept_until(
    mut stopped: oneshot::Receiver<()>,
    (listener, _listening): (TcpListener, Arc<oneshot::Sender<()>>),
    slots: &Arc<Semaphore>,
    shared: &Arc<Shared>,
    connections: &mut JoinSet<()>,
) {
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            Some(_) = connections.join_next() => {}
            (slot, stream, client) = accept(&listener, slots) => {
                connections.spawn(serve(stream, client, slot, Arc::clone(shared)));
            }
        }
    }
}

/// Cancel safe.
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> (OwnedSemaphorePermit, TcpStream, SocketAddr) {
    loop {
        // Never closed.
        let Ok(slot) = Arc::clone(slots).acquire_owned().await else { return std::future::pending().await };
        match listener.accept().await {
            Ok((stream, client)) => return (slot, stream, client),
            Err(error) => {
                tracing::debug!(%error, "an MQTT connection can't be accepted; trying on");
                drop(slot);
                sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, client: SocketAddr, slot: OwnedSemaphorePermit, shared: Arc<Shared>) {
    if let Err(error) = carry(stream, client, &shared).await {
        tracing::debug!(%error, %client, "an encrypted MQTT connection ended");
    }
    drop(slot);
}

async fn carry(stream: TcpStream, client: SocketAddr, shared: &Shared) -> io::Result<()> {
    set_up(&stream)?;
    let begin = async {
        let mut stream = shared.tls.encryption.accept(stream).await?;
        let mut first = vec![0; FIRST_BYTES];
        let length = stream.read(&mut first).await?;
        first.truncate(length);
        Ok::<_, io::Error>((stream, first))
    };
    let (stream, first) = timeout(shared.handshake_timeout, begin).await.map_err(|_| io::ErrorKind::TimedOut)??;
    if first.is_empty() {
        return Ok(());
    }
    let mut link = shared.carried.connect(client).await?;
    relay(stream, first, &mut link.stream).await
}

fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // A client that has gone without a word is found in the end, as at the other port.
    rustix::net::sockopt::set_socket_keepalive(stream, true)?;
    Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, STALL_MAX.as_millis() as u32)?)
}

/// Passes bytes on both ways until either side ends; the other one then has [`LAST_WORDS_MAX`].
async fn relay(client: Box<dyn Duplex>, first: Vec<u8>, link: &mut TcpStream) -> io::Result<()> {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_broker, mut to_broker) = link.split();
    let up = async {
        let passed = async {
            to_broker.write_all(&first).await?;
            drop(first);
            copy(&mut from_client, &mut to_broker).await
        };
        let passed = passed.await;
        // Else rmqtt would wait for more.
        to_broker.shutdown().await?;
        passed
    };
    let down = async {
        let passed = copy(&mut from_broker, &mut to_client).await;
        to_client.shutdown().await?;
        passed
    };
    let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
    tokio::select! {
        passed = &mut up => {
            let _ = timeout(LAST_WORDS_MAX, down).await;
            passed.map(drop)
        }
        passed = &mut down => {
            let _ = timeout(LAST_WORDS_MAX, up).await;
            passed.map(drop)
        }
    }
}
