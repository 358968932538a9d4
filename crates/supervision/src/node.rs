//! The tree as it stands: one node an entry of the plan, made once and kept across restarts.
//!
//! Supervisors write here what they decide, so that inspection, the watchdog and kills by path never wait for one.

use std::sync::{Arc, Mutex};

use ractor::ActorCell;
use tokio::time::Instant;

use crate::catalog::{Catalog, Starter};
use crate::cell::{Cell, Profile, StopReason};
use crate::delay::Delays;
use crate::inspect::Status;
use crate::plan::{
    BackoffPlan, ChildPlan, Children, Instances, PoolPlan, Restart, Role, Shutdown, StopMode, SupervisorPlan, Timeout,
    WorkerPlan,
};
use crate::pool::{PoolRuntime, PoolSetup};
use crate::supervisor::board::{ChildRules, Rules};
use crate::sync::lock;

/// How a node is started and stopped by its supervisor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    pub(crate) rules: ChildRules,
    pub(crate) shutdown: Shutdown,
    pub(crate) start_timeout: Timeout,
}

/// What a node is.
pub(crate) enum Kind {
    Worker {
        starter: Arc<dyn Starter>,
        instance: u32,
        cell: Arc<dyn Cell>,
        stop_mode: StopMode,
    },
    /// With a pool its children are the pool's partitions.
    Supervisor {
        rules: Rules,
        strategy: crate::plan::Strategy,
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

pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) path: Arc<str>,
    pub(crate) spec: Spec,
    pub(crate) kind: Kind,
    pub(crate) children: Vec<Arc<Node>>,
    pub(crate) record: Mutex<Record>,
}

impl Node {
    fn new(id: String, path: Arc<str>, spec: Spec, kind: Kind, children: Vec<Arc<Node>>) -> Arc<Self> {
        Arc::new(Self {
            id,
            path,
            spec,
            kind,
            children,
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
    pub(crate) fn walk<'a>(self: &'a Arc<Self>, visit: &mut dyn FnMut(&'a Arc<Self>)) {
        visit(self);
        for child in &self.children {
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
            for child in &self.children {
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

/// Builds the nodes of a plan, which must have passed its check against the catalog.
pub(crate) struct Builder<'a> {
    pub(crate) catalog: &'a Catalog,
    /// The next instance of each `start` name.
    pub(crate) numbers: std::collections::BTreeMap<String, u32>,
    /// The delay queue of each pool.
    pub(crate) delays: Vec<Arc<Delays>>,
}

impl Builder<'_> {
    pub(crate) fn root(&mut self, plan: &SupervisorPlan) -> Arc<Node> {
        let spec = Spec {
            rules: ChildRules { restart: Restart::Temporary, significant: false, backoff: BackoffPlan::default() },
            shutdown: Shutdown::Within(Timeout::Infinity),
            start_timeout: Timeout::Infinity,
        };
        self.supervisor(plan, Arc::from(plan.id.as_str()), spec)
    }

    fn supervisor(&mut self, plan: &SupervisorPlan, path: Arc<str>, spec: Spec) -> Arc<Node> {
        let rules = Rules {
            strategy: match plan.strategy {
                // A pool's own children are its partitions.
                crate::plan::Strategy::SimpleOneForOne => crate::plan::Strategy::OneForOne,
                listed => listed,
            },
            intensity: plan.intensity,
            period: plan.period,
            scope: plan.intensity_scope,
            auto_shutdown: plan.auto_shutdown,
        };
        let (pool, children) = match &plan.children {
            Children::List(list) => {
                let children = list.iter().flat_map(|child| self.child(child, &path)).collect();
                (None, children)
            }
            Children::Pool(pool) => self.pool(plan, pool, &path),
        };
        let kind = Kind::Supervisor { rules, strategy: plan.strategy, pool };
        Node::new(plan.id.clone(), path, spec, kind, children)
    }

    fn child(&mut self, plan: &ChildPlan, parent: &Arc<str>) -> Vec<Arc<Node>> {
        let spec = Spec {
            rules: ChildRules { restart: plan.restart, significant: plan.significant, backoff: plan.backoff },
            shutdown: plan.shutdown,
            start_timeout: plan.start_timeout,
        };
        match &plan.role {
            Role::Supervisor(supervisor) => {
                let path = format!("{parent}/{}", plan.id).into();
                vec![self.supervisor(supervisor, path, spec)]
            }
            Role::Worker(worker) => {
                let count = self.catalog.count(&worker.instances);
                let ids = (0..count).map(|number| match worker.instances {
                    Instances::One => plan.id.clone(),
                    Instances::Count(_) | Instances::Named(_) => format!("{}.{number}", plan.id),
                });
                ids.filter_map(|id| self.worker(worker, id, parent, spec)).collect()
            }
        }
    }

    fn worker(&mut self, plan: &WorkerPlan, id: String, parent: &Arc<str>, spec: Spec) -> Option<Arc<Node>> {
        let starter = Arc::clone(self.catalog.worker(&plan.start)?);
        let number = self.numbers.entry(plan.start.clone()).or_default();
        let instance = *number;
        *number += 1;
        let profile = Arc::new(Profile::new(Arc::clone(parent), plan.mailbox, plan.watchdog));
        let cell = starter.equip(instance, profile, id.as_str().into());
        let kind = Kind::Worker { starter, instance, cell, stop_mode: plan.stop_mode };
        let path = format!("{parent}/{id}").into();
        Some(Node::new(id, path, spec, kind, Vec::new()))
    }

    fn pool(
        &mut self,
        plan: &SupervisorPlan,
        pool: &PoolPlan,
        path: &Arc<str>,
    ) -> (Option<Arc<dyn PoolRuntime>>, Vec<Arc<Node>>) {
        let Some(runtime) = self.catalog.pool_of(&pool.child.start) else {
            return (None, Vec::new());
        };
        let delays = Arc::new(Delays::new());
        self.delays.push(Arc::clone(&delays));
        runtime.equip(PoolSetup {
            plan: pool.clone(),
            intensity: plan.intensity,
            period: plan.period,
            scope: plan.intensity_scope,
            profile: Arc::new(Profile::of_pool(Arc::clone(path), pool.child.mailbox, pool.child.watchdog, &delays)),
            delays,
        });
        let spec = Spec {
            rules: ChildRules { restart: Restart::Permanent, significant: false, backoff: pool.child.backoff },
            shutdown: Shutdown::Within(Timeout::Infinity),
            start_timeout: Timeout::Infinity,
        };
        let partitions = (0..pool.partitions).map(|number| {
            let id = format!("partition.{number}");
            let kind = Kind::Partition { pool: Arc::clone(runtime), index: number as usize };
            let path = format!("{path}/{id}").into();
            Node::new(id, path, spec, kind, Vec::new())
        });
        (Some(Arc::clone(runtime)), partitions.collect())
    }
}
