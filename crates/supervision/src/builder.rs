//! From a plan to nodes, at the start and again for what a reload adds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::catalog::Catalog;
use crate::cell::Profile;
use crate::delay::Delays;
use crate::node::{Conduct, Kind, Node, Spec};
use crate::plan::{
    BackoffPlan, ChildPlan, Children, Instances, PoolPlan, Problem, Restart, Role, SupervisorPlan, WorkerPlan,
};
use crate::pool::{PoolRuntime, PoolSetup};

/// Which instance of its `start` each worker is, by path, and where each pool is. That holds for as long as the program runs, because
/// addresses were given out by it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seats {
    workers: BTreeMap<String, (String, u32)>,
    /// The next instance of each `start` name.
    next: BTreeMap<String, u32>,
    /// By `start` name: the path, and the number of partitions.
    pools: BTreeMap<String, (String, u32)>,
}

impl Seats {
    /// How many instances of each `start` name there are or were.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&str, u32)> {
        self.next.iter().map(|(start, count)| (start.as_str(), *count))
    }

    /// Gives each worker of a plan its number: the one that it had, else, in the order of the file, one that nobody had.
    ///
    /// # Errors
    /// What would take addresses along that were given out: it takes a restart of the program.
    pub(crate) fn assign(&mut self, plan: &SupervisorPlan, catalog: &Catalog) -> Result<(), Vec<Problem>> {
        let mut wanted = Vec::new();
        let mut problems = Vec::new();
        self.visit(plan, &plan.id, catalog, &mut wanted, &mut problems);
        for (path, start, line) in &wanted {
            if self.workers.get(path).is_some_and(|(known, _)| known == start) {
                continue;
            }
            let is_known = |known: &str| wanted.iter().any(|(path, other, _)| path == known && other == start);
            let left = self.workers.iter().find(|(known, (other, _))| other == start && !is_known(known));
            if let (true, Some((left, _))) = (catalog.is_each_start_once(), left) {
                let message = format!("`{start}` moves from `{left}` to `{path}`: that takes a restart of the program");
                problems.push(Problem { line: *line, message });
                continue;
            }
            let next = self.next.entry(start.clone()).or_default();
            self.workers.insert(path.clone(), (start.clone(), *next));
            *next += 1;
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn visit(
        &mut self,
        plan: &SupervisorPlan,
        path: &str,
        catalog: &Catalog,
        wanted: &mut Vec<(String, String, usize)>,
        problems: &mut Vec<Problem>,
    ) {
        let children = match &plan.children {
            Children::List(children) => children,
            Children::Pool(pool) => return self.pool(pool, path, plan.line, problems),
        };
        for child in children {
            match &child.role {
                Role::Supervisor(supervisor) => {
                    self.visit(supervisor, &format!("{path}/{}", child.id), catalog, wanted, problems);
                }
                Role::Worker(worker) => {
                    let ids = ids(&child.id, worker, catalog);
                    wanted.extend(ids.map(|id| (format!("{path}/{id}"), worker.start.clone(), child.line)));
                }
            }
        }
    }

    fn pool(&mut self, pool: &PoolPlan, path: &str, line: usize, problems: &mut Vec<Problem>) {
        let start = &pool.child.start;
        let place = (path.to_owned(), pool.partitions);
        let (known, partitions) = self.pools.entry(start.clone()).or_insert(place);
        if known != path {
            let message =
                format!("the pool of `{start}` moves from `{known}` to `{path}`: that takes a restart of the program");
            problems.push(Problem { line, message });
        } else if *partitions != pool.partitions {
            let message = format!(
                "`partitions` of `{path}` changes from {partitions} to {}: that takes a restart of the program",
                pool.partitions
            );
            problems.push(Problem { line, message });
        }
    }

    fn of(&self, path: &str) -> Option<u32> {
        self.workers.get(path).map(|(_, instance)| *instance)
    }
}

/// The ids of a worker's instances.
fn ids<'a>(id: &'a str, worker: &'a WorkerPlan, catalog: &Catalog) -> impl Iterator<Item = String> + use<'a> {
    (0..catalog.count(&worker.instances)).map(move |number| match worker.instances {
        Instances::One => id.to_owned(),
        Instances::Count(_) | Instances::Named(_) => format!("{id}.{number}"),
    })
}

/// Builds the nodes of a plan, which must have passed its check against the catalog and have its seats.
pub(crate) struct Builder<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) seats: &'a Seats,
    /// The delay queue of each pool that was built.
    pub(crate) delays: Vec<Arc<Delays>>,
}

impl Builder<'_> {
    pub(crate) fn root(&mut self, plan: &SupervisorPlan) -> Arc<Node> {
        let spec = Spec::unlimited(Restart::Temporary, BackoffPlan::default());
        self.supervisor(plan, Arc::from(plan.id.as_str()), spec)
    }

    fn supervisor(&mut self, plan: &SupervisorPlan, path: Arc<str>, spec: Spec) -> Arc<Node> {
        let (pool, children) = match &plan.children {
            Children::List(list) => {
                let children = list.iter().flat_map(|child| self.child(child, &path)).collect();
                (None, children)
            }
            Children::Pool(pool) => self.pool(plan, pool, &path),
        };
        let kind = Kind::Supervisor { conduct: Mutex::new(Conduct::of(&plan.policy())), pool };
        Node::new((plan.id.clone(), &plan.id), path, spec, kind, children)
    }

    /// The nodes of an entry: one for each instance.
    pub(crate) fn child(&mut self, plan: &ChildPlan, parent: &Arc<str>) -> Vec<Arc<Node>> {
        let spec = Spec::of(&plan.policy());
        match &plan.role {
            Role::Supervisor(supervisor) => {
                let path = format!("{parent}/{}", plan.id).into();
                vec![self.supervisor(supervisor, path, spec)]
            }
            Role::Worker(worker) => ids(&plan.id, worker, self.catalog)
                .filter_map(|id| self.worker(worker, (id, &plan.id), parent, spec))
                .collect(),
        }
    }

    fn worker(
        &self,
        plan: &WorkerPlan,
        (id, entry): (String, &str),
        parent: &Arc<str>,
        spec: Spec,
    ) -> Option<Arc<Node>> {
        let starter = Arc::clone(self.catalog.worker(&plan.start)?);
        let path: Arc<str> = format!("{parent}/{id}").into();
        let instance = self.seats.of(&path)?;
        let profile = Arc::new(Profile::new(Arc::clone(parent), plan.mailbox, plan.watchdog));
        let cell = starter.equip(instance, profile, id.as_str().into());
        let kind = Kind::Worker { start: plan.start.clone(), starter, instance, cell };
        let node = Node::new((id, entry), path, spec, kind, Vec::new());
        // One that was here before has its mailbox, with the limits of then.
        node.set_limits(&plan.policy());
        Some(node)
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
        let spec = Spec::unlimited(Restart::Permanent, pool.child.backoff);
        let partitions = (0..pool.partitions).map(|number| {
            let id = format!("partition.{number}");
            let kind = Kind::Partition { pool: Arc::clone(runtime), index: number as usize };
            let path = format!("{path}/{id}").into();
            Node::new((id, "partition"), path, spec, kind, Vec::new())
        });
        (Some(Arc::clone(runtime)), partitions.collect())
    }
}
