//! Clients in memory.

use std::{
    io,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use orinoco_domain::CoordinateData;
use orinoco_ports::ClientSocket;
use tokio::sync::Notify;

/// Takes messages while it has room.
pub(crate) struct MemorySocket {
    received: Mutex<Vec<u8>>,
    parsed: Mutex<Vec<CoordinateData>>,
    parsed_bytes: AtomicUsize,
    /// Messages that it takes before it blocks.
    room: AtomicUsize,
    grown: Notify,
    gone: AtomicBool,
}

impl MemorySocket {
    pub(crate) fn fast() -> Self {
        Self::with_room(usize::MAX)
    }

    /// Takes so many messages, then none until [`MemorySocket::read`].
    pub(crate) fn with_room(messages: usize) -> Self {
        let (received, parsed, parsed_bytes) = Default::default();
        Self { received, parsed, parsed_bytes, room: messages.into(), grown: Notify::new(), gone: false.into() }
    }

    /// The client reads: it takes so many more.
    pub(crate) fn read(&self, messages: usize) {
        self.room.fetch_add(messages, Ordering::SeqCst);
        self.grown.notify_waiters();
    }

    /// What came, as text.
    pub(crate) fn texts(&self) -> Vec<String> {
        texts(&self.received.lock().unwrap())
    }

    pub(crate) fn frames(&self) -> Vec<CoordinateData> {
        self.parsed().clone()
    }

    /// Parses what came since the last look.
    fn parsed(&self) -> MutexGuard<'_, Vec<CoordinateData>> {
        let mut parsed = self.parsed.lock().unwrap();
        let mut at = self.parsed_bytes.load(Ordering::SeqCst);
        let received = self.received.lock().unwrap();
        parsed.extend(texts(&received[at..]).iter().filter_map(|text| serde_json::from_str(text).ok()));
        at = received.len();
        self.parsed_bytes.store(at, Ordering::SeqCst);
        drop(received);
        parsed
    }

    /// Waits until `enough` says so of what came.
    pub(crate) async fn until(&self, what: &str, enough: impl Fn(&[CoordinateData]) -> bool) -> Vec<CoordinateData> {
        for _ in 0..3_000 {
            let found = {
                let frames = self.parsed();
                enough(&frames).then(|| frames.clone())
            };
            if let Some(frames) = found {
                return frames;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}: not within 30 s of paused time; {} frames: {:?}", self.frames().len(), self.texts().last());
    }
}

#[async_trait]
impl ClientSocket for MemorySocket {
    fn try_write(&self, messages: &[Bytes]) -> io::Result<usize> {
        if self.gone.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let taken = messages.len().min(self.room.load(Ordering::SeqCst));
        let mut received = self.received.lock().unwrap();
        messages[..taken].iter().for_each(|message| received.extend_from_slice(message));
        self.room.fetch_sub(taken, Ordering::SeqCst);
        Ok(taken)
    }

    fn has_rest(&self) -> bool {
        false
    }

    async fn flushed(&self) -> io::Result<()> {
        loop {
            let grown = self.grown.notified();
            if self.room.load(Ordering::SeqCst) > 0 {
                return Ok(());
            }
            grown.await;
        }
    }
}

/// The text messages in a stream of whole messages.
pub(crate) fn texts(mut rest: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while !rest.is_empty() {
        let (header, length) = match rest[1] {
            126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
            short => (2, usize::from(short)),
        };
        if rest[0] == 0x81 {
            texts.push(String::from_utf8(rest[header..header + length].to_vec()).unwrap());
        }
        rest = &rest[header + length..];
    }
    texts
}
