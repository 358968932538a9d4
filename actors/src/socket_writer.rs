//! Writes what waits to one client's socket, for the actor that has it. It never waits itself: a helper does, and tells the actor.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use orinoco_ports::ClientSocket;
use orinoco_supervision::{Context, Message, SendError};
use tokio::time::Instant;

/// Messages handed to the socket at a time.
const WRITE_MESSAGES_MAX: usize = 64;
/// A mailbox that is full is told again.
const TELL_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What waits for a client.
pub(crate) trait Waiting {
    fn is_empty(&self) -> bool;

    /// The next messages to write, at most `messages_max`.
    fn next(&self, messages_max: usize) -> Vec<Bytes>;

    /// So many of [`Waiting::next`] were taken.
    fn taken(&mut self, count: usize);
}

/// The connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

pub(crate) struct SocketWriter {
    socket: Arc<dyn ClientSocket>,
    /// The client takes nothing since then.
    blocked_since: Option<Instant>,
    /// A helper waits for the socket.
    is_waiting: bool,
}

impl SocketWriter {
    pub(crate) fn new(socket: Arc<dyn ClientSocket>) -> Self {
        Self { socket, blocked_since: None, is_waiting: false }
    }

    /// Whether the socket takes nothing now.
    pub(crate) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// The helper says that the client takes more.
    pub(crate) fn writable(&mut self) {
        self.is_waiting = false;
    }

    /// Whether the client has taken nothing for longer than that.
    pub(crate) fn is_stalled(&self, stall_max: Duration) -> bool {
        self.blocked_since.is_some_and(|since| since.elapsed() > stall_max)
    }

    /// Writes what the client takes. If it does not take all, `tell` makes the message that the actor gets when it takes more, or is gone.
    ///
    /// # Errors
    /// [`Gone`].
    pub(crate) fn write<M: Message>(
        &mut self,
        queue: &mut impl Waiting,
        context: &Context<M>,
        tell: fn(Result<(), Gone>) -> M,
    ) -> Result<(), Gone> {
        while !self.is_waiting && !queue.is_empty() {
            match self.socket.try_write(&queue.next(WRITE_MESSAGES_MAX)) {
                Ok(0) => self.wait(context, tell),
                Ok(taken) => {
                    queue.taken(taken);
                    self.blocked_since = None;
                }
                Err(_gone) => return Err(Gone),
            }
        }
        if !self.is_waiting && self.socket.has_rest() {
            self.wait(context, tell);
        }
        Ok(())
    }

    fn wait<M: Message>(&mut self, context: &Context<M>, tell: fn(Result<(), Gone>) -> M) {
        self.is_waiting = true;
        self.blocked_since.get_or_insert_with(Instant::now);
        let (socket, own) = (Arc::clone(&self.socket), context.address());
        context.spawn(async move {
            let flushed = socket.flushed().await.map_err(|_gone| Gone);
            // The mailbox rejects what is too much; this message must get there.
            while let Err(SendError::Full(_)) = own.send(tell(flushed)).await {
                tokio::time::sleep(TELL_AGAIN_AFTER).await;
            }
        });
    }
}
