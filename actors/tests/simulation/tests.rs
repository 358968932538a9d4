//! The tests: all invariants on many seeds, the same trace twice, and mutations that must be caught.

use orinoco_testkit::simulation::Mutation;

use crate::{
    campaign::{Failure, Sums, report, search},
    strategy::PlanTree,
    world::{Outcome, run},
};

/// What `make test` runs.
const SEEDS: u64 = 2_000;
/// After so many seeds have failed a campaign ends.
const FAILURES_MAX: usize = 10;

/// Plans that found a fault of the product, as they were printed.
const FOUND: &[&str] = &[
    // The producer was killed with the last record: nothing woke the ingest until another message came.
    r#"{"workload":{"seed":682454,"daemons":2,"devices":3,"messages":5,"foreign":0,"by_timestamp":false,"watchers":2,"logins":2,"pause_ms_max":58},"schedule":{"seed":1323949390822348053,"yields_max":4,"way_ms_max":2},"faults":[{"daemon":2,"when":{"hit":{"point":"kafka_producer.before_effect","by":"","nth":4}},"what":{"here":"kill"}}]}"#,
    // The producer was killed twice: a batch that the ingest had sent before it knew was produced without what precedes it, which then
    // was taken for a repetition. Two messages were lost.
    r#"{"workload":{"seed":2905786471984585554,"daemons":1,"devices":1,"messages":14,"foreign":5,"by_timestamp":false,"watchers":1,"logins":0,"pause_ms_max":14},"schedule":{"seed":17299797792195314808,"yields_max":3,"way_ms_max":1},"faults":[{"daemon":0,"when":{"hit":{"point":"kafka_producer.before_effect","by":"","nth":3}},"what":{"here":"kill"}},{"daemon":0,"when":{"hit":{"point":"kafka_producer.after_effect","by":"","nth":2}},"what":{"here":"kill"}}]}"#,
    // A daemon that had been cut off from all connected under a lease that was another's by then, and the copy that it was given reached the
    // log before the first one. One message took effect twice.
    r#"{"workload":{"seed":11299881099712392366,"daemons":2,"devices":1,"messages":18,"foreign":1,"by_timestamp":false,"watchers":3,"logins":2,"pause_ms_max":50},"schedule":{"seed":6148480944354597735,"yields_max":2,"way_ms_max":16},"faults":[{"daemon":1,"when":{"hit":{"point":"actor.handle","by":"writer","nth":4}},"what":{"cut":{"backend":"broker","ms":2557}}},{"daemon":0,"when":{"hit":{"point":"sse_session.after_effect","by":"","nth":2}},"what":{"here":"panic"}},{"daemon":0,"when":{"hit":{"point":"challenge_registry.after_effect","by":"","nth":0}},"what":{"here":{"slow":{"ms":1023}}}},{"daemon":2,"when":{"hit":{"point":"stream_hub.before_effect","by":"","nth":0}},"what":{"freeze":{"ms":6176}}},{"daemon":2,"when":{"hit":{"point":"actor.reply","by":"challenges","nth":4}},"what":{"kill_actor":{"path":"stream/producer"}}},{"daemon":2,"when":{"at":{"ms":9}},"what":{"kill_actor":{"path":"stream/consumer.0"}}},{"daemon":1,"when":{"at":{"ms":241}},"what":{"lose_answers":{"backend":"broker","ms":1894}}},{"daemon":1,"when":{"hit":{"point":"actor.handle","by":"leases","nth":2}},"what":{"here":"abort"}}]}"#,
    // The ingest began on a full disk, which then had room: nothing came that would have shown it, and the daemon was never ready again.
    r#"{"workload":{"seed":16612664356641854129,"daemons":2,"devices":1,"messages":53,"foreign":7,"by_timestamp":false,"watchers":0,"logins":0,"pause_ms_max":21},"schedule":{"seed":2064383740247041057,"yields_max":2,"way_ms_max":13},"faults":[{"daemon":2,"when":{"at":{"ms":1918}},"what":{"stall":{"backend":"store","ms":1232}}},{"daemon":2,"when":{"hit":{"point":"stream_hub.after_effect","by":"","nth":4}},"what":"kill_supervisor"},{"daemon":0,"when":{"hit":{"point":"actor.handle","by":"stream/","nth":3}},"what":"kill_supervisor"},{"daemon":0,"when":{"at":{"ms":5133}},"what":{"kill_actor":{"path":"stream/writer.0"}}},{"daemon":2,"when":{"hit":{"point":"actor.reply","by":"writer","nth":48}},"what":{"kill_actor":{"path":"stream"}}},{"daemon":1,"when":{"hit":{"point":"challenge_registry.before_effect","by":"","nth":0}},"what":{"here":"kill"}},{"daemon":0,"when":{"hit":{"point":"actor.handle","by":"ingest","nth":2}},"what":{"disk":{"trouble":"full","ms":3362}}}]}"#,
    // A message was refused for a broken disk and taken by another daemon: the same.
    r#"{"workload":{"seed":7875285280635879851,"daemons":2,"devices":1,"messages":30,"foreign":8,"by_timestamp":false,"watchers":4,"logins":0,"pause_ms_max":64},"schedule":{"seed":13448771116661043953,"yields_max":1,"way_ms_max":3},"faults":[{"daemon":2,"when":{"hit":{"point":"mqtt_ingest.before_effect","by":"","nth":2}},"what":{"here":{"slow":{"ms":4146}}}},{"daemon":1,"when":{"hit":{"point":"supervisor.start","by":"stream/","nth":36}},"what":{"kill_actor":{"path":"login/registry"}}},{"daemon":1,"when":{"hit":{"point":"actor.handle","by":"hub","nth":4}},"what":{"cut":{"backend":"leases","ms":4827}}},{"daemon":0,"when":{"at":{"ms":4183}},"what":{"kill_actor":{"path":"stream/consumer.1"}}},{"daemon":2,"when":{"hit":{"point":"redis_writer.after_acknowledgement","by":"","nth":48}},"what":{"here":"kill"}},{"daemon":1,"when":{"hit":{"point":"actor.reply","by":"writer","nth":2}},"what":{"here":"drop_reply"}},{"daemon":2,"when":{"hit":{"point":"actor.reply","by":"writer","nth":50}},"what":{"here":"drop_reply"}},{"daemon":0,"when":{"hit":{"point":"actor.handle","by":"ingest","nth":6}},"what":{"disk":{"trouble":"full","ms":195}}},{"daemon":1,"when":{"hit":{"point":"mqtt_ingest.before_effect","by":"","nth":14}},"what":{"disk":{"trouble":"broken","ms":3074}}},{"daemon":2,"when":{"at":{"ms":5120}},"what":{"disk":{"trouble":"broken","ms":259}}}]}"#,
    // A broken disk could not be read while the ingest waited for the journal to grow: the same.
    r#"{"workload":{"seed":12288961382026609237,"daemons":1,"devices":2,"messages":11,"foreign":11,"by_timestamp":false,"watchers":2,"logins":0,"pause_ms_max":94},"schedule":{"seed":13221275080327486216,"yields_max":3,"way_ms_max":7},"faults":[{"daemon":0,"when":{"hit":{"point":"supervisor.start","by":"login/","nth":30}},"what":"kill_supervisor"},{"daemon":2,"when":{"hit":{"point":"mqtt_ingest.after_effect","by":"","nth":45}},"what":{"here":"kill"}},{"daemon":2,"when":{"at":{"ms":3734}},"what":{"disk":{"trouble":"slow","ms":2573}}},{"daemon":0,"when":{"hit":{"point":"mqtt_ingest.after_commit","by":"","nth":10}},"what":{"disk":{"trouble":"broken","ms":644}}}]}"#,
];

/// A panic that was planned says nothing new, 2,000 seeds long.
fn silence_planned_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let text = panic.payload().downcast_ref::<String>().map_or("", String::as_str);
            if !text.starts_with("fault injected at") {
                usual(panic);
            }
        }));
    });
}

fn show(outcome: &Outcome) {
    for line in &outcome.lines {
        println!("{line}");
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn whatever_fails_all_invariants_hold() {
    silence_planned_panics();
    if let Ok(line) = std::env::var("ORINOCO_SIM_PLAN") {
        let outcome = run(&line.parse().unwrap());
        show(&outcome);
        assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
        return;
    }
    if let Some(seed) = number("ORINOCO_SIM_SEED") {
        let plan = PlanTree::of(seed, None).plan();
        println!("{plan}");
        let outcome = run(&plan);
        show(&outcome);
        println!("{} bytes are left", outcome.left_bytes);
        assert!(outcome.violations.is_empty(), "{}", report(&Failure { seed, outcome }, None));
        return;
    }
    let first = number("ORINOCO_SIM_FIRST").unwrap_or(0);
    let seeds = number("ORINOCO_SIM_SEEDS").unwrap_or(SEEDS);
    let sums = Sums::default();
    let failures = search(first..first + seeds, None, FAILURES_MAX, &sums);
    println!("{sums:?}");
    if let Some(failure) = failures.first() {
        panic!("{}", report(failure, None));
    }
}

#[test]
fn what_was_found_once_holds() {
    silence_planned_panics();
    for line in FOUND {
        let outcome = run(&line.parse().unwrap());
        assert!(outcome.violations.is_empty(), "{line}: {:#?}", outcome.violations);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    silence_planned_panics();
    for seed in 0..20 {
        let plan = PlanTree::of(seed, None).plan();
        assert_eq!(PlanTree::of(seed, None).plan(), plan);
        let (one, two) = (run(&plan), run(&plan));
        if let Some(at) = one.lines.iter().zip(&two.lines).position(|(one, two)| one != two) {
            panic!("seed {seed}: {:#?} and then {:#?}", &one.lines[at.saturating_sub(5)..=at], two.lines[at]);
        }
        assert_eq!((one.hash, one.events), (two.hash, two.events), "seed {seed}");
    }
}

fn is_caught(mutation: Mutation, invariant: &str) {
    silence_planned_panics();
    let sums = Sums::default();
    let failure = search(0..SEEDS, Some(mutation), 1, &sums).pop().expect("no seed catches it");
    let found: Vec<&str> = failure.outcome.violations.iter().map(|violation| violation.invariant).collect();
    println!("{mutation:?} is caught by seed {}: {:?}", failure.seed, failure.outcome.violations[0]);
    assert!(found.contains(&invariant), "{found:?}");
}

#[test]
fn acknowledging_before_the_journal_is_caught() {
    is_caught(Mutation::AcknowledgeBeforeJournal, "accepted = applied + dead-lettered");
}

#[test]
fn a_position_outside_of_the_script_is_caught() {
    is_caught(Mutation::PositionOutsideOfScript, "each effect once");
}

#[test]
fn a_store_without_fencing_is_caught() {
    is_caught(Mutation::NoFencing, "no stale owner");
}
