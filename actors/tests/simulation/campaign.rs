//! Many seeds, on as many threads as there are cores.

use std::{
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicIsize, AtomicU64, Ordering},
    },
};

use orinoco_testkit::simulation::{Mutation, Plan};

use crate::{
    strategy::PlanTree,
    world::{Outcome, run},
};

/// Runs of a plan that fails, in search of a smaller one.
const SMALLER_TRIES_MAX: usize = 60;

/// The first seed of those that ran which violates an invariant.
pub(crate) struct Failure {
    pub(crate) seed: u64,
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) seeds: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) events: AtomicU64,
    /// Of one run, at most.
    pub(crate) left_bytes_max: AtomicIsize,
}

/// Runs seeds until so many have failed; the failures in the order of their seeds.
pub(crate) fn search(seeds: Range<u64>, mutation: Option<Mutation>, failures_max: usize, sums: &Sums) -> Vec<Failure> {
    let next = AtomicU64::new(seeds.start);
    let is_over = AtomicBool::new(false);
    let failures: Mutex<Vec<Failure>> = Mutex::default();
    let work = || {
        while !is_over.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let outcome = run(&PlanTree::of(seed, mutation).plan());
            sums.seeds.fetch_add(1, Ordering::Relaxed);
            sums.faults.fetch_add(outcome.injected.into(), Ordering::Relaxed);
            sums.events.fetch_add(outcome.events, Ordering::Relaxed);
            sums.left_bytes_max.fetch_max(outcome.left_bytes, Ordering::Relaxed);
            if !outcome.violations.is_empty() {
                let mut failures = failures.lock().unwrap();
                println!("seed {seed} violates {:?}", outcome.violations[0]);
                failures.push(Failure { seed, outcome });
                is_over.store(failures.len() >= failures_max, Ordering::Relaxed);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort_by_key(|failure| failure.seed);
    failures
}

/// A smaller plan that violates the same invariant.
pub(crate) fn smaller(seed: u64, mutation: Option<Mutation>, invariant: &'static str) -> Plan {
    let mut tree = PlanTree::of(seed, mutation);
    let mut smallest = tree.plan();
    let mut goes_on = tree.simplify();
    for _ in 0..SMALLER_TRIES_MAX {
        if !goes_on {
            break;
        }
        let plan = tree.plan();
        let fails = run(&plan).violations.iter().any(|violation| violation.invariant == invariant);
        if fails {
            smallest = plan;
            goes_on = tree.simplify();
        } else {
            goes_on = tree.complicate();
        }
    }
    smallest
}

/// What a person needs to see of a failure.
pub(crate) fn report(failure: &Failure, mutation: Option<Mutation>) -> String {
    let violations: Vec<String> = failure
        .outcome
        .violations
        .iter()
        .map(|violation| format!("  {}: {}", violation.invariant, violation.what))
        .collect();
    let invariant = failure.outcome.violations[0].invariant;
    let plan = smaller(failure.seed, mutation, invariant);
    format!(
        "seed {} violates:\n{}\nsee it happen:  make simulate SEED={}\nsmaller:  ORINOCO_SIM_PLAN='{plan}' make simulate",
        failure.seed,
        violations.join("\n"),
        failure.seed,
    )
}
