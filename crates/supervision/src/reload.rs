//! Carries the differences between two plans out on the nodes of a running tree.
//!
//! Nodes say what is to be; supervisors are told to look, and see to it that it is so. One that does not run at that moment reads its node
//! when it starts. So a change that is half carried out is never the last word, whatever fails meanwhile.

use std::sync::Arc;

use ractor::ActorCell;
use tokio::sync::oneshot;

use crate::builder::Builder;
use crate::node::{Conduct, Kind, Node, Spec};
use crate::plan::{Change, ChildPlan, ChildPolicy, Diff, Entry, PoolPlan, Role, SupervisorPolicy};
use crate::supervisor::Command;
use crate::sync::lock;

/// Writes the differences into the nodes. The seats of the builder are those of the new plan.
pub(crate) fn apply(root: &Arc<Node>, diff: &Diff, builder: &mut Builder<'_>) {
    for change in diff.changes() {
        match change {
            Change::Supervisor { path, policy } => with(root, path, |node| set_conduct(node, policy)),
            Change::Child { path, policy } => with(root, path, |node| set_child(node, policy)),
            Change::Worker { path, policy } => with(root, path, |node| node.set_limits(policy)),
            Change::Pool { path, pool } => with(root, path, |node| set_pool(node, pool)),
            Change::Children { path, entries } => with(root, path, |node| want(node, entries, builder)),
            // The first is the tree's own, the second was refused.
            Change::Chaos(_) | Change::Root(_) => {}
        }
    }
}

/// Calls `change` with each node of an entry of the plan.
fn with(root: &Arc<Node>, path: &str, mut change: impl FnMut(&Arc<Node>)) {
    let mut found = vec![Arc::clone(root)];
    for id in path.split('/').skip(1) {
        found = found.iter().flat_map(|node| node.wanted().to_vec()).filter(|node| node.entry == id).collect();
    }
    found.iter().for_each(&mut change);
}

fn set_conduct(node: &Arc<Node>, policy: &SupervisorPolicy) {
    if let Kind::Supervisor { conduct, pool } = &node.kind {
        *lock(conduct) = Conduct::of(policy);
        if let Some(pool) = pool {
            pool.set_intensity(policy);
        }
    }
}

fn set_child(node: &Arc<Node>, policy: &ChildPolicy) {
    node.set_spec(Spec { stop_mode: node.spec().stop_mode, ..Spec::of(policy) });
}

fn set_pool(node: &Arc<Node>, plan: &PoolPlan) {
    if let Some(pool) = node.pool() {
        pool.set_plan(plan);
    }
    for partition in &*node.wanted() {
        let mut spec = partition.spec();
        spec.rules.backoff = plan.child.backoff;
        partition.set_spec(spec);
    }
}

fn want(parent: &Arc<Node>, entries: &[Entry], builder: &mut Builder<'_>) {
    let before = parent.wanted();
    let mut wanted = Vec::new();
    for entry in entries {
        match entry {
            Entry::Kept(id) => wanted.extend(before.iter().filter(|node| node.entry == *id).cloned()),
            Entry::New(plan) => {
                let nodes = builder.child(plan, &parent.path);
                wanted.extend(nodes.into_iter().map(|node| same(&before, &node, plan).unwrap_or(node)));
            }
        }
    }
    parent.want(wanted.into());
}

/// The instance that was there before, where an entry has only come to have another number of them.
fn same(before: &[Arc<Node>], new: &Arc<Node>, plan: &ChildPlan) -> Option<Arc<Node>> {
    let Role::Worker(worker) = &plan.role else { return None };
    let is_same = |old: &&Arc<Node>| {
        old.path == new.path && matches!(&old.kind, Kind::Worker { start, .. } if *start == worker.start)
    };
    let old = before.iter().find(is_same)?;
    set_child(old, &plan.policy());
    old.set_limits(&worker.policy());
    Some(Arc::clone(old))
}

/// The supervisors that run, but for those of a pool's shares.
fn supervisors(root: &Arc<Node>) -> Vec<ActorCell> {
    let mut running = Vec::new();
    root.walk(&mut |node| {
        if matches!(node.kind, Kind::Supervisor { .. }) {
            running.extend(lock(&node.record).actor.clone());
        }
    });
    running
}

/// Tells all supervisors something, and returns what resolves once all have carried it out, or have ended.
pub(crate) fn tell<M: Fn(oneshot::Sender<()>) -> Command>(
    root: &Arc<Node>,
    make: M,
) -> impl Future<Output = ()> + Send + use<M> {
    let mut waits = Vec::new();
    for supervisor in supervisors(root) {
        let (done, carried_out) = oneshot::channel();
        // Refused only when it has ended: the next one reads its node.
        if supervisor.send_message(make(done)).is_ok() {
            waits.push(carried_out);
        }
    }
    async move {
        for carried_out in waits {
            // Let go, not sent.
            let _ = carried_out.await;
        }
    }
}
