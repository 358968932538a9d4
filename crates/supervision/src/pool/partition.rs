//! The supervisor of a pool's share: told by ractor when a child ends, it restarts, gives up or escalates.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio_util::sync::CancellationToken;

use super::child::{Child, ChildPhase};
use super::life::Verdict;
use super::runtime::{PoolInner, Server};
use crate::actor::{Actor, Failure};
use crate::cell::{Cell as _, StopReason};
use crate::plan::Shutdown;
use crate::supervisor::strategy::Exit;
use crate::supervisor::{Escalation, KILL_WAIT_MAX, Timed, exit_of};
use crate::sync::{Taken, lock};

pub(super) enum Command<A: Actor> {
    /// A child had ended before its starter entered it.
    Ended { pid: u64, exit: Exit },
    /// A child could not be restarted.
    StartFailed { child: Arc<Child<A>>, reason: String },
    /// Stop all children and end.
    Close,
    /// The last child left a closed partition.
    Left,
    /// The shutdown time of the children is over.
    ShutdownOver,
    /// Killed children did not end: their handlers never come to an await.
    GiveUp,
}

/// Starts a partition, linked to its pool's supervisor, after the last incarnation is gone: what ends would close the table under it.
pub(super) async fn start<A: Actor>(
    pool: Arc<PoolInner<A>>,
    index: usize,
    supervisor: ActorCell,
) -> Result<ActorCell, Failure> {
    let place = pool.shard(index).place.take().await;
    let (actor, _task) =
        supervisor.spawn_linked(None, Partition::<A>(PhantomData), (pool, index, place)).await.map_err(Box::new)?;
    Ok(actor.get_cell())
}

struct Partition<A>(PhantomData<fn() -> A>);

struct Closing {
    reason: Option<String>,
    timer: Timed,
}

struct State<A: Actor> {
    pool: Arc<PoolInner<A>>,
    index: usize,
    closing: Option<Closing>,
    /// Let go last.
    _place: Taken,
}

impl<A: Actor> Drop for State<A> {
    /// However the partition ended: ractor kills what is left of its children, so they are forgotten here.
    fn drop(&mut self) {
        let children: Vec<Arc<Child<A>>> = {
            let mut table = lock(&self.pool.shard(self.index).table);
            table.open = false;
            if let Some(server) = table.server.take() {
                server.ended.cancel();
            }
            table.by_pid.clear();
            table.early.clear();
            table.by_key.values().cloned().collect()
        };
        for child in &children {
            self.pool.forget(child);
        }
    }
}

impl<A: Actor> State<A> {
    fn after(&mut self, myself: &ActorRef<Command<A>>, verdict: Verdict) -> Result<(), Failure> {
        match verdict {
            Verdict::Continue => Ok(()),
            Verdict::Escalate(reason) => self.close(myself, Some(reason)),
        }
    }

    /// Stops all children at once, each in the way of its spec; they are of one kind and know nothing of each other.
    fn close(&mut self, myself: &ActorRef<Command<A>>, reason: Option<String>) -> Result<(), Failure> {
        if self.closing.is_some() {
            return Ok(());
        }
        let Some(setup) = self.pool.setup() else { return Ok(()) };
        let children: Vec<Arc<Child<A>>> = {
            let mut table = lock(&self.pool.shard(self.index).table);
            table.open = false;
            table.by_key.values().cloned().collect()
        };
        let wait = match setup.plan.child.shutdown {
            Shutdown::BrutalKill => Some(Duration::ZERO),
            Shutdown::Within(timeout) => timeout.duration(),
        };
        for child in &children {
            match child.phase() {
                ChildPhase::Backoff => self.pool.forget(child),
                ChildPhase::Up if wait != Some(Duration::ZERO) => {
                    child.mailbox.begin_stop(setup.plan.child.stop_mode);
                }
                ChildPhase::Starting => {
                    child.mailbox.kill(StopReason::Asked);
                }
                // The timer kills it at once.
                ChildPhase::Up | ChildPhase::Gone => {}
            }
        }
        let timer = match wait {
            Some(wait) => Timed::cast(myself, wait, || Command::ShutdownOver),
            None => Timed::never(),
        };
        self.closing = Some(Closing { reason, timer });
        self.end_if_empty(myself)
    }

    fn end_if_empty(&mut self, myself: &ActorRef<Command<A>>) -> Result<(), Failure> {
        let empty = lock(&self.pool.shard(self.index).table).by_key.is_empty();
        match &self.closing {
            Some(closing) if empty => end(myself, closing.reason.clone()),
            _ => Ok(()),
        }
    }

    fn kill_rest(&mut self, myself: &ActorRef<Command<A>>) {
        let children: Vec<Arc<Child<A>>> = {
            let table = lock(&self.pool.shard(self.index).table);
            table.by_key.values().cloned().collect()
        };
        for child in &children {
            child.mailbox.kill(StopReason::ShutdownTimeout);
        }
        if let Some(closing) = &mut self.closing {
            closing.timer = Timed::cast(myself, KILL_WAIT_MAX, || Command::GiveUp);
        }
    }
}

fn end<A: Actor>(myself: &ActorRef<Command<A>>, reason: Option<String>) -> Result<(), Failure> {
    match reason {
        Some(reason) => Err(Box::new(Escalation { reason })),
        None => {
            myself.stop(None);
            Ok(())
        }
    }
}

impl<A: Actor> ractor::Actor for Partition<A> {
    type Msg = Command<A>;
    type State = State<A>;
    type Arguments = (Arc<PoolInner<A>>, usize, Taken);

    async fn pre_start(
        &self,
        myself: ActorRef<Command<A>>,
        (pool, index, place): Self::Arguments,
    ) -> Result<State<A>, ActorProcessingErr> {
        {
            let mut table = lock(&pool.shard(index).table);
            table.server = Some(Server { actor: myself, ended: CancellationToken::new() });
            table.open = true;
        }
        Ok(State { pool, index, closing: None, _place: place })
    }

    async fn handle(
        &self,
        myself: ActorRef<Command<A>>,
        command: Command<A>,
        state: &mut State<A>,
    ) -> Result<(), ActorProcessingErr> {
        match command {
            Command::Ended { pid, exit } => {
                let verdict = state.pool.child_ended(state.index, pid, exit);
                state.after(&myself, verdict)
            }
            Command::StartFailed { child, reason } => {
                let verdict = state.pool.decide(&child, Exit::Abnormal(reason));
                state.after(&myself, verdict)
            }
            Command::Close => state.close(&myself, None),
            Command::Left => state.end_if_empty(&myself),
            Command::ShutdownOver => {
                state.kill_rest(&myself);
                Ok(())
            }
            Command::GiveUp => {
                tracing::error!("killed children of a pool do not end; their handlers block a thread");
                let reason = state.closing.as_ref().and_then(|closing| closing.reason.clone());
                end(&myself, reason)
            }
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Command<A>>,
        event: SupervisionEvent,
        state: &mut State<A>,
    ) -> Result<(), ActorProcessingErr> {
        let Some((pid, exit)) = exit_of(event) else { return Ok(()) };
        let verdict = state.pool.child_ended(state.index, pid, exit);
        state.after(&myself, verdict)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Catalog, ChildStart, Context, Message, Plan, Tree};

    #[derive(Debug)]
    struct Never;

    impl Message for Never {
        fn kind(&self) -> &'static str {
            "never"
        }
    }

    struct Idle;

    impl Actor for Idle {
        type Message = Never;
        type Arguments = ();
        type State = ();

        async fn pre_start(&self, _: &Context<Never>, (): ()) -> Result<(), Failure> {
            Ok(())
        }

        async fn handle(&self, _: &Context<Never>, _: Never, (): &mut ()) -> Result<(), Failure> {
            Ok(())
        }
    }

    struct Above;

    impl ractor::Actor for Above {
        type Msg = ();
        type State = ();
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }

        async fn handle_supervisor_evt(
            &self,
            _: ActorRef<()>,
            _: SupervisionEvent,
            (): &mut (),
        ) -> Result<(), ActorProcessingErr> {
            Ok(())
        }
    }

    const PLAN: &str = r#"
schema = 1
[[supervisor]]
id = "root"
strategy = "one_for_one"
intensity = 1
period = "1h"
children = [{ id = "pool", type = "supervisor" }]
[[supervisor]]
id = "pool"
strategy = "simple_one_for_one"
max_children = 10
child = { start = "Idle", restart = "temporary" }
"#;

    #[tokio::test]
    async fn one_that_was_killed_is_gone_before_its_successor_begins() {
        let mut catalog = Catalog::new();
        let children = catalog.pool("Idle", || Idle);
        let tree = Tree::start(Plan::parse(PLAN, "test.toml").unwrap(), catalog).await.unwrap();
        let (above, _task) = ractor::Actor::spawn(None, Above, ()).await.unwrap();
        let left = children.start_child_with("left", ChildStart::with(|| ())).await.unwrap();
        // It comes before the one that the tree starts.
        let successor = tokio::spawn(start(Arc::clone(&children.0), 0, above.get_cell()));
        tokio::task::yield_now().await;
        tree.kill("root/pool/partition.0").unwrap();
        let _present = successor.await.unwrap().unwrap();
        assert_eq!((children.live(), children.get("left").is_some()), (0, false), "whose children are gone");
        assert!(children.is_up());
        let present = children.start_child_with("present", ChildStart::with(|| ())).await.unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(children.is_up());
        assert_eq!(children.live(), 1);
        present.send(Never).await.unwrap();
        assert!(left.send(Never).await.is_err());
    }
}
