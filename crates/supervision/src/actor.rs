//! What a program writes: a message enum and an actor.
//!
//! The trait mirrors `ractor::Actor`, without what a supervision tree decides itself (links, supervision events,
//! the unbounded mailbox). [`crate::shell`] wraps it into a real ractor actor.

use std::future::Future;

use crate::context::Context;

/// Why an actor could not start or go on; the same type as `ractor::ActorProcessingErr`.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// All that can happen to an actor, as one enum.
pub trait Message: Send + 'static {
    /// Names the message in inspection, metrics and the watchdog's log, for instance `"append"`.
    fn kind(&self) -> &'static str;
}

/// A worker of the tree. Implementors write `async fn`.
///
/// An `Err` from any method, a panic, a kill and a watchdog's kill are abnormal ends; [`Context::stop`] and a stop by
/// the supervisor are normal ones. What follows is the supervisor's business, as the file says.
pub trait Actor: Send + Sync + Sized + 'static {
    /// All that can happen to it.
    type Message: Message;
    /// Dependencies and limits, built anew at each start.
    type Arguments: Send + 'static;
    /// Private, built by [`Actor::pre_start`], dropped before a successor starts.
    type State: Send + 'static;

    /// Builds the state. The supervisor waits for it at most `start_timeout`.
    ///
    /// # Errors
    /// A failed start counts as a restart.
    fn pre_start(
        &self,
        context: &Context<Self::Message>,
        arguments: Self::Arguments,
    ) -> impl Future<Output = Result<Self::State, Failure>> + Send;

    /// Handles one message. The watchdog measures it against `handler_max`.
    ///
    /// # Errors
    /// Ends the actor abnormally.
    fn handle(
        &self,
        context: &Context<Self::Message>,
        message: Self::Message,
        state: &mut Self::State,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Called on an orderly stop, after the drain; not after an error, a panic or a kill.
    ///
    /// # Errors
    /// Makes the end abnormal.
    fn post_stop(
        &self,
        context: &Context<Self::Message>,
        state: &mut Self::State,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = (context, state);
        async { Ok(()) }
    }

    /// What an expired `ttl` or `idle_ttl` means to this actor; by default it stops normally.
    ///
    /// # Errors
    /// Ends the actor abnormally.
    fn expired(
        &self,
        context: &Context<Self::Message>,
        state: &mut Self::State,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = state;
        context.stop();
        async { Ok(()) }
    }
}
