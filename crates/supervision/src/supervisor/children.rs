//! How a supervisor starts, stops and kills one child, whatever kind it is.

use std::sync::Arc;

use ractor::{ActorCell, ActorRef, MessagingErr};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::board::Standing;
use super::strategy::Exit;
use super::{Arguments, Command, KILL_WAIT_MAX, Parent, Serial, Supervisor};
use crate::actor::Failure;
use crate::cell::StopReason;
use crate::fault;
use crate::inspect::Status;
use crate::node::{Kind, Node};
use crate::plan::{Shutdown, Timeout};
use crate::sync::lock;

/// What happens when a child's deadline comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A child supervisor's children are not up in time.
    StartOver,
    /// An orderly stop took too long.
    ShutdownOver,
    /// A kill took too long.
    Abandon,
}

/// One child and what its supervisor is doing about it.
pub(super) struct Attendant {
    node: Arc<Node>,
    serial: Serial,
    actor: Option<ActorCell>,
    /// Whether a start task has not reported yet.
    in_flight: bool,
    /// Dropping it gives the start up.
    giving_up: Option<oneshot::Sender<()>>,
    deadline: Option<(Instant, Stage)>,
}

impl Attendant {
    pub(super) fn new(node: &Arc<Node>, serial: Serial) -> Self {
        Self { node: Arc::clone(node), serial, actor: None, in_flight: false, giving_up: None, deadline: None }
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub(super) fn serial(&self) -> Serial {
        self.serial
    }

    pub(super) fn pid(&self) -> Option<u64> {
        self.actor.as_ref().map(|actor| actor.get_id().pid())
    }

    pub(super) fn is_supervisor(&self) -> bool {
        matches!(self.node.kind, Kind::Supervisor { .. })
    }

    pub(super) fn is_starting(&self) -> bool {
        self.in_flight
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline.map(|(at, _)| at)
    }

    /// Starts the child in a task that reports [`Command::Started`], exactly once.
    pub(super) fn start(&mut self, myself: &ActorRef<Command>) {
        lock(&self.node.record).starts += 1;
        let (giving_up, given_up) = oneshot::channel();
        self.in_flight = true;
        self.giving_up = Some(giving_up);
        let (node, supervisor, child) = (Arc::clone(&self.node), myself.clone(), self.serial);
        let launch = async move {
            if node.cell().is_some() {
                fault::point_at("supervisor.start", &node.path).await?;
            }
            launch(node, supervisor, child).await
        };
        let limit = match self.node.kind {
            // A supervisor's actor starts at once; its limit is for its children to be up.
            Kind::Supervisor { .. } => Timeout::Infinity,
            Kind::Worker { .. } | Kind::Partition { .. } => self.node.spec().start_timeout,
        };
        let myself = myself.clone();
        tokio::spawn(async move {
            let outcome = tokio::select! {
                biased;
                // Resolves when the sender is dropped, also with a killed supervisor.
                _ = given_up => Err("the start was given up".to_owned()),
                outcome = within(limit, launch) => outcome,
            };
            let reported = myself.cast(Command::Started { child, outcome });
            if let Err(MessagingErr::SendErr(Command::Started { outcome: Ok(actor), .. })) = reported {
                // The supervisor has ended: nobody else knows this actor.
                actor.kill();
            }
        });
    }

    pub(super) fn start_failed(&mut self) {
        self.in_flight = false;
        self.giving_up = None;
    }

    pub(super) fn started(&mut self, actor: ActorCell) {
        self.in_flight = false;
        self.giving_up = None;
        self.actor = Some(actor);
        if let (true, Timeout::After(limit)) = (self.is_supervisor(), self.node.spec().start_timeout) {
            self.deadline = Some((Instant::now() + limit, Stage::StartOver));
        }
    }

    /// A child supervisor has its children up.
    pub(super) fn is_up(&mut self) {
        self.deadline = None;
    }

    /// Asks the child to stop; the deadline kills it. A start that still runs is given up.
    pub(super) fn stop(&mut self) {
        if self.in_flight {
            self.giving_up = None;
            // The start task reports the outcome: a failure, or an actor to be stopped.
            return;
        }
        match self.node.spec().shutdown {
            Shutdown::BrutalKill => self.kill(StopReason::Asked),
            Shutdown::Within(timeout) => {
                self.ask();
                self.deadline = timeout.duration().map(|limit| (Instant::now() + limit, Stage::ShutdownOver));
            }
        }
    }

    fn ask(&self) {
        match &self.node.kind {
            Kind::Worker { cell, .. } => cell.begin_stop(self.node.spec().stop_mode),
            Kind::Partition { pool, index } => pool.close_partition(*index),
            Kind::Supervisor { .. } => {
                if let Some(actor) = &self.actor {
                    // Refused only when it is ending already; its end will be told.
                    let _ = actor.send_message(Command::Shutdown);
                }
            }
        }
    }

    fn kill(&mut self, reason: StopReason) {
        match (self.node.cell(), &self.actor) {
            (Some(cell), _) => {
                cell.kill(reason);
            }
            (None, Some(actor)) => actor.kill(),
            (None, None) => {}
        }
        self.deadline = Some((Instant::now() + KILL_WAIT_MAX, Stage::Abandon));
    }

    /// Acts on a deadline that has come; an exit when the child is given up as ended.
    pub(super) fn due(&mut self, now: Instant) -> Option<Exit> {
        let (_, stage) = self.deadline.take_if(|(at, _)| *at <= now)?;
        match stage {
            Stage::StartOver => self.kill(StopReason::StartTimeout),
            Stage::ShutdownOver => {
                tracing::warn!(path = &*self.node.path, "shutdown timeout: killing");
                self.kill(StopReason::ShutdownTimeout);
            }
            Stage::Abandon => {
                tracing::error!(path = &*self.node.path, "a killed actor does not end: its handler blocks a thread");
                self.actor = None;
                return Some(Exit::Abnormal("killed, but it does not end".to_owned()));
            }
        }
        None
    }

    /// The child ended; returns its exit with what is known about a kill.
    pub(super) fn ended(&mut self, exit: Exit) -> Exit {
        self.actor = None;
        self.deadline = None;
        let reason = self.node.cell().and_then(|cell| cell.take_stop_reason());
        match (exit, reason) {
            (Exit::Abnormal(_), Some(reason)) => Exit::Abnormal(reason.to_string()),
            (exit, _) => exit,
        }
    }

    /// Writes the child's standing into its record.
    pub(super) fn publish(&self, standing: Standing) {
        let mut record = lock(&self.node.record);
        record.actor.clone_from(&self.actor);
        record.restart_at = None;
        record.status = match standing {
            Standing::Ended => Status::Stopped,
            Standing::Waiting { restarting: true, due } => {
                record.restart_at = Some(due);
                Status::Restarting
            }
            Standing::Waiting { restarting: false, .. } | Standing::Starting => Status::Starting,
            Standing::Up => Status::Running,
            Standing::Stopping => Status::Stopping,
        };
    }
}

/// A killed supervisor's children are killed with it.
pub(super) fn mark_stopped(node: &Arc<Node>) {
    node.walk(&mut |node| {
        let mut record = lock(&node.record);
        record.status = Status::Stopped;
        record.actor = None;
        record.restart_at = None;
    });
}

async fn within(limit: Timeout, launch: impl Future<Output = Result<ActorCell, Failure>>) -> Result<ActorCell, String> {
    let outcome = match limit {
        Timeout::Infinity => launch.await,
        Timeout::After(limit) => match tokio::time::timeout(limit, launch).await {
            Ok(outcome) => outcome,
            Err(_) => return Err(format!("it took more than start_timeout = {}", Timeout::After(limit))),
        },
    };
    outcome.map_err(|failure| failure.to_string())
}

async fn launch(node: Arc<Node>, myself: ActorRef<Command>, child: Serial) -> Result<ActorCell, Failure> {
    match &node.kind {
        Kind::Worker { starter, instance, .. } => starter.start(*instance, myself.get_cell()).await,
        Kind::Partition { pool, index } => Arc::clone(pool).start_partition(*index, myself.get_cell()).await,
        Kind::Supervisor { .. } => {
            // What ends marks the children as stopped.
            let place = node.place.take().await;
            let arguments = Arguments {
                node: Arc::clone(&node),
                place,
                parent: Parent::Supervisor { actor: myself.clone(), child },
                exit: None,
            };
            let (actor, _task) = myself.get_cell().spawn_linked(None, Supervisor, arguments).await.map_err(Box::new)?;
            Ok(actor.get_cell())
        }
    }
}
