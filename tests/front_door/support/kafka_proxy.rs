//! A proxy in front of Kafka that breaks connections when it is least convenient: the broker has the produce request, and its answer never
//! arrives. A seed decides which requests those are.

use std::{
    io,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// Kafka protocol: a request begins with its length (4 bytes) and its api key (2 bytes).
const LENGTH_BYTES: usize = 4;
const PRODUCE: [u8; 2] = [0, 0];

pub(crate) struct KafkaProxy {
    port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// `host:port`, once it is known.
    broker: OnceLock<String>,
    random: Mutex<fastrand::Rng>,
    /// One of so many produce requests is cut; 0: none.
    one_in: AtomicU32,
    produced: AtomicUsize,
    cuts: AtomicUsize,
}

/// When the connection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// As soon as the request has been sent.
    Sent,
    /// When the broker has answered: the records are in the log.
    Answered,
}

impl KafkaProxy {
    /// Listens, and lets nobody in before [`KafkaProxy::forward_to`].
    pub(crate) async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                // An error is the end of either side.
                connections.spawn(async move { shared.serve(client).await });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { port, shared, task }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `host:port` of the broker.
    pub(crate) fn forward_to(&self, broker: &str) {
        self.shared.broker.set(broker.to_owned()).unwrap();
    }

    /// From now on one of so many produce requests is cut.
    pub(crate) fn cut(&self, one_in: u32, seed: u64) {
        *self.shared.random.lock().unwrap() = fastrand::Rng::with_seed(seed);
        self.shared.one_in.store(one_in, Ordering::Relaxed);
    }

    /// No more.
    pub(crate) fn spare(&self) {
        self.shared.one_in.store(0, Ordering::Relaxed);
    }

    /// Produce requests so far, and how many of them were cut.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.shared.produced.load(Ordering::Relaxed), self.shared.cuts.load(Ordering::Relaxed))
    }
}

impl Drop for KafkaProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    /// One request after the other, as the broker does.
    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let Some(broker) = self.broker.get() else { return Ok(()) };
        let mut broker = TcpStream::connect(broker).await?;
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        loop {
            let request = message(&mut client).await?;
            let cut = self.cut_of(&request);
            broker.write_all(&request).await?;
            if cut == Some(Cut::Sent) {
                return Ok(());
            }
            let answer = message(&mut broker).await?;
            if cut == Some(Cut::Answered) {
                return Ok(());
            }
            client.write_all(&answer).await?;
        }
    }

    fn cut_of(&self, request: &[u8]) -> Option<Cut> {
        if request.get(LENGTH_BYTES..LENGTH_BYTES + 2) != Some(&PRODUCE) {
            return None;
        }
        self.produced.fetch_add(1, Ordering::Relaxed);
        let one_in = self.one_in.load(Ordering::Relaxed);
        let mut random = self.random.lock().unwrap();
        if one_in == 0 || random.u32(..one_in) != 0 {
            return None;
        }
        self.cuts.fetch_add(1, Ordering::Relaxed);
        Some(if random.bool() { Cut::Sent } else { Cut::Answered })
    }
}

/// One message with its length.
async fn message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    let mut message = length.to_be_bytes().to_vec();
    message.resize(LENGTH_BYTES + length as usize, 0);
    stream.read_exact(&mut message[LENGTH_BYTES..]).await?;
    Ok(message)
}
