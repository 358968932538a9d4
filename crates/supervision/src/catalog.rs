//! What the `start` names of the file mean in this program.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use ractor::ActorCell;

use crate::actor::{Actor, Failure, Message};
use crate::address::Group;
use crate::cell::{Cell, Profile};
use crate::plan::{Children, Instances, Plan, PlanError, Problem, Role, SupervisorPlan};
use crate::pool::{Pool, PoolRuntime};
use crate::shell;

/// Starts the instances of one `start` name, without its types.
pub(crate) trait Starter: Send + Sync {
    fn equip(&self, instance: u32, profile: Arc<Profile>, name: Arc<str>) -> Arc<dyn Cell>;
    fn start(&self, instance: u32, supervisor: ActorCell) -> BoxFuture<'static, Result<ActorCell, Failure>>;
    /// Fixes the number of instances; false when an address beyond it was given out.
    fn fix_len(&self, len: u32) -> bool;
    /// There are more instances from now on.
    fn extend_to(&self, len: u32);
}

type ArgumentsOf<A> = Arc<dyn Fn(u32) -> <A as Actor>::Arguments + Send + Sync>;

struct WorkerStarter<A: Actor> {
    make: Arc<dyn Fn() -> A + Send + Sync>,
    arguments: ArgumentsOf<A>,
    group: Group<A::Message>,
}

impl<A: Actor> Starter for WorkerStarter<A> {
    fn equip(&self, instance: u32, profile: Arc<Profile>, name: Arc<str>) -> Arc<dyn Cell> {
        let mailbox = self.group.mailbox(instance);
        mailbox.equip(profile, name, instance);
        mailbox
    }

    fn start(&self, instance: u32, supervisor: ActorCell) -> BoxFuture<'static, Result<ActorCell, Failure>> {
        let mailbox = self.group.mailbox(instance);
        let (make, arguments) = (Arc::clone(&self.make), Arc::clone(&self.arguments));
        let make: shell::Make<A> = Box::new(move || (make(), arguments(instance)));
        Box::pin(shell::start(mailbox, make, supervisor))
    }

    fn fix_len(&self, len: u32) -> bool {
        self.group.fix_len(len)
    }

    fn extend_to(&self, len: u32) {
        self.group.extend_to(len);
    }
}

/// The actors that a program can start, by the names that the file uses.
#[derive(Default)]
pub struct Catalog {
    counts: BTreeMap<&'static str, u32>,
    workers: BTreeMap<&'static str, Arc<dyn Starter>>,
    pools: BTreeMap<&'static str, Arc<dyn PoolRuntime>>,
    groups: BTreeMap<&'static str, Box<dyn Any + Send + Sync>>,
    is_each_start_once: bool,
}

impl Catalog {
    /// An empty catalog.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says what `instances = "name"` means: this many, `id.0` and so on; with 0 the child is left out.
    pub fn instances(&mut self, name: &'static str, count: u32) -> &mut Self {
        self.counts.insert(name, count);
        self
    }

    /// Refuses files that list a `start` for a second child: for a program that counts on the actors of a name being one child's instances.
    pub fn each_start_once(&mut self) -> &mut Self {
        self.is_each_start_once = true;
        self
    }

    /// The addresses of all instances of a `start` name; may be taken before [`Catalog::actor`] and before the tree.
    ///
    /// # Panics
    /// When the name was used with another message type: that is a mistake in the program.
    pub fn group<M: Message>(&mut self, start: &'static str) -> Group<M> {
        let group = self.groups.entry(start).or_insert_with(|| Box::new(Group::<M>::new(start)));
        match group.downcast_ref::<Group<M>>() {
            Some(group) => group.clone(),
            None => panic!("`{start}` is used with two message types"),
        }
    }

    /// Says what `start = "name"` starts: `actor` makes the actor, `arguments` what it is given at each start, by
    /// instance. Instances of one name are numbered in the order of the file.
    ///
    /// # Panics
    /// When the name is in use, or its group has another message type: that is a mistake in the program.
    pub fn actor<A: Actor>(
        &mut self,
        start: &'static str,
        actor: impl Fn() -> A + Send + Sync + 'static,
        arguments: impl Fn(u32) -> A::Arguments + Send + Sync + 'static,
    ) -> &mut Self {
        self.assert_free(start);
        let group = self.group::<A::Message>(start);
        let starter = WorkerStarter { make: Arc::new(actor), arguments: Arc::new(arguments), group };
        self.workers.insert(start, Arc::new(starter));
        self
    }

    /// Says what the children of a `simple_one_for_one` supervisor are, and returns the handle that starts them.
    ///
    /// # Panics
    /// When the name is in use: that is a mistake in the program.
    pub fn pool<A: Actor>(&mut self, start: &'static str, actor: impl Fn() -> A + Send + Sync + 'static) -> Pool<A> {
        self.assert_free(start);
        let pool = Pool::new(actor);
        self.pools.insert(start, pool.runtime());
        pool
    }

    fn assert_free(&self, start: &'static str) {
        let used = self.workers.contains_key(start) || self.pools.contains_key(start);
        assert!(!used, "`{start}` is in the catalog twice");
    }

    pub(crate) fn is_each_start_once(&self) -> bool {
        self.is_each_start_once
    }

    pub(crate) fn worker(&self, start: &str) -> Option<&Arc<dyn Starter>> {
        self.workers.get(start)
    }

    pub(crate) fn pool_of(&self, start: &str) -> Option<&Arc<dyn PoolRuntime>> {
        self.pools.get(start)
    }

    pub(crate) fn count(&self, instances: &Instances) -> u32 {
        match instances {
            Instances::One => 1,
            Instances::Count(count) => *count,
            Instances::Named(name) => self.counts.get(name.as_str()).copied().unwrap_or(0),
        }
    }

    /// See [`Plan::check`].
    pub(crate) fn check(&self, plan: &Plan) -> Result<(), PlanError> {
        let mut check = Check { catalog: self, used: BTreeSet::new(), problems: Vec::new() };
        check.supervisor(&plan.root);
        // Where a name is wrong, the one that is missing is likely what was meant.
        if check.problems.is_empty() {
            check.unused(plan.root.line);
        }
        match check.problems {
            problems if problems.is_empty() => Ok(()),
            problems => Err(PlanError::new(&plan.file, problems)),
        }
    }
}

struct Check<'a> {
    catalog: &'a Catalog,
    used: BTreeSet<String>,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn problem(&mut self, line: usize, message: String) {
        self.problems.push(Problem { line, message });
    }

    fn supervisor(&mut self, plan: &SupervisorPlan) {
        let children = match &plan.children {
            Children::Pool(pool) => return self.pool(&pool.child.start, pool.child.line),
            Children::List(children) => children,
        };
        for child in children {
            match &child.role {
                Role::Supervisor(supervisor) => self.supervisor(supervisor),
                Role::Worker(worker) => {
                    self.worker(&worker.start, child.line);
                    self.instances(&worker.instances, child.line);
                }
            }
        }
    }

    fn worker(&mut self, start: &str, line: usize) {
        if !self.used.insert(start.to_owned()) && self.catalog.is_each_start_once {
            let remedy = "remove one of them; `instances` makes several actors of one child";
            self.problem(line, format!("`{start}` is the start of two children, and this program has one; {remedy}"));
        }
        if self.catalog.workers.contains_key(start) {
            return;
        }
        let message = if self.catalog.pools.contains_key(start) {
            format!("`{start}` is the child of a pool; give it to a supervisor with strategy = \"simple_one_for_one\"")
        } else {
            let known = names(self.catalog.workers.keys());
            format!("unknown start `{start}`; this program has {known}")
        };
        self.problem(line, message);
    }

    fn pool(&mut self, start: &str, line: usize) {
        if !self.used.insert(start.to_owned()) {
            self.problem(line, format!("`{start}` is the child of two pools; a pool's child belongs to one"));
        }
        if self.catalog.pools.contains_key(start) {
            return;
        }
        let message = if self.catalog.workers.contains_key(start) {
            format!(
                "`{start}` is a single worker, not the child of a pool; list it under `children` of another strategy"
            )
        } else {
            let known = names(self.catalog.pools.keys());
            format!("unknown start `{start}`; the pools of this program start {known}")
        };
        self.problem(line, message);
    }

    fn instances(&mut self, instances: &Instances, line: usize) {
        let Instances::Named(name) = instances else { return };
        match self.catalog.counts.get(name.as_str()) {
            // None of it in this configuration: the child is in the file and not in the tree.
            Some(_) => {}
            None => {
                let known = names(self.catalog.counts.keys());
                self.problem(line, format!("unknown instances `{name}`; write a number, or one of {known}"));
            }
        }
    }

    /// `line`: of the root supervisor, for want of a better place.
    fn unused(&mut self, line: usize) {
        let catalog = self.catalog;
        for start in catalog.workers.keys().chain(catalog.pools.keys()) {
            if !self.used.contains(*start) {
                self.problem(line, format!("`{start}` is not in the tree; add a child with start = \"{start}\""));
            }
        }
        for start in catalog.groups.keys() {
            if !catalog.workers.contains_key(start) {
                self.problem(0, format!("the program uses addresses of `{start}`, but has no such actor"));
            }
        }
    }
}

fn names<'a>(names: impl Iterator<Item = &'a &'static str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(", ")
}
