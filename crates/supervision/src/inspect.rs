//! The running tree as data, for an operator's console, a command line and tests.
//!
//! Ages and times are in milliseconds or microseconds before the moment of the snapshot, never absolute.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;
use tokio::time::Instant;

use crate::cell::{CellView, Profile};
use crate::histogram::Quantiles;
use crate::mailbox::Phase;
use crate::node::{Kind, Node};
use crate::sync::lock;

/// Where a child is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for its turn, or its start runs.
    Starting,
    /// Takes messages.
    Running,
    /// Failed and waits for its restart.
    Restarting,
    /// Asked to stop.
    Stopping,
    /// Ended, and not to be started again by itself.
    Stopped,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// A supervisor with a list of children.
    Supervisor,
    /// A supervisor of many children of one kind.
    Pool,
    /// A pool's share.
    Partition,
    /// An actor.
    Worker,
}

/// A whole tree at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Snapshot {
    /// How many actors run: workers, pool children and supervisors.
    pub actors: usize,
    /// The root supervisor, with all below it.
    pub root: NodeSnapshot,
}

impl Snapshot {
    /// The node at a path, for instance `root/stream/writer.0`; pool children are not nodes.
    pub fn find(&self, path: &str) -> Option<&NodeSnapshot> {
        self.root.find(path)
    }
}

/// One entry of the tree.
#[derive(Debug, Clone, Serialize)]
pub struct NodeSnapshot {
    /// Its id in the file; instances and partitions with their number.
    pub id: String,
    /// Its place in the tree.
    pub path: String,
    /// What it is.
    pub kind: NodeKind,
    /// For supervisors: who is restarted with a failed child.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<crate::plan::Strategy>,
    /// For supervisors: how many restarts within `period_ms` are borne.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intensity: Option<u32>,
    /// For supervisors: see `intensity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_ms: Option<u64>,
    /// Where it is in its life.
    pub status: Status,
    /// Of the actor that runs: ractor's process id, which no other actor of this process has or had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u64>,
    /// 0 at the first start, one more at each further one.
    pub incarnation: u64,
    /// How often it failed and was scheduled to start again.
    pub restarts: u64,
    /// For supervisors: how many restarts of children count against the intensity now.
    pub restarts_in_period: usize,
    /// When a restart is due, from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_in_ms: Option<u64>,
    /// The last abnormal end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<FailureSnapshot>,
    /// For workers: the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mailbox: Option<MailboxSnapshot>,
    /// For workers and pools: how long messages wait and how long their handling takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timing: Option<TimingSnapshot>,
    /// For pools: the children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolSnapshot>,
    /// What it supervises, in the order of starting.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<NodeSnapshot>,
}

impl NodeSnapshot {
    fn find(&self, path: &str) -> Option<&Self> {
        if self.path == path {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(path))
    }
}

/// An abnormal end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailureSnapshot {
    /// What happened.
    pub reason: String,
    /// How long ago.
    pub ago_ms: u64,
}

/// A worker's queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MailboxSnapshot {
    /// Messages queued.
    pub depth: usize,
    /// Messages that may be queued.
    pub capacity: usize,
    /// What happens to a further one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overflow: Option<crate::plan::Overflow>,
    /// Messages refused by `reject`, since the tree started.
    pub rejected: u64,
    /// Messages dropped by `drop_oldest` and `drop_newest`, since the tree started.
    pub dropped: u64,
    /// Messages handled, since the tree started.
    pub handled: u64,
    /// The message in work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<CurrentSnapshot>,
}

/// The message in work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CurrentSnapshot {
    /// Its kind.
    pub kind: &'static str,
    /// How long it has been in work.
    pub for_ms: u64,
}

/// How long messages wait and take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TimingSnapshot {
    /// From queued to taken.
    pub waiting: Quantiles,
    /// From taken to handled.
    pub handling: Quantiles,
    /// How often the watchdog found a handler over its limit.
    pub hung: u64,
}

/// A pool's children.
#[derive(Debug, Clone, Serialize)]
pub struct PoolSnapshot {
    /// Children at present.
    pub live: usize,
    /// Children that there may be.
    pub max_children: usize,
    /// Starts that succeeded, restarts included, since the tree started.
    pub started: u64,
    /// Children that ended for good.
    pub ended: u64,
    /// Restarts that were tried.
    pub restarted: u64,
    /// Children that failed too often.
    pub given_up: u64,
    /// Entries in the delay queue.
    pub deadlines: usize,
    /// The first children in the order of their keys; `Tree::children` has the further ones.
    pub children: Vec<PoolChildSnapshot>,
}

/// A pool child.
#[derive(Debug, Clone, Serialize)]
pub struct PoolChildSnapshot {
    /// Its key.
    pub key: String,
    /// Its place in the tree.
    pub path: String,
    /// Where it is in its life.
    pub status: Status,
    /// 0 at the first start, one more at each further one.
    pub incarnation: u64,
    /// The last abnormal end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// The queue.
    pub mailbox: MailboxSnapshot,
}

impl PoolChildSnapshot {
    pub(crate) fn new(
        key: &str,
        path: &str,
        status: Status,
        last_failure: Option<String>,
        view: &CellView,
        now: Instant,
    ) -> Self {
        Self {
            key: key.to_owned(),
            path: path.to_owned(),
            status,
            incarnation: view.incarnation,
            last_failure,
            mailbox: mailbox_snapshot(view, now),
        }
    }
}

fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn mailbox_snapshot(view: &CellView, now: Instant) -> MailboxSnapshot {
    MailboxSnapshot {
        depth: view.depth,
        capacity: view.limit.map_or(0, |limit| limit.capacity),
        overflow: view.limit.map(|limit| limit.overflow),
        rejected: view.rejected,
        dropped: view.dropped,
        handled: view.handled,
        current: view.current.map(|current| CurrentSnapshot {
            kind: current.kind,
            for_ms: ms(now.saturating_duration_since(current.since)),
        }),
    }
}

impl TimingSnapshot {
    pub(crate) fn of(profile: &Profile) -> Self {
        Self {
            waiting: profile.waiting.quantiles(),
            handling: profile.handling.quantiles(),
            hung: profile.hung.load(Ordering::Relaxed),
        }
    }
}

fn timing(node: &Node) -> Option<TimingSnapshot> {
    match (node.cell(), node.pool()) {
        (Some(cell), _) => cell.profile().map(|profile| TimingSnapshot::of(profile)),
        (None, Some(pool)) => pool.timing(),
        (None, None) => None,
    }
}

/// Takes a snapshot; of each pool the first `children_max` children.
pub(crate) fn snapshot(root: &Arc<Node>, children_max: usize) -> Snapshot {
    Snapshot { actors: actor_count(root), root: node_snapshot(root, children_max, Instant::now()) }
}

fn node_snapshot(node: &Arc<Node>, children_max: usize, now: Instant) -> NodeSnapshot {
    let view = node.cell().map(|cell| cell.view());
    let kind = match &node.kind {
        Kind::Worker { .. } => NodeKind::Worker,
        Kind::Partition { .. } => NodeKind::Partition,
        Kind::Supervisor { pool: Some(_), .. } => NodeKind::Pool,
        Kind::Supervisor { .. } => NodeKind::Supervisor,
    };
    let conduct = node.conduct();
    let pool_restarts = node.pool().map_or(0, |pool| pool.restarts_in_period());
    let record = lock(&node.record);
    NodeSnapshot {
        id: node.id.clone(),
        path: node.path.to_string(),
        kind,
        strategy: conduct.map(|conduct| conduct.strategy),
        intensity: conduct.map(|conduct| conduct.rules.intensity),
        period_ms: conduct.map(|conduct| ms(conduct.rules.period)),
        status: record.status,
        pid: record.actor.as_ref().map(|actor| actor.get_id().pid()),
        incarnation: record.starts.saturating_sub(1),
        restarts: record.restarts,
        restarts_in_period: record.restarts_in_period + pool_restarts,
        restart_in_ms: record.restart_at.map(|at| ms(at.saturating_duration_since(now))),
        last_failure: record.last_failure.as_ref().map(|(reason, at)| FailureSnapshot {
            reason: reason.clone(),
            ago_ms: ms(now.saturating_duration_since(*at)),
        }),
        mailbox: view.map(|view| mailbox_snapshot(&view, now)),
        timing: timing(node),
        pool: node.pool().map(|pool| pool.snapshot(children_max)),
        children: node.children().iter().map(|child| node_snapshot(child, children_max, now)).collect(),
    }
}

/// How many actors run: workers and pool children that are not down, and supervisors.
pub(crate) fn actor_count(root: &Arc<Node>) -> usize {
    let mut count = 0;
    root.walk(&mut |node| {
        let runs = match node.cell() {
            Some(cell) => cell.view().phase != Phase::Down,
            None => lock(&node.record).actor.is_some(),
        };
        count += usize::from(runs);
        if let Some(pool) = node.pool() {
            count += pool.live_count();
        }
    });
    count
}
