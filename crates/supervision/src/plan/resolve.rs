//! From a list of supervisors that name each other to one tree.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::reader::Problems;
use super::{
    AutoShutdown, BackoffPlan, ChildPlan, Children, IntensityScope, PoolPlan, Restart, Role, Shutdown, Strategy,
    SupervisorPlan, Timeout, WorkerPlan,
};

/// A `[[supervisor]]` table, not yet in its place.
pub(super) struct Draft {
    pub(super) id: String,
    pub(super) line: usize,
    pub(super) strategy: Strategy,
    pub(super) intensity: u32,
    pub(super) period: Duration,
    pub(super) intensity_scope: IntensityScope,
    pub(super) auto_shutdown: AutoShutdown,
    pub(super) children: Vec<DraftChild>,
    pub(super) pool: Option<PoolPlan>,
}

/// An entry of `children`.
pub(super) struct DraftChild {
    pub(super) id: String,
    pub(super) line: usize,
    pub(super) restart: Restart,
    pub(super) shutdown: Shutdown,
    pub(super) start_timeout: Timeout,
    pub(super) significant: bool,
    pub(super) backoff: BackoffPlan,
    pub(super) role: DraftRole,
}

pub(super) enum DraftRole {
    Worker(WorkerPlan),
    /// The supervisor of the same id.
    Supervisor,
}

/// Puts the supervisors into one tree, or says why they are none.
pub(super) fn resolve(
    problems: &mut Problems<'_>,
    mut drafts: BTreeMap<String, Draft>,
    root: &str,
    root_line: usize,
) -> Option<SupervisorPlan> {
    if !drafts.contains_key(root) {
        let known = drafts.keys().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
        let message = format!("the root supervisor `{root}` does not exist; the file has {known}");
        problems.add_line(root_line, message);
    }
    check_siblings(problems, &drafts);
    let references = check_references(problems, &drafts, root);
    check_reachable(problems, &drafts, root, &references);
    if !problems.is_empty() {
        return None;
    }
    build(&mut drafts, root)
}

fn check_siblings(problems: &mut Problems<'_>, drafts: &BTreeMap<String, Draft>) {
    for draft in drafts.values() {
        let mut first: BTreeMap<&str, usize> = BTreeMap::new();
        for child in &draft.children {
            if let Some(line) = first.insert(&child.id, child.line) {
                let message =
                    format!("duplicate child `{}` of supervisor `{}`; the first is in line {line}", child.id, draft.id);
                problems.add_line(child.line, message);
            }
        }
    }
}

/// Whom each supervisor refers to; reports references to nobody and second references.
fn check_references<'a>(
    problems: &mut Problems<'_>,
    drafts: &'a BTreeMap<String, Draft>,
    root: &str,
) -> BTreeMap<&'a str, (usize, &'a str)> {
    let mut referenced: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for draft in drafts.values() {
        for child in &draft.children {
            if !matches!(child.role, DraftRole::Supervisor) {
                continue;
            }
            let id = child.id.as_str();
            if !drafts.contains_key(id) {
                let message = format!("supervisor `{id}` does not exist; add [[supervisor]] with id = \"{id}\"");
                problems.add_line(child.line, message);
            } else if id == root {
                let message = format!("cycle: the root supervisor `{root}` is a child of `{}`", draft.id);
                problems.add_line(child.line, message);
            } else if let Some((line, _)) = referenced.get(id) {
                let (first, second) = ((*line).min(child.line), (*line).max(child.line));
                let message = format!("supervisor `{id}` is referenced twice; the first reference is in line {first}");
                problems.add_line(second, message);
            } else {
                referenced.insert(id, (child.line, &draft.id));
            }
        }
    }
    referenced
}

/// Reports supervisors that nobody refers to, and those that refer to each other in a circle apart from the root.
fn check_reachable(
    problems: &mut Problems<'_>,
    drafts: &BTreeMap<String, Draft>,
    root: &str,
    references: &BTreeMap<&str, (usize, &str)>,
) {
    let mut reported: BTreeSet<&str> = BTreeSet::new();
    for draft in drafts.values() {
        if draft.id == root || reported.contains(draft.id.as_str()) {
            continue;
        }
        if !references.contains_key(draft.id.as_str()) {
            let message =
                format!("supervisor `{}` is never referenced; list it as a child with type = \"supervisor\"", draft.id);
            problems.add_line(draft.line, message);
            continue;
        }
        let mut above = vec![draft.id.as_str()];
        while let Some((_, parent)) = above.last().and_then(|id| references.get(id)) {
            if *parent == draft.id {
                reported.extend(&above);
                above.push(parent);
                above.reverse();
                problems.add_line(draft.line, format!("cycle: {}", above.join(" -> ")));
                break;
            }
            if above.contains(parent) {
                break;
            }
            above.push(parent);
        }
    }
}

/// Takes a supervisor and all below it out of the drafts, which are known to be a tree.
fn build(drafts: &mut BTreeMap<String, Draft>, id: &str) -> Option<SupervisorPlan> {
    let draft = drafts.remove(id)?;
    let children = match draft.pool {
        Some(pool) => Children::Pool(pool),
        None => {
            let children = draft.children.into_iter().filter_map(|child| {
                let role = match child.role {
                    DraftRole::Worker(worker) => Role::Worker(worker),
                    DraftRole::Supervisor => Role::Supervisor(build(drafts, &child.id)?),
                };
                Some(ChildPlan {
                    id: child.id,
                    line: child.line,
                    restart: child.restart,
                    shutdown: child.shutdown,
                    start_timeout: child.start_timeout,
                    significant: child.significant,
                    backoff: child.backoff,
                    role,
                })
            });
            Children::List(children.collect())
        }
    };
    Some(SupervisorPlan {
        id: draft.id,
        line: draft.line,
        strategy: draft.strategy,
        intensity: draft.intensity,
        period: draft.period,
        intensity_scope: draft.intensity_scope,
        auto_shutdown: draft.auto_shutdown,
        children,
    })
}
