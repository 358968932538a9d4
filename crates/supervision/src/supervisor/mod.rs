//! Supervisors as ractor actors: they carry out what the [`board`] decides.
//!
//! No handler waits: starts run in tasks of their own that report back, delays are one timer that is armed anew after
//! every event. So a supervisor whose child fails to start for a minute restarts another one meanwhile.

mod auto_shutdown;
pub(crate) mod backoff;
pub(crate) mod board;
mod children;
pub(crate) mod intensity;
pub(crate) mod strategy;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::actor::Failure;
use crate::fault;
use crate::node::{Kind, Node};
use crate::sync::{Taken, lock};
use crate::tree::Exit as TreeExit;

use board::{Action, Board, Closing};
use children::Attendant;
use strategy::Exit;

/// How long a killed actor may take to end before its supervisor goes on without it: its handler blocks a thread.
pub(crate) const KILL_WAIT_MAX: Duration = Duration::from_secs(5);

/// A supervisor's end because its intensity was exceeded.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Escalation {
    pub(crate) reason: String,
}

/// A message to come, taken back when this is dropped.
pub(crate) struct Timed(Option<AbortHandle>);

impl Timed {
    pub(crate) fn never() -> Self {
        Self(None)
    }

    pub(crate) fn cast<M: ractor::Message>(
        actor: &ActorRef<M>,
        delay: Duration,
        make: impl FnOnce() -> M + Send + 'static,
    ) -> Self {
        let actor = actor.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            // Refused only when the actor has ended.
            let _ = actor.cast(make());
        });
        Self(Some(task.abort_handle()))
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Which actor a supervision event says has ended, and how. Drops the state that ractor sends along.
pub(crate) fn exit_of(event: SupervisionEvent) -> Option<(u64, Exit)> {
    match event {
        SupervisionEvent::ActorTerminated(actor, state, reason) => {
            drop(state);
            // Only "killed" and "actor_task_cancelled" carry a reason here: both are abnormal.
            let exit = reason.map_or(Exit::Normal, Exit::Abnormal);
            Some((actor.get_id().pid(), exit))
        }
        SupervisionEvent::ActorFailed(actor, failure) => {
            let exit = match failure.downcast_ref::<Escalation>() {
                Some(escalation) => Exit::Escalated(escalation.reason.clone()),
                None => Exit::Abnormal(failure.to_string()),
            };
            Some((actor.get_id().pid(), exit))
        }
        SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => None,
    }
}

/// All that can happen to a supervisor, besides ractor's supervision events.
pub(crate) enum Command {
    /// A start task is done. The actor of a child supervisor is not up yet.
    Started { child: Serial, outcome: Result<ActorCell, String> },
    /// A child supervisor has all of its children up.
    Up { child: Serial, pid: u64 },
    /// An actor's state is dropped, after ractor told its end.
    Gone { pid: u64, exit: Exit },
    /// Something is due.
    Tick,
    /// What its node says has changed. `done` is let go once that is carried out.
    Reload { done: Option<oneshot::Sender<()>> },
    /// Stop the workers of these `start` names in order, and start them again. `done` is let go once that is carried out.
    Renew { starts: Arc<[String]>, done: oneshot::Sender<()> },
    /// Stop all children in order, then end.
    Shutdown,
}

/// Names a child of one incarnation of a supervisor, whoever comes and goes beside it.
pub(crate) type Serial = u64;

/// Whom a supervisor tells that its children are up.
pub(crate) enum Parent {
    Supervisor { actor: ActorRef<Command>, child: Serial },
    Tree { up: tokio::sync::watch::Sender<bool> },
}

pub(crate) struct Arguments {
    pub(crate) node: Arc<Node>,
    /// The node's.
    pub(crate) place: Taken,
    pub(crate) parent: Parent,
    /// Where the root says how it ended.
    pub(crate) exit: Option<Arc<Mutex<Option<TreeExit>>>>,
}

/// The ractor actor.
pub(crate) struct Supervisor;

pub(crate) struct State {
    node: Arc<Node>,
    parent: Option<Parent>,
    exit: Option<Arc<Mutex<Option<TreeExit>>>>,
    board: Board,
    /// In the order of the board.
    attendants: Vec<Attendant>,
    next_serial: Serial,
    /// Let go once all changes are carried out.
    changing: Vec<oneshot::Sender<()>>,
    /// Ends that were told before the start task had reported the actor.
    early: Vec<(u64, Exit)>,
    /// Child supervisors that had all of their children up before the start task had reported them.
    early_up: Vec<u64>,
    timer: Timed,
    /// Let go last.
    _place: Taken,
}

impl Drop for State {
    fn drop(&mut self) {
        // Whatever still ran below is killed by ractor with the supervisor.
        for child in &*self.node.children() {
            children::mark_stopped(child);
        }
    }
}

impl State {
    fn new(arguments: Arguments) -> Result<Self, Failure> {
        let Arguments { node, place, parent, exit } = arguments;
        let Some(conduct) = node.conduct() else {
            return Err("only a supervisor's node can be supervised from".into());
        };
        if let Some(pool) = node.pool() {
            pool.begin();
        }
        // Who was on the way out has ended with the incarnation of before.
        let children = node.wanted();
        node.set_children(Arc::clone(&children));
        let board = Board::new(conduct.rules, children.iter().map(|child| child.spec().rules), Instant::now());
        let attendants: Vec<Attendant> =
            (0..).zip(&*children).map(|(serial, child)| Attendant::new(child, serial)).collect();
        Ok(Self {
            next_serial: attendants.len() as Serial,
            node,
            parent: Some(parent),
            exit,
            board,
            attendants,
            changing: Vec::new(),
            early: Vec::new(),
            early_up: Vec::new(),
            timer: Timed::never(),
            _place: place,
        })
    }

    fn index_of(&self, serial: Serial) -> Option<usize> {
        self.attendants.iter().position(|attendant| attendant.serial() == serial)
    }

    /// Carries out what is to be done now, and arms the timer for what is due later.
    fn proceed(&mut self, myself: &ActorRef<Command>) -> Result<(), Failure> {
        let mut wake_at: Option<Instant> = None;
        for action in self.board.actions(Instant::now()) {
            match action {
                Action::Start(child) => self.attendants[child].start(myself),
                Action::Stop(child) => self.attendants[child].stop(),
                Action::WakeAt(at) => wake_at = Some(at),
                Action::End(closing) => {
                    self.publish();
                    return self.end(myself, closing);
                }
            }
        }
        self.let_go();
        self.publish();
        if self.board.is_arranged() {
            self.changing.clear();
        }
        if self.board.is_settled()
            && let Some(parent) = self.parent.take()
        {
            tell_up(parent, myself);
        }
        let deadlines = self.attendants.iter().filter_map(Attendant::deadline);
        let next = deadlines.chain(wake_at).min();
        self.timer = next.map_or_else(Timed::never, |at| {
            let delay = at.saturating_duration_since(Instant::now());
            Timed::cast(myself, delay, || Command::Tick)
        });
        Ok(())
    }

    fn end(&mut self, myself: &ActorRef<Command>, closing: Closing) -> Result<(), Failure> {
        let (exit, outcome) = match closing {
            Closing::Shutdown => (TreeExit::Shutdown, None),
            Closing::AutoShutdown => (TreeExit::AutoShutdown, None),
            Closing::Escalated { child, reason } => {
                let id = &self.attendants[child].node().id;
                let supervisor = self.node.path.to_string();
                let reason = format!("{supervisor}: too many restarts, the last of `{id}`: {reason}");
                let exit = TreeExit::Escalated { supervisor, reason: reason.clone() };
                (exit, Some(Escalation { reason }))
            }
        };
        tracing::info!(path = &*self.node.path, ?exit, "supervisor ends");
        if let Some(slot) = &self.exit {
            lock(slot).get_or_insert(exit);
        }
        match outcome {
            Some(escalation) => Err(Box::new(escalation)),
            None => {
                myself.stop(None);
                Ok(())
            }
        }
    }

    fn started(&mut self, myself: &ActorRef<Command>, serial: Serial, outcome: Result<ActorCell, String>) {
        let Some(child) = self.index_of(serial) else {
            // Given up after a kill that did not end it.
            if let Ok(actor) = outcome {
                actor.kill();
            }
            return;
        };
        match outcome {
            Err(reason) => {
                self.attendants[child].start_failed();
                self.ended(child, Exit::Abnormal(format!("start failed: {reason}")));
            }
            Ok(actor) => {
                let pid = actor.get_id().pid();
                let stopping = self.board.standing(child) == board::Standing::Stopping;
                if self.attendants[child].is_supervisor() {
                    // What changed while nobody could tell it.
                    let _ = actor.send_message(Command::Reload { done: None });
                }
                self.attendants[child].started(actor);
                if let Some(at) = self.early.iter().position(|(early, _)| *early == pid) {
                    let (_, exit) = self.early.swap_remove(at);
                    self.actor_ended(myself, pid, exit);
                } else if stopping {
                    self.attendants[child].stop();
                } else if !self.attendants[child].is_supervisor() || self.early_up.contains(&pid) {
                    self.attendants[child].is_up();
                    self.board.started(child, Instant::now());
                }
            }
        }
        if !self.attendants.iter().any(Attendant::is_starting) {
            self.early.clear();
            self.early_up.clear();
        }
    }

    fn up(&mut self, serial: Serial, pid: u64) {
        let Some(child) = self.index_of(serial) else { return };
        if self.attendants[child].pid() == Some(pid) {
            self.attendants[child].is_up();
            self.board.started(child, Instant::now());
        } else if self.attendants[child].is_starting() {
            self.early_up.push(pid);
        }
    }

    /// ractor told an end: it counts once the state of the actor is dropped.
    fn actor_ended(&mut self, myself: &ActorRef<Command>, pid: u64, exit: Exit) {
        let Some(child) = self.attendants.iter().position(|child| child.pid() == Some(pid)) else {
            if self.attendants.iter().any(Attendant::is_starting) {
                self.early.push((pid, exit));
            }
            return;
        };
        if let Some(cell) = self.attendants[child].node().cell()
            && !cell.is_gone()
        {
            let (cell, myself) = (Arc::clone(cell), myself.clone());
            tokio::spawn(async move {
                cell.gone().await;
                // Refused only when the supervisor has ended.
                let _ = myself.cast(Command::Gone { pid, exit });
            });
            return;
        }
        let exit = self.attendants[child].ended(exit);
        self.ended(child, exit);
    }

    fn ended(&mut self, child: usize, exit: Exit) {
        let now = Instant::now();
        let node = Arc::clone(self.attendants[child].node());
        let asked = self.board.standing(child) == board::Standing::Stopping;
        if let (Exit::Escalated(reason), Kind::Partition { .. }) = (&exit, &node.kind) {
            // A pool is one supervisor: the intensity of its partitions is its own.
            return self.board.escalated(child, reason.clone());
        }
        let restarts = self.board.ended(child, &exit, now, fastrand::f64());
        let mut record = lock(&node.record);
        record.restarts += u64::from(restarts);
        if !exit.is_normal() && !asked {
            tracing::warn!(path = &*node.path, reason = exit.reason(), restarts, "child failed");
            record.last_failure = Some((exit.reason().to_owned(), now));
        }
        drop(record);
        if restarts {
            fault::notice("supervisor.backoff", &node.path);
        }
    }

    fn due(&mut self) {
        let now = Instant::now();
        for child in 0..self.attendants.len() {
            if let Some(exit) = self.attendants[child].due(now) {
                self.ended(child, exit);
            }
        }
    }

    /// Takes over what the node says by now, and whom it wants.
    fn reload(&mut self, done: Option<oneshot::Sender<()>>) {
        self.changing.extend(done);
        if let Some(conduct) = self.node.conduct() {
            self.board.set_rules(conduct.rules);
        }
        if self.board.is_closing() {
            return;
        }
        let mut before: Vec<Option<Attendant>> = std::mem::take(&mut self.attendants).into_iter().map(Some).collect();
        let mut arranged = Vec::new();
        for node in &*self.node.wanted() {
            let known =
                before.iter().position(|known| known.as_ref().is_some_and(|known| Arc::ptr_eq(known.node(), node)));
            let kept = known.and_then(|index| before[index].take());
            arranged.push((known, node.spec().rules));
            self.attendants.push(kept.unwrap_or_else(|| {
                self.next_serial += 1;
                Attendant::new(node, self.next_serial)
            }));
        }
        self.attendants.extend(before.into_iter().flatten());
        self.board.arrange(&arranged, Instant::now());
        self.show_children();
    }

    fn renew(&mut self, starts: &[String], done: oneshot::Sender<()>) {
        self.changing.push(done);
        for (index, attendant) in self.attendants.iter().enumerate() {
            if let Kind::Worker { start, .. } = &attendant.node().kind
                && starts.contains(start)
            {
                tracing::info!(path = &*attendant.node().path, "renewed");
                self.board.renew(index, Instant::now());
            }
        }
    }

    /// Forgets who has left.
    fn let_go(&mut self) {
        let mut any = false;
        while let Some(index) = self.board.take_left() {
            let attendant = self.attendants.remove(index);
            children::mark_stopped(attendant.node());
            any = true;
        }
        if any {
            self.show_children();
        }
    }

    fn show_children(&self) {
        self.node.set_children(self.attendants.iter().map(|attendant| Arc::clone(attendant.node())).collect());
    }

    /// Writes the standing of all children where inspection reads it.
    fn publish(&self) {
        for (index, attendant) in self.attendants.iter().enumerate() {
            attendant.publish(self.board.standing(index));
        }
        let restarts = self.board.restarts_in_period(Instant::now());
        lock(&self.node.record).restarts_in_period = restarts;
    }
}

fn tell_up(parent: Parent, myself: &ActorRef<Command>) {
    match parent {
        Parent::Supervisor { actor, child } => {
            let pid = myself.get_id().pid();
            // Refused only when the parent has ended, and this supervisor with it.
            let _ = actor.cast(Command::Up { child, pid });
        }
        Parent::Tree { up } => {
            up.send_replace(true);
        }
    }
}

impl ractor::Actor for Supervisor {
    type Msg = Command;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(&self, myself: ActorRef<Command>, arguments: Arguments) -> Result<State, ActorProcessingErr> {
        let state = State::new(arguments)?;
        myself.cast(Command::Tick)?;
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Command>,
        command: Command,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match command {
            Command::Started { child, outcome } => state.started(&myself, child, outcome),
            Command::Up { child, pid } => state.up(child, pid),
            Command::Gone { pid, exit } => state.actor_ended(&myself, pid, exit),
            Command::Tick => state.due(),
            Command::Reload { done } => state.reload(done),
            Command::Renew { starts, done } => state.renew(&starts, done),
            Command::Shutdown => state.board.close(Closing::Shutdown),
        }
        state.proceed(&myself)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Command>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let Some((pid, exit)) = exit_of(event) else { return Ok(()) };
        state.actor_ended(&myself, pid, exit);
        state.proceed(&myself)
    }
}
