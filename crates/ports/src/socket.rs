//! The sending side of one client's connection.

use std::io;

use async_trait::async_trait;

/// Bytes to one client. Nothing here waits but `writable`, so that an actor's handler never hangs on a slow client.
#[async_trait]
pub trait ClientSocket: Send + Sync + 'static {
    /// Writes what fits now, of the slices in order.
    ///
    /// # Errors
    /// `WouldBlock` where nothing fits; any other error means that the connection is gone.
    fn try_write(&self, slices: &[io::IoSlice<'_>]) -> io::Result<usize>;

    /// Waits until `try_write` may do something. Cancel safe.
    ///
    /// # Errors
    /// The connection is gone.
    async fn writable(&self) -> io::Result<()>;

    /// Closes the sending side; what is in the operating system's buffer still goes out.
    fn shutdown(&self);
}
