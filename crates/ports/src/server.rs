//! What listens: HTTP, WebSocket, the embedded broker, the control socket. Each is run by a Listener actor.

use async_trait::async_trait;

/// Something that binds a port and serves.
#[async_trait]
pub trait Server: Send + Sync + 'static {
    /// Binds and starts to serve.
    ///
    /// # Errors
    /// [`ServerError`]: it does not serve.
    async fn start(&self) -> Result<Box<dyn Running>, ServerError>;
}

/// A server at work. Dropping it frees the port at once; connections already accepted may live on.
#[async_trait]
pub trait Running: Send + 'static {
    /// Where it listens, for people: `http://127.0.0.1:8090`.
    fn place(&self) -> &str;

    /// Waits until it ends by itself, which is a failure. Cancel safe.
    async fn failed(&mut self) -> ServerError;

    /// Stops accepting and lets what is under way finish, for as long as the supervisor's `shutdown` allows.
    async fn drain(self: Box<Self>);
}

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("{key} = {address} can't be bound: {source}; stop what uses the port or configure another")]
    Bind { key: &'static str, address: String, source: std::io::Error },
    #[error("{place} stopped: {reason}")]
    Ended { place: String, reason: String },
}
