//! The HTTP server's side of streams.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use orinoco_domain::challenge::ChallengeKey;
use orinoco_supervision::{Address, ChildStart, Group, Pool, StartChildError};
use tokio::sync::mpsc;

use super::{SseLimits, SseRender, SseSession, SseSessionArguments, SseSessionMessage};
use crate::{ChallengeError, ChallengeRegistryMessage};

/// Opens streams; cheap to clone. At most `max_children` of the pool live at once.
#[derive(Clone)]
pub struct SseStreams {
    pool: Pool<SseSession>,
    registry: Group<ChallengeRegistryMessage>,
    limits: SseLimits,
    sessions: Arc<AtomicU64>,
}

impl SseStreams {
    #[must_use]
    pub fn new(pool: Pool<SseSession>, registry: Group<ChallengeRegistryMessage>, limits: SseLimits) -> Self {
        Self { pool, registry, limits, sessions: Arc::default() }
    }

    /// Opens a stream of a challenge, which is the caller's to see.
    ///
    /// # Errors
    /// `Overloaded` or `Unavailable`.
    pub async fn open(&self, key: ChallengeKey, render: SseRender) -> Result<SseStream, ChallengeError> {
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        let (chunks, body) = mpsc::channel(self.limits.chunks_max.max(1));
        let (registry, limits) = (self.registry.clone(), self.limits);
        let arguments = SseSessionArguments { session, key, registry, render, limits, chunks };
        match self.pool.start_child_with(session, ChildStart::once(arguments)).await {
            Ok(address) => Ok(SseStream { session, chunks: body, address }),
            Err(StartChildError::PoolFull { .. }) => Err(ChallengeError::Overloaded),
            Err(error) => Err(ChallengeError::Unavailable { reason: error.to_string() }),
        }
    }

    /// How many are open.
    #[must_use]
    pub fn live(&self) -> usize {
        self.pool.live()
    }
}

/// The body of a response: ends where the stream ends, and ends the stream where it is dropped.
#[derive(Debug)]
pub struct SseStream {
    session: u64,
    chunks: mpsc::Receiver<Bytes>,
    address: Address<SseSessionMessage>,
}

impl SseStream {
    /// Unique among the streams of this process.
    #[must_use]
    pub fn session(&self) -> u64 {
        self.session
    }
}

impl Stream for SseStream {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.chunks.poll_recv(context)
    }
}

impl Drop for SseStream {
    fn drop(&mut self) {
        // Down: it has ended. Full: it finds the body closed when it writes.
        let _ = self.address.try_send(SseSessionMessage::ClientGone);
    }
}
