#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::prelude::*;

use super::super::{
    AutoShutdown, BackoffPlan, Instances, IntensityScope, MailboxPlan, Overflow, PoolChildPlan, Restart, Shutdown,
    StopMode, Strategy as RestartStrategy, Timeout, TtlFrom, WatchdogAction, WatchdogPlan, WorkerPlan,
};
use super::*;

const IDS: [&str; 4] = ["a", "b", "c", "d"];

fn one_of<T: Copy + std::fmt::Debug + 'static>(all: &'static [(&'static str, T)]) -> impl Strategy<Value = T> {
    (0..all.len()).prop_map(move |index| all[index].1)
}

fn span() -> impl Strategy<Value = Duration> {
    (1u64..4).prop_map(Duration::from_secs)
}

fn backoff() -> impl Strategy<Value = BackoffPlan> {
    (span(), 1u32..3).prop_map(|(min, factor)| BackoffPlan { min, factor: f64::from(factor), ..BackoffPlan::default() })
}

fn limits() -> impl Strategy<Value = (StopMode, MailboxPlan, WatchdogPlan)> {
    (one_of(StopMode::ALL), 1usize..4, one_of(Overflow::ALL), span(), one_of(WatchdogAction::ALL)).prop_map(
        |(stop_mode, capacity, overflow, handler_max, action)| {
            (stop_mode, MailboxPlan { capacity, overflow }, WatchdogPlan { handler_max, action })
        },
    )
}

fn worker() -> impl Strategy<Value = Role> {
    (prop::sample::select(vec!["A", "B"]), 0u32..3, limits()).prop_map(
        |(start, count, (stop_mode, mailbox, watchdog))| {
            let instances = if count == 0 { Instances::One } else { Instances::Count(count) };
            Role::Worker(WorkerPlan { start: start.to_owned(), instances, stop_mode, mailbox, watchdog })
        },
    )
}

fn pool() -> impl Strategy<Value = Children> {
    let lifetimes = (prop::option::of(span()), one_of(TtlFrom::ALL), prop::option::of(span()));
    let child = (one_of(Restart::ALL), span(), limits(), backoff(), lifetimes);
    (1u32..3, 1usize..3, 0usize..3, child).prop_map(|(partitions, max_children, line, child)| {
        let (restart, within, (stop_mode, mailbox, watchdog), backoff, (ttl, ttl_from, idle_ttl)) = child;
        let child = PoolChildPlan {
            start: "P".to_owned(),
            line,
            restart,
            shutdown: Shutdown::Within(Timeout::After(within)),
            stop_mode,
            start_timeout: Timeout::Infinity,
            mailbox,
            watchdog,
            backoff,
            ttl,
            ttl_from,
            idle_ttl,
        };
        Children::Pool(PoolPlan { partitions, max_children, child })
    })
}

fn children(role: BoxedStrategy<Role>) -> impl Strategy<Value = Children> {
    let child = (role, one_of(Restart::ALL), any::<bool>(), backoff(), 0usize..9).prop_map(
        |(role, restart, significant, backoff, line)| ChildPlan {
            id: String::new(),
            line,
            restart,
            shutdown: Shutdown::BrutalKill,
            start_timeout: Timeout::Infinity,
            significant,
            backoff,
            role,
        },
    );
    let ids = prop::sample::subsequence(IDS.to_vec(), 0..=IDS.len()).prop_shuffle();
    (ids, prop::collection::vec(child, IDS.len())).prop_map(|(ids, children)| {
        let named = ids.into_iter().zip(children).map(|(id, child)| ChildPlan { id: id.to_owned(), ..child });
        Children::List(named.collect())
    })
}

fn supervisor(id: &'static str, children: BoxedStrategy<Children>) -> impl Strategy<Value = SupervisorPlan> {
    let policy =
        (one_of(RestartStrategy::ALL), 0u32..3, span(), one_of(IntensityScope::ALL), one_of(AutoShutdown::ALL));
    (policy, 0usize..9, children).prop_map(move |(policy, line, children)| {
        let (strategy, intensity, period, intensity_scope, auto_shutdown) = policy;
        let id = id.to_owned();
        SupervisorPlan { id, line, strategy, intensity, period, intensity_scope, auto_shutdown, children }
    })
}

fn plan() -> impl Strategy<Value = Plan> {
    let flat = prop_oneof![3 => children(worker().boxed()), 1 => pool()].boxed();
    let role = prop_oneof![2 => worker(), 1 => supervisor("s", flat).prop_map(Role::Supervisor)].boxed();
    let root = prop::sample::select(vec!["root", "root", "root", "other"]);
    (supervisor("root", children(role).boxed()), root, any::<bool>()).prop_map(|(root, id, allow_kill)| Plan {
        file: "x.toml".to_owned(),
        chaos: Chaos { allow_kill, kill_at_random: None },
        root: SupervisorPlan { id: id.to_owned(), ..root },
    })
}

proptest! {
    #[test]
    fn a_plan_has_no_difference_from_itself(plan in plan()) {
        prop_assert_eq!(Diff::between(&plan, &plan), Diff::default());
    }

    #[test]
    fn the_differences_applied_to_the_old_plan_give_the_new_one(old in plan(), new in plan()) {
        let diff = Diff::between(&old, &new);
        prop_assert_eq!(diff.apply(&old).render(), new.render());
        prop_assert_eq!(diff.is_empty(), old.render() == new.render());
        prop_assert!(Diff::between(&diff.apply(&old), &new).is_empty());
    }

    #[test]
    fn every_difference_is_told(old in plan(), new in plan()) {
        let diff = Diff::between(&old, &new);
        prop_assert_eq!(diff.is_empty(), diff.lines().is_empty(), "{:?}", diff);
    }
}

fn parse(text: &str) -> Plan {
    Plan::parse(&format!("schema = 1\n{text}"), "x.toml").unwrap()
}

#[test]
fn differences_are_told_by_path_with_what_was_and_what_is() {
    let old = "[[supervisor]]\nid = \"root\"\nstrategy = \"one_for_one\"\nchildren = [\n{ id = \"a\", start = \"A\" },\n\
               { id = \"b\", start = \"B\" },\n{ id = \"c\", start = \"C\" }]\n";
    let new = "[chaos]\nallow_kill = true\n[[supervisor]]\nid = \"root\"\nstrategy = \"one_for_all\"\nintensity = 9\nchildren = [\n\
               { id = \"c\", start = \"C\", mailbox = { capacity = 7 } },\n{ id = \"b\", start = \"D\" },\n{ id = \"e\", start = \"E\" }]\n";
    let diff = Diff::between(&parse(old), &parse(new));
    let expected = [
        "root: strategy one_for_one -> one_for_all",
        "root: intensity 3 -> 9",
        "root/a: removed",
        "root/b: another one",
        "root/e: added",
        "root/c: mailbox 1024/backpressure -> 7/backpressure",
        "chaos: allow_kill false -> true",
    ];
    assert_eq!(diff.lines(), expected);
    let moved = Diff::between(&parse(old), &parse(&old.replace("\"A\"", "\"X\"").replace("\"a\"", "\"x\"")));
    assert_eq!(moved.lines(), ["root/a: removed", "root/x: added"]);
    // Only the lines have moved.
    assert!(Diff::between(&parse(old), &parse(&format!("\n\n{old}"))).is_empty());
}
