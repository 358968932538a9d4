//! The sending side of one client's connection.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;

/// Whole messages to one client. Nothing here waits but `flushed`, so that an actor's handler never hangs on a slow client.
///
/// Invariant: what goes out is always a sequence of whole messages: the unsent rest of one that was taken stays in the adapter, outlives the
/// actor that wrote it, and goes first. So a connection whose actor was killed can still be closed in the protocol's manner.
#[async_trait]
pub trait ClientSocket: Send + Sync + 'static {
    /// Takes as many of `messages` (encoded, in order) as go out now; at most the last one taken is kept in part. Says how many
    /// were taken: 0 where the client reads too slowly.
    ///
    /// # Errors
    /// The connection is gone.
    fn try_write(&self, messages: &[Bytes]) -> io::Result<usize>;

    /// Whether the rest of a message is waiting.
    fn has_rest(&self) -> bool;

    /// Waits until the rest, if there is one, has gone out and the client takes more. Cancel safe.
    ///
    /// # Errors
    /// The connection is gone.
    async fn flushed(&self) -> io::Result<()>;
}
