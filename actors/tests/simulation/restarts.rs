//! Restarts, counted once more from outside: a supervisor restarts within its intensity, or it ends.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
    time::Duration,
};

use orinoco_supervision::plan::{Children, Role, SupervisorPlan};
use orinoco_testkit::simulation::Trace;
use tokio::time::Instant;

use crate::daemon::tree_plan;

/// Of all daemons, by the paths of supervisors.
pub(crate) struct Restarts {
    bounds: BTreeMap<String, (u32, Duration)>,
    counted: Mutex<BTreeMap<String, VecDeque<Instant>>>,
}

impl Restarts {
    pub(crate) fn new(daemons: usize) -> Self {
        let mut bounds = BTreeMap::new();
        for number in 0..daemons {
            let plan = tree_plan(number);
            collect(plan.root().id.clone(), plan.root(), &mut bounds);
        }
        Self { bounds, counted: Mutex::default() }
    }

    /// How many restarts the supervisor at a path bears within its period.
    pub(crate) fn intensity(&self, path: &str) -> Option<u32> {
        self.bounds.get(path).map(|(intensity, _)| *intensity)
    }

    /// The child at a path has failed, and waits for its restart.
    pub(crate) fn waits(&self, path: &str, trace: &Trace) {
        self.began(path);
        let Some((supervisor, _)) = path.rsplit_once('/') else { return };
        let Some((intensity, period)) = self.bounds.get(supervisor) else { return };
        let now = Instant::now();
        let mut counted = self.counted.lock().unwrap();
        let restarts = counted.entry(supervisor.to_owned()).or_default();
        restarts.retain(|at| now - *at < *period);
        restarts.push_back(now);
        if restarts.len() > *intensity as usize {
            let what = format!("{supervisor}: {} restarts within {period:?}, the last of {path}", restarts.len());
            trace.violated("restarts within intensity or escalation", what);
        }
    }

    /// A supervisor at this path, if it is one, and those below it count anew.
    pub(crate) fn began(&self, path: &str) {
        let is_below =
            |other: &str| other.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.counted.lock().unwrap().retain(|supervisor, _| !is_below(supervisor));
    }
}

fn collect(path: String, supervisor: &SupervisorPlan, bounds: &mut BTreeMap<String, (u32, Duration)>) {
    if let Children::List(children) = &supervisor.children {
        for child in children {
            if let Role::Supervisor(below) = &child.role {
                collect(format!("{path}/{}", child.id), below, bounds);
            }
        }
    }
    bounds.insert(path, (supervisor.intensity, supervisor.period));
}
