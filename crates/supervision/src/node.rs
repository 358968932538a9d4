//! The tree as it stands: one node an entry of the plan, made once and kept across restarts.
//!
//! Supervisors write here what they decide, so that inspection, the watchdog and kills by path never wait for one.

use std::sync::{Arc, Mutex};

use ractor::ActorCell;
use tokio::time::Instant;

use crate::catalog::Starter;
use crate::cell::{Cell, StopReason};
use crate::inspect::Status;
use crate::plan::{
    BackoffPlan, ChildPolicy, Restart, Shutdown, StopMode, Strategy, SupervisorPolicy, Timeout, WorkerPolicy,
};
use crate::pool::PoolRuntime;
use crate::supervisor::board::{ChildRules, Rules};
use crate::sync::{Place, lock};

/// How a node is started and stopped by its supervisor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    pub(crate) rules: ChildRules,
    pub(crate) shutdown: Shutdown,
    pub(crate) start_timeout: Timeout,
    /// Of workers.
    pub(crate) stop_mode: StopMode,
}

impl Spec {
    /// Of the root, and of a pool's partitions: nobody else decides about them.
    pub(crate) fn unlimited(restart: Restart, backoff: BackoffPlan) -> Self {
        Self {
            rules: ChildRules { restart, significant: false, backoff },
            shutdown: Shutdown::Within(Timeout::Infinity),
            start_timeout: Timeout::Infinity,
            stop_mode: StopMode::Drain,
        }
    }

    pub(crate) fn of(policy: &ChildPolicy) -> Self {
        let ChildPolicy { restart, shutdown, start_timeout, significant, backoff } = *policy;
        let rules = ChildRules { restart, significant, backoff };
        Self { rules, shutdown, start_timeout, stop_mode: StopMode::Drain }
    }
}

/// What a supervisor does about ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conduct {
    pub(crate) rules: Rules,
    /// As the file has it.
    pub(crate) strategy: Strategy,
}

impl Conduct {
    pub(crate) fn of(policy: &SupervisorPolicy) -> Self {
        let SupervisorPolicy { strategy, intensity, period, intensity_scope, auto_shutdown } = *policy;
        let listed = match strategy {
            // A pool's own children are its partitions.
            Strategy::SimpleOneForOne => Strategy::OneForOne,
            listed => listed,
        };
        let rules = Rules { strategy: listed, intensity, period, scope: intensity_scope, auto_shutdown };
        Self { rules, strategy }
    }
}

/// What a node is; that never changes.
pub(crate) enum Kind {
    Worker {
        start: String,
        starter: Arc<dyn Starter>,
        instance: u32,
        cell: Arc<dyn Cell>,
    },
    /// With a pool its children are the pool's partitions.
    Supervisor {
        conduct: Mutex<Conduct>,
        pool: Option<Arc<dyn PoolRuntime>>,
    },
    Partition {
        pool: Arc<dyn PoolRuntime>,
        index: usize,
    },
}

/// What is known of a node at present.
pub(crate) struct Record {
    pub(crate) status: Status,
    pub(crate) actor: Option<ActorCell>,
    /// Starts so far.
    pub(crate) starts: u64,
    pub(crate) restarts: u64,
    /// For a supervisor: the restarts that its intensity counts now.
    pub(crate) restarts_in_period: usize,
    pub(crate) last_failure: Option<(String, Instant)>,
    pub(crate) restart_at: Option<Instant>,
}

/// Children in the order of starting.
pub(crate) type Children = Arc<[Arc<Node>]>;

struct Family {
    /// Those that there are, with those that are on their way out.
    present: Children,
    /// Those that the plan has.
    wanted: Children,
}

pub(crate) struct Node {
    pub(crate) id: String,
    /// Its id in the plan, which all instances have in common.
    pub(crate) entry: String,
    pub(crate) path: Arc<str>,
    pub(crate) kind: Kind,
    spec: Mutex<Spec>,
    family: Mutex<Family>,
    /// Of a supervisor's incarnations.
    pub(crate) place: Place,
    pub(crate) record: Mutex<Record>,
}

impl Node {
    pub(crate) fn new(
        (id, entry): (String, &str),
        path: Arc<str>,
        spec: Spec,
        kind: Kind,
        children: Vec<Arc<Node>>,
    ) -> Arc<Self> {
        let present: Children = children.into();
        Arc::new(Self {
            id,
            entry: entry.to_owned(),
            path,
            kind,
            spec: Mutex::new(spec),
            place: Place::default(),
            family: Mutex::new(Family { wanted: Arc::clone(&present), present }),
            record: Mutex::new(Record {
                status: Status::Stopped,
                actor: None,
                starts: 0,
                restarts: 0,
                restarts_in_period: 0,
                last_failure: None,
                restart_at: None,
            }),
        })
    }

    pub(crate) fn spec(&self) -> Spec {
        *lock(&self.spec)
    }

    pub(crate) fn set_spec(&self, spec: Spec) {
        *lock(&self.spec) = spec;
    }

    /// A supervisor's; `None` of others.
    pub(crate) fn conduct(&self) -> Option<Conduct> {
        match &self.kind {
            Kind::Supervisor { conduct, .. } => Some(*lock(conduct)),
            Kind::Worker { .. } | Kind::Partition { .. } => None,
        }
    }

    /// Those that there are, with those that are on their way out.
    pub(crate) fn children(&self) -> Children {
        Arc::clone(&lock(&self.family).present)
    }

    /// Those that the plan has; the supervisor sees to it that they are those that there are.
    pub(crate) fn wanted(&self) -> Children {
        Arc::clone(&lock(&self.family).wanted)
    }

    pub(crate) fn set_children(&self, present: Children) {
        lock(&self.family).present = present;
    }

    pub(crate) fn want(&self, wanted: Children) {
        lock(&self.family).wanted = wanted;
    }

    /// Carries a change of a worker's limits out; whoever waits for room looks again.
    pub(crate) fn set_limits(&self, policy: &WorkerPolicy) {
        lock(&self.spec).stop_mode = policy.stop_mode;
        if let Some(cell) = self.cell() {
            if let Some(profile) = cell.profile() {
                profile.set(policy.mailbox, policy.watchdog);
            }
            cell.limits_changed();
        }
    }

    pub(crate) fn cell(&self) -> Option<&Arc<dyn Cell>> {
        match &self.kind {
            Kind::Worker { cell, .. } => Some(cell),
            Kind::Supervisor { .. } | Kind::Partition { .. } => None,
        }
    }

    pub(crate) fn pool(&self) -> Option<&Arc<dyn PoolRuntime>> {
        match &self.kind {
            Kind::Supervisor { pool, .. } => pool.as_ref(),
            Kind::Worker { .. } | Kind::Partition { .. } => None,
        }
    }

    /// Calls `visit` for this node and all below it, a parent before its children.
    pub(crate) fn walk(self: &Arc<Self>, visit: &mut dyn FnMut(&Arc<Self>)) {
        visit(self);
        for child in &*self.children() {
            child.walk(visit);
        }
    }

    /// Calls `visit` for each worker and each child of a pool.
    pub(crate) fn for_each_cell(self: &Arc<Self>, visit: &mut dyn FnMut(&dyn Cell)) {
        self.walk(&mut |node| {
            if let Some(cell) = node.cell() {
                visit(&**cell);
            }
            if let Some(pool) = node.pool() {
                pool.for_each_cell(visit);
            }
        });
    }

    /// Kills what a path names; false when nothing runs there.
    pub(crate) fn kill(self: &Arc<Self>, path: &str) -> bool {
        let mut killed = false;
        self.walk(&mut |node| {
            if *node.path == *path {
                killed |= node.kill_self();
            } else if let (Some(pool), Some(key)) = (node.pool(), path.strip_prefix(&*node.path)) {
                killed |= key.strip_prefix('/').is_some_and(|key| pool.kill(key));
            }
        });
        killed
    }

    /// Kills what runs here. With a supervisor goes all below it, in the order of the tree: ractor would do it in the order of a hash
    /// table, another one each time.
    pub(crate) fn kill_self(self: &Arc<Self>) -> bool {
        if let Some(cell) = self.cell() {
            return cell.kill(StopReason::Asked);
        }
        let killed = self.kill_supervisor();
        if killed && !matches!(self.kind, Kind::Partition { .. }) {
            for child in &*self.children() {
                child.kill_self();
            }
            if let Some(pool) = self.pool() {
                pool.for_each_cell(&mut |cell| {
                    cell.kill(StopReason::Asked);
                });
            }
        }
        killed
    }

    fn kill_supervisor(&self) -> bool {
        match &lock(&self.record).actor {
            Some(actor) => {
                actor.kill();
                true
            }
            None => false,
        }
    }
}
