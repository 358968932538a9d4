//! What is different between two plans: pure. A running tree is changed by carrying it out.
//!
//! What a supervisor lists is compared by id. An entry is kept where it is still the same thing (the same actor in as many instances, or
//! a supervisor); what is said about it is then a change of its own. Lines of the file are no difference.

use std::collections::BTreeMap;

use super::policy::{ChildPolicy, SupervisorPolicy, WorkerPolicy};
use super::render::{self, Field};
use super::{Chaos, ChildPlan, Children, Plan, PoolPlan, Role, SupervisorPlan};

/// One difference. Paths are those of the plan, as `root/stream/hub`: instances by their common id.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// What a supervisor does about ends.
    Supervisor {
        /// The supervisor.
        path: String,
        /// What it does from now on.
        policy: SupervisorPolicy,
    },
    /// How a child, a supervisor too, is started, stopped and restarted.
    Child {
        /// The child.
        path: String,
        /// What holds from now on.
        policy: ChildPolicy,
    },
    /// A worker's limits.
    Worker {
        /// The worker.
        path: String,
        /// What holds from now on.
        policy: WorkerPolicy,
    },
    /// A pool's limits, and what holds for its children.
    Pool {
        /// The pool.
        path: String,
        /// What holds from now on; the actor and the number of partitions are those of before.
        pool: PoolPlan,
    },
    /// What a supervisor lists.
    Children {
        /// The supervisor.
        path: String,
        /// Its children from now on, in their order. Who is not among them is no more.
        entries: Vec<Entry>,
    },
    /// What may be broken on purpose.
    Chaos(Chaos),
    /// The root is another one, or a pool in place of a list: everything is.
    Root(SupervisorPlan),
}

/// One of a supervisor's children.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// The one of before, by its id.
    Kept(String),
    /// A new one, or another one under an id of before.
    New(Box<ChildPlan>),
}

/// All differences between two plans.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diff {
    changes: Vec<Change>,
    lines: Vec<String>,
}

impl Diff {
    /// From `old` to `new`.
    pub fn between(old: &Plan, new: &Plan) -> Self {
        let mut diff = Self::default();
        if is_same_supervisor(&old.root, &new.root) && old.root.id == new.root.id {
            diff.supervisor(&new.root.id, &old.root, &new.root);
        } else {
            diff.lines.push(format!("{}: another root", new.root.id));
            diff.changes.push(Change::Root(new.root.clone()));
        }
        if old.chaos != new.chaos {
            diff.fields("chaos", &render::chaos_fields(&old.chaos), &render::chaos_fields(&new.chaos));
            diff.changes.push(Change::Chaos(new.chaos.clone()));
        }
        diff
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The differences, in the order in which they are to be made.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The differences for people, a line each: `root/stream: strategy one_for_one -> one_for_all`.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The plan after the changes; `plan` is the one that they were found in.
    #[must_use]
    pub fn apply(&self, plan: &Plan) -> Plan {
        let mut plan = plan.clone();
        for change in &self.changes {
            match change {
                Change::Chaos(chaos) => plan.chaos = chaos.clone(),
                Change::Root(root) => plan.root = root.clone(),
                Change::Supervisor { path, policy } => at(&mut plan, path, |found| found.set_policy(*policy)),
                Change::Pool { path, pool } => {
                    at(&mut plan, path, |found| found.children = Children::Pool(pool.clone()))
                }
                Change::Children { path, entries } => at(&mut plan, path, |found| list(found, entries)),
                Change::Child { path, policy } => child_at(&mut plan, path, |found| found.set_policy(*policy)),
                Change::Worker { path, policy } => child_at(&mut plan, path, |found| {
                    if let Role::Worker(worker) = &mut found.role {
                        worker.set_policy(*policy);
                    }
                }),
            }
        }
        plan
    }

    fn fields(&mut self, place: &str, old: &[Field], new: &[Field]) {
        let value = |fields: &[Field], key: &str| {
            let found = fields.iter().find(|(other, _)| *other == key);
            found.map_or_else(|| "none".to_owned(), |(_, value)| value.clone())
        };
        let keys: Vec<&str> = old
            .iter()
            .chain(new.iter().filter(|(key, _)| old.iter().all(|(other, _)| other != key)))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            let (before, after) = (value(old, key), value(new, key));
            if before != after {
                self.lines.push(format!("{place}: {key} {before} -> {after}"));
            }
        }
    }

    fn supervisor(&mut self, path: &str, old: &SupervisorPlan, new: &SupervisorPlan) {
        if old.policy() != new.policy() {
            self.fields(path, &render::supervisor_fields(old), &render::supervisor_fields(new));
            self.changes.push(Change::Supervisor { path: path.to_owned(), policy: new.policy() });
        }
        match (&old.children, &new.children) {
            (Children::List(before), Children::List(after)) => self.list(path, before, after),
            (Children::Pool(before), Children::Pool(after)) => self.pool(path, before, after),
            // A kept supervisor keeps its kind.
            _ => {}
        }
    }

    fn pool(&mut self, path: &str, old: &PoolPlan, new: &PoolPlan) {
        let is_same =
            PoolPlan { child: super::PoolChildPlan { line: old.child.line, ..new.child.clone() }, ..*new } == *old;
        if is_same {
            return;
        }
        self.fields(path, &render::pool_fields(old), &render::pool_fields(new));
        let children = format!("{path}/*");
        self.fields(&children, &render::pool_child_fields(&old.child), &render::pool_child_fields(&new.child));
        self.changes.push(Change::Pool { path: path.to_owned(), pool: new.clone() });
    }

    fn list(&mut self, path: &str, old: &[ChildPlan], new: &[ChildPlan]) {
        let before: BTreeMap<&str, &ChildPlan> = old.iter().map(|child| (child.id.as_str(), child)).collect();
        let kept_from =
            |child: &ChildPlan| before.get(child.id.as_str()).filter(|was| is_same_child(was, child)).copied();
        let gone = old.iter().filter(|was| new.iter().all(|child| child.id != was.id));
        let mut lines: Vec<String> = gone.map(|was| format!("{path}/{}: removed", was.id)).collect();
        for child in new.iter().filter(|child| kept_from(child).is_none()) {
            let what = if before.contains_key(child.id.as_str()) { "another one" } else { "added" };
            lines.push(format!("{path}/{}: {what}", child.id));
        }
        let is_kept = |child: &&ChildPlan| kept_from(child).is_some();
        let order: Vec<&str> = new.iter().filter(is_kept).map(|child| child.id.as_str()).collect();
        if !old.iter().map(|was| was.id.as_str()).filter(|id| order.contains(id)).eq(order.iter().copied()) {
            lines.push(format!(
                "{path}: order {}",
                new.iter().map(|child| child.id.as_str()).collect::<Vec<_>>().join(", ")
            ));
        }
        let is_changed = !lines.is_empty() || !old.iter().map(|was| &was.id).eq(new.iter().map(|child| &child.id));
        self.lines.append(&mut lines);
        for child in new {
            if let Some(was) = kept_from(child) {
                self.child(&format!("{path}/{}", child.id), was, child);
            }
        }
        if is_changed {
            let entries = new.iter().map(|child| match kept_from(child) {
                Some(_) => Entry::Kept(child.id.clone()),
                None => Entry::New(Box::new(child.clone())),
            });
            self.changes.push(Change::Children { path: path.to_owned(), entries: entries.collect() });
        }
    }

    fn child(&mut self, path: &str, old: &ChildPlan, new: &ChildPlan) {
        if old.policy() != new.policy() {
            self.fields(path, &render::child_fields(&old.policy()), &render::child_fields(&new.policy()));
            self.changes.push(Change::Child { path: path.to_owned(), policy: new.policy() });
        }
        match (&old.role, &new.role) {
            (Role::Worker(old), Role::Worker(new)) if old.policy() != new.policy() => {
                self.fields(path, &render::worker_fields(&old.policy()), &render::worker_fields(&new.policy()));
                self.changes.push(Change::Worker { path: path.to_owned(), policy: new.policy() });
            }
            (Role::Supervisor(old), Role::Supervisor(new)) => self.supervisor(path, old, new),
            _ => {}
        }
    }
}

/// Whether what is known by one id is the same thing, whatever is said about it.
fn is_same_child(old: &ChildPlan, new: &ChildPlan) -> bool {
    match (&old.role, &new.role) {
        (Role::Worker(old), Role::Worker(new)) => old.start == new.start && old.instances == new.instances,
        (Role::Supervisor(old), Role::Supervisor(new)) => is_same_supervisor(old, new),
        _ => false,
    }
}

fn is_same_supervisor(old: &SupervisorPlan, new: &SupervisorPlan) -> bool {
    match (&old.children, &new.children) {
        (Children::List(_), Children::List(_)) => true,
        (Children::Pool(old), Children::Pool(new)) => {
            old.child.start == new.child.start && old.partitions == new.partitions
        }
        _ => false,
    }
}

/// Calls `change` with the supervisor at a path, if there is one.
fn at(plan: &mut Plan, path: &str, change: impl FnOnce(&mut SupervisorPlan)) {
    let mut ids = path.split('/');
    if ids.next() != Some(plan.root.id.as_str()) {
        return;
    }
    let mut supervisor = &mut plan.root;
    for id in ids {
        let Children::List(children) = &mut supervisor.children else { return };
        let Some(child) = children.iter_mut().find(|child| child.id == id) else { return };
        let Role::Supervisor(next) = &mut child.role else { return };
        supervisor = next;
    }
    change(supervisor);
}

fn child_at(plan: &mut Plan, path: &str, change: impl FnOnce(&mut ChildPlan)) {
    let Some((above, id)) = path.rsplit_once('/') else { return };
    at(plan, above, |supervisor| {
        if let Children::List(children) = &mut supervisor.children
            && let Some(child) = children.iter_mut().find(|child| child.id == id)
        {
            change(child);
        }
    });
}

fn list(supervisor: &mut SupervisorPlan, entries: &[Entry]) {
    let Children::List(children) = &mut supervisor.children else { return };
    let mut before: BTreeMap<String, ChildPlan> =
        std::mem::take(children).into_iter().map(|child| (child.id.clone(), child)).collect();
    children.extend(entries.iter().filter_map(|entry| match entry {
        Entry::Kept(id) => before.remove(id),
        Entry::New(child) => Some(ChildPlan::clone(child)),
    }));
}

#[cfg(test)]
mod tests;
