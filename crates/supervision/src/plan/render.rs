//! The resolved tree as text.

use std::fmt::Write as _;

use super::duration::format_duration;
use super::{
    BackoffPlan, Chaos, ChildPlan, ChildPolicy, Children, Instances, MailboxPlan, Plan, PoolChildPlan, PoolPlan, Role,
    SupervisorPlan, SupervisorPolicy, WatchdogPlan, WorkerPolicy,
};

/// One line an entry, indented by depth.
pub(super) fn render(plan: &Plan) -> String {
    let mut text = String::new();
    supervisor(&mut text, 0, &plan.root, "");
    line(&mut text, 0, &format!("chaos{}", spelt(&chaos_fields(&plan.chaos))));
    text
}

fn line(text: &mut String, depth: usize, content: &str) {
    let _ = writeln!(text, "{:indent$}{content}", "", indent = depth * 2);
}

/// A key of the file and its value, as text.
pub(super) type Field = (&'static str, String);

/// A supervisor's own part, but for what it supervises.
pub(super) fn supervisor_fields(plan: &SupervisorPlan) -> Vec<Field> {
    let SupervisorPolicy { strategy, intensity, period, intensity_scope, auto_shutdown } = plan.policy();
    vec![
        ("strategy", strategy.to_string()),
        ("intensity", intensity.to_string()),
        ("period", format_duration(period)),
        ("intensity_scope", intensity_scope.to_string()),
        ("auto_shutdown", auto_shutdown.to_string()),
    ]
}

/// What all children have.
pub(super) fn child_fields(policy: &ChildPolicy) -> Vec<Field> {
    let ChildPolicy { restart, shutdown, start_timeout, significant, backoff: waits } = policy;
    vec![
        ("restart", restart.to_string()),
        ("shutdown", shutdown.to_string()),
        ("start_timeout", start_timeout.to_string()),
        ("significant", significant.to_string()),
        ("backoff", backoff(waits)),
    ]
}

/// What workers have besides.
pub(super) fn worker_fields(policy: &WorkerPolicy) -> Vec<Field> {
    let WorkerPolicy { stop_mode, mailbox: queue, watchdog: limit } = policy;
    vec![("stop_mode", stop_mode.to_string()), ("mailbox", mailbox(queue)), ("watchdog", watchdog(limit))]
}

/// The limits of a pool.
pub(super) fn pool_fields(pool: &PoolPlan) -> Vec<Field> {
    vec![("partitions", pool.partitions.to_string()), ("max_children", pool.max_children.to_string())]
}

/// A pool's one kind of child, but for its `start`.
pub(super) fn pool_child_fields(entry: &PoolChildPlan) -> Vec<Field> {
    let lifetime = |ttl: Option<_>| ttl.map_or("none".to_owned(), format_duration);
    vec![
        ("restart", entry.restart.to_string()),
        ("shutdown", entry.shutdown.to_string()),
        ("stop_mode", entry.stop_mode.to_string()),
        ("start_timeout", entry.start_timeout.to_string()),
        ("mailbox", mailbox(&entry.mailbox)),
        ("watchdog", watchdog(&entry.watchdog)),
        ("backoff", backoff(&entry.backoff)),
        ("ttl", lifetime(entry.ttl)),
        ("ttl_from", entry.ttl_from.to_string()),
        ("idle_ttl", lifetime(entry.idle_ttl)),
    ]
}

/// What may be broken on purpose.
pub(super) fn chaos_fields(chaos: &Chaos) -> Vec<Field> {
    let mut fields = vec![("allow_kill", chaos.allow_kill.to_string())];
    if let Some(kills) = &chaos.kill_at_random {
        let only = if kills.only.is_empty() { "everybody".to_owned() } else { kills.only.join(",") };
        fields.push(("kill_at_random", format!("{}/{only}", format_duration(kills.every))));
    }
    fields
}

/// How many instances, as the file says it.
pub(super) fn instances(instances: &Instances) -> String {
    match instances {
        Instances::One => "1".to_owned(),
        Instances::Count(count) => count.to_string(),
        Instances::Named(name) => name.clone(),
    }
}

fn spelt(fields: &[Field]) -> String {
    fields.iter().map(|(key, value)| format!(" {key}={value}")).collect()
}

fn supervisor(text: &mut String, depth: usize, plan: &SupervisorPlan, as_child: &str) {
    let own = format!("{} supervisor{}{as_child}", plan.id, spelt(&supervisor_fields(plan)));
    match &plan.children {
        Children::List(children) => {
            line(text, depth, &own);
            for entry in children {
                child(text, depth + 1, entry);
            }
        }
        Children::Pool(pool) => {
            line(text, depth, &format!("{own}{}", spelt(&pool_fields(pool))));
            let content = format!("* worker start={}{}", pool.child.start, spelt(&pool_child_fields(&pool.child)));
            line(text, depth + 1, &content);
        }
    }
}

fn child(text: &mut String, depth: usize, entry: &ChildPlan) {
    let common = spelt(&child_fields(&entry.policy()));
    match &entry.role {
        Role::Supervisor(plan) => supervisor(text, depth, plan, &common),
        Role::Worker(worker) => {
            let content = format!(
                "{} worker start={} instances={}{common}{}",
                entry.id,
                worker.start,
                instances(&worker.instances),
                spelt(&worker_fields(&worker.policy())),
            );
            line(text, depth, &content);
        }
    }
}

fn mailbox(plan: &MailboxPlan) -> String {
    format!("{}/{}", plan.capacity, plan.overflow)
}

fn watchdog(plan: &WatchdogPlan) -> String {
    format!("{}/{}", format_duration(plan.handler_max), plan.action)
}

fn backoff(plan: &BackoffPlan) -> String {
    format!(
        "{}..{}*{}~{}/reset {}",
        format_duration(plan.min),
        format_duration(plan.max),
        plan.factor,
        plan.jitter,
        format_duration(plan.reset_after),
    )
}
