//! The real ractor actor around a worker: it takes messages from the [`Mailbox`] when a wake token arrives.
//!
//! Invariant: the worker's state is dropped before the mailbox is closed, and a successor waits for that; so what the
//! state owns (a port, a file lock) is free again when `pre_start` of the successor runs.

use std::marker::PhantomData;
use std::sync::Arc;

use ractor::{ActorCell, ActorProcessingErr, ActorRef, SpawnErr};

use crate::actor::{Actor, Failure};
use crate::cell::Cell as _;
use crate::context::Context;
use crate::fault;
use crate::mailbox::{Mailbox, Next, Wake};

/// How many messages one token handles before other tasks and ractor's stop and kill ports get their turn.
const BATCH_MAX: usize = 32;

/// Makes the actor and its arguments; runs inside `pre_start`, so that a panic in it is a failed start.
pub(crate) type Make<A> = Box<dyn FnOnce() -> (A, <A as Actor>::Arguments) + Send>;

/// Starts an incarnation of a worker, linked to its supervisor, after the last one is gone.
///
/// # Errors
/// What `pre_start` returned or panicked with. Dropping the future ends the start.
pub(crate) async fn start<A: Actor>(
    mailbox: Arc<Mailbox<A::Message>>,
    make: Make<A>,
    supervisor: ActorCell,
) -> Result<ActorCell, Failure> {
    mailbox.gone().await;
    #[cfg(feature = "faults")]
    let started_mailbox = Arc::clone(&mailbox);
    let launch = Launch { mailbox, make };
    let started = supervisor.spawn_linked(None, Shell::<A>(PhantomData), launch).await;
    match started {
        Ok((actor, _task)) => {
            #[cfg(feature = "faults")]
            started_mailbox.runs_as(_task.abort_handle());
            Ok(actor.get_cell())
        }
        Err(SpawnErr::StartupFailed(failure)) => Err(failure),
        Err(other) => Err(Box::new(other)),
    }
}

struct Shell<A>(PhantomData<fn() -> A>);

struct Launch<A: Actor> {
    mailbox: Arc<Mailbox<A::Message>>,
    make: Make<A>,
}

/// Closes the mailbox when the incarnation's state is dropped, or its start was given up.
struct Closer<A: Actor>(Arc<Mailbox<A::Message>>);

impl<A: Actor> Drop for Closer<A> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// One life of a worker. The order of the fields is the order in which they are dropped.
struct Incarnation<A: Actor> {
    state: A::State,
    context: Context<A::Message>,
    actor: A,
    closer: Closer<A>,
}

impl<A: Actor> Incarnation<A> {
    fn mailbox(&self) -> &Mailbox<A::Message> {
        &self.closer.0
    }

    /// Handles what is queued, up to a batch.
    async fn run(&mut self, myself: &ActorRef<Wake>) -> Result<(), Failure> {
        for _ in 0..BATCH_MAX {
            match self.mailbox().next() {
                Next::Message(message) => {
                    fault::point("actor.handle").await?;
                    self.actor.handle(&self.context, message, &mut self.state).await?;
                }
                Next::Expired => {
                    self.actor.expired(&self.context, &mut self.state).await?;
                }
                Next::Empty => return Ok(()),
                Next::Stop => {
                    myself.stop(None);
                    return Ok(());
                }
            }
        }
        // Refused only when the actor is ending.
        let _ = myself.cast(Wake);
        Ok(())
    }
}

impl<A: Actor> ractor::Actor for Shell<A> {
    type Msg = Wake;
    type State = Box<Incarnation<A>>;
    type Arguments = Launch<A>;

    async fn pre_start(&self, myself: ActorRef<Wake>, launch: Launch<A>) -> Result<Self::State, ActorProcessingErr> {
        let Launch { mailbox, make } = launch;
        let incarnation = mailbox.open(myself);
        let closer = Closer::<A>(Arc::clone(&mailbox));
        let context = Context::new(Arc::clone(&mailbox), incarnation);
        fault::scope(Arc::clone(&mailbox), async move {
            fault::point("actor.pre_start").await?;
            let (actor, arguments) = make();
            let state = actor.pre_start(&context, arguments).await?;
            closer.0.run();
            Ok(Box::new(Incarnation { state, context, actor, closer }))
        })
        .await
    }

    async fn handle(
        &self,
        myself: ActorRef<Wake>,
        _wake: Wake,
        incarnation: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        // Boxed, so that an idle actor's task does not carry the largest future of its handlers.
        let mailbox = Arc::clone(&incarnation.closer.0);
        Box::pin(fault::scope(mailbox, incarnation.run(&myself))).await
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Wake>,
        incarnation: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        incarnation.mailbox().begin("post_stop");
        let Incarnation { state, context, actor, closer } = &mut **incarnation;
        let mailbox = Arc::clone(&closer.0);
        let outcome = Box::pin(fault::scope(mailbox, async {
            fault::point("actor.post_stop").await?;
            actor.post_stop(context, state).await
        }))
        .await;
        context.end_helpers();
        outcome
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<Wake>,
        _event: ractor::SupervisionEvent,
        _incarnation: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        // A worker supervises nobody; ractor's default would stop it.
        Ok(())
    }
}
