//! A port that is served: HTTP, WebSocket, the embedded broker, the control socket.
//!
//! Supervised by `listeners`. Invariant: the port is bound exactly while this actor runs. How a connection is served is left to
//! the [`Server`]; connections already accepted outlive a restart.

use std::sync::Arc;

use orinoco_ports::{Server, ServerError};
use orinoco_supervision::{Actor, Context, Failure, Message};
use tokio::sync::oneshot;

use crate::Health;

/// All that can happen to a [`Listener`].
#[derive(Debug)]
pub enum ListenerMessage {
    /// The server ended by itself.
    Ended(ServerError),
}

impl Message for ListenerMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Ended(_) => "ended",
        }
    }
}

/// What a [`Listener`] needs.
pub struct ListenerArguments {
    pub server: Arc<dyn Server>,
    pub health: Health,
    /// Its name on the health board.
    pub component: &'static str,
}

pub struct ListenerState {
    /// Asks the helper that owns the server to drain; answered when done.
    drain: Option<oneshot::Sender<oneshot::Sender<()>>>,
    health: Health,
    component: &'static str,
}

impl Drop for ListenerState {
    fn drop(&mut self) {
        // After an orderly stop nobody expects it to listen.
        if self.drain.is_some() {
            self.health.down(self.component, "not listening");
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Listener;

impl Actor for Listener {
    type Message = ListenerMessage;
    type Arguments = ListenerArguments;
    type State = ListenerState;

    async fn pre_start(
        &self,
        context: &Context<ListenerMessage>,
        arguments: ListenerArguments,
    ) -> Result<ListenerState, Failure> {
        let ListenerArguments { server, health, component } = arguments;
        let mut running = server.start().await.inspect_err(|error| health.down(component, error))?;
        tracing::info!(place = running.place(), "listening");
        let (drain, drain_asked) = oneshot::channel::<oneshot::Sender<()>>();
        let own = context.address();
        context.spawn(async move {
            tokio::select! {
                ended = running.failed() => {
                    // Down: the actor ends already.
                    let _ = own.send(ListenerMessage::Ended(ended)).await;
                }
                Ok(drained) = drain_asked => {
                    running.drain().await;
                    let _ = drained.send(());
                }
            }
        });
        health.up(component);
        Ok(ListenerState { drain: Some(drain), health, component })
    }

    async fn handle(
        &self,
        _context: &Context<ListenerMessage>,
        message: ListenerMessage,
        _state: &mut ListenerState,
    ) -> Result<(), Failure> {
        match message {
            ListenerMessage::Ended(error) => Err(error.into()),
        }
    }

    async fn post_stop(&self, _context: &Context<ListenerMessage>, state: &mut ListenerState) -> Result<(), Failure> {
        let (drained, drain_done) = oneshot::channel();
        if let Some(drain) = state.drain.take()
            && drain.send(drained).is_ok()
        {
            // The supervisor's `shutdown` bounds this wait.
            let _ = drain_done.await;
        }
        Ok(())
    }
}
