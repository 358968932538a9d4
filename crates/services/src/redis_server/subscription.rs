//! Publications of one channel, on a connection of their own.
//!
//! Invariant: what waits to be read is bounded by [`PUBLICATIONS_MAX`] and [`PUBLICATION_BYTES_MAX`]; a reader that falls further behind
//! loses its subscription (and reads what it missed from the store). Redis itself cuts off a client whose output buffer is full
//! (`client-output-buffer-limit pubsub`), which looks the same.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use redis::{AsyncConnectionConfig, PushInfo, PushKind, Value};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{Failure, Place, Server, access::Connection};

const PUBLICATIONS_MAX: usize = 4_096;
const PUBLICATION_BYTES_MAX: usize = 64 << 20;
/// A connection that died without a word is noticed after so long and a call's timeout.
const PROBE_INTERVAL: Duration = Duration::from_secs(3);

/// Why nothing comes any more.
type Ended = Arc<Mutex<Option<String>>>;

pub(crate) struct Publications {
    place: Place,
    texts: mpsc::Receiver<Vec<u8>>,
    bytes: Arc<AtomicUsize>,
    ended: Ended,
    /// Owns the connection; ends with the subscription.
    probing: JoinHandle<()>,
}

impl Publications {
    /// Connects and subscribes; what is published from then on is kept until it is read.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub(crate) async fn open(server: &Server, channel: &str) -> Result<Self, Failure> {
        let (sender, texts) = mpsc::channel(PUBLICATIONS_MAX);
        let queue = Queue { sender: Mutex::new(Some(sender)), bytes: Arc::default(), ended: Arc::default() };
        let (bytes, ended) = (Arc::clone(&queue.bytes), Arc::clone(&queue.ended));
        let (place, call_timeout) = (server.place().clone(), server.call_timeout());
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(Some(call_timeout))
            .set_push_sender(move |push: PushInfo| queue.accept(push));
        let opening = async {
            let mut connection = server.listen(config).await?;
            connection.commands.subscribe(channel).await.map_err(|error| error.to_string())?;
            Ok::<_, String>(connection)
        };
        let connection = tokio::time::timeout(call_timeout, opening)
            .await
            .map_err(|_| place.unavailable(format!("no subscription within {} ms", call_timeout.as_millis())))?
            .map_err(|reason| place.unavailable(reason))?;
        let probing = tokio::spawn(probe(connection, Arc::clone(&ended)));
        Ok(Self { place, texts, bytes, ended, probing })
    }

    /// The next message. Cancel safe.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: the subscription has ended. [`Failure::Corrupt`]: this message is no text.
    pub(crate) async fn next(&mut self) -> Result<String, Failure> {
        let Some(text) = self.texts.recv().await else {
            let reason = self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return Err(self
                .place
                .unavailable(reason.as_deref().unwrap_or("the subscription's connection was closed")));
        };
        self.bytes.fetch_sub(text.len(), Ordering::Relaxed);
        String::from_utf8(text).map_err(|error| self.place.corrupt(format!("a publication: {error}")))
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl Drop for Publications {
    fn drop(&mut self) {
        self.probing.abort();
    }
}

/// Holds the connection open for as long as it answers; dropping it ends the stream of publications.
async fn probe(mut connection: Connection, ended: Ended) {
    loop {
        tokio::time::sleep(PROBE_INTERVAL).await;
        if let Err(error) = redis::cmd("PING").query_async::<Value>(&mut connection.commands).await {
            end(&ended, format!("the subscription's connection is dead: {error}"));
            return;
        }
    }
}

fn end(ended: &Ended, reason: String) {
    ended.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
}

/// The connection's side: must never wait.
struct Queue {
    /// `None` once the subscription has ended: the receiver then sees the end behind what is queued.
    sender: Mutex<Option<mpsc::Sender<Vec<u8>>>>,
    bytes: Arc<AtomicUsize>,
    ended: Ended,
}

impl Queue {
    fn accept(&self, push: PushInfo) -> Result<(), redis::aio::SendError> {
        match push.kind {
            PushKind::Message => self.enqueue(push),
            PushKind::Disconnection => {
                self.close("the subscription's connection was closed");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The data of a message: channel and payload.
    fn enqueue(&self, push: PushInfo) -> Result<(), redis::aio::SendError> {
        let Some(Value::BulkString(text)) = push.data.into_iter().nth(1) else { return Ok(()) };
        let size = text.len();
        let queued = self.bytes.fetch_add(size, Ordering::Relaxed) + size;
        let fits = queued <= PUBLICATION_BYTES_MAX && {
            let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
            sender.as_ref().is_some_and(|sender| sender.try_send(text).is_ok())
        };
        if !fits {
            self.close("its publications were not read for too long");
            return Err(redis::aio::SendError);
        }
        Ok(())
    }

    fn close(&self, reason: &str) {
        end(&self.ended, reason.to_owned());
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
