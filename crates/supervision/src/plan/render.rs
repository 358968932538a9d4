//! The resolved tree as text.

use std::fmt::Write as _;

use super::duration::format_duration;
use super::{BackoffPlan, ChildPlan, Children, Instances, MailboxPlan, Plan, Role, SupervisorPlan, WatchdogPlan};

/// One line an entry, indented by depth.
pub(super) fn render(plan: &Plan) -> String {
    let mut text = String::new();
    supervisor(&mut text, 0, &plan.root, "");
    let kills = plan.chaos.kill_at_random.as_ref().map_or(String::new(), |kills| {
        let only = if kills.only.is_empty() { "everybody".to_owned() } else { kills.only.join(",") };
        format!(" kill_at_random={}/{only}", format_duration(kills.every))
    });
    line(&mut text, 0, &format!("chaos allow_kill={}{kills}", plan.chaos.allow_kill));
    text
}

fn line(text: &mut String, depth: usize, content: &str) {
    let _ = writeln!(text, "{:indent$}{content}", "", indent = depth * 2);
}

fn supervisor(text: &mut String, depth: usize, plan: &SupervisorPlan, as_child: &str) {
    let own = format!(
        "{} supervisor strategy={} intensity={} period={} intensity_scope={} auto_shutdown={}{as_child}",
        plan.id,
        plan.strategy,
        plan.intensity,
        format_duration(plan.period),
        plan.intensity_scope,
        plan.auto_shutdown,
    );
    match &plan.children {
        Children::List(children) => {
            line(text, depth, &own);
            for entry in children {
                child(text, depth + 1, entry);
            }
        }
        Children::Pool(pool) => {
            let limits = format!(" partitions={} max_children={}", pool.partitions, pool.max_children);
            line(text, depth, &format!("{own}{limits}"));
            let entry = &pool.child;
            let lifetime = |ttl: Option<_>| ttl.map_or("none".to_owned(), format_duration);
            let content = format!(
                "* worker start={} restart={} shutdown={} stop_mode={} start_timeout={} {} {} {} ttl={} ttl_from={} idle_ttl={}",
                entry.start,
                entry.restart,
                entry.shutdown,
                entry.stop_mode,
                entry.start_timeout,
                mailbox(&entry.mailbox),
                watchdog(&entry.watchdog),
                backoff(&entry.backoff),
                lifetime(entry.ttl),
                entry.ttl_from,
                lifetime(entry.idle_ttl),
            );
            line(text, depth + 1, &content);
        }
    }
}

fn child(text: &mut String, depth: usize, entry: &ChildPlan) {
    let common = format!(
        " restart={} shutdown={} start_timeout={} significant={} {}",
        entry.restart,
        entry.shutdown,
        entry.start_timeout,
        entry.significant,
        backoff(&entry.backoff),
    );
    match &entry.role {
        Role::Supervisor(plan) => supervisor(text, depth, plan, &common),
        Role::Worker(worker) => {
            let instances = match &worker.instances {
                Instances::One => "1".to_owned(),
                Instances::Count(count) => count.to_string(),
                Instances::Named(name) => name.clone(),
            };
            let content = format!(
                "{} worker start={} instances={instances}{common} stop_mode={} {} {}",
                entry.id,
                worker.start,
                worker.stop_mode,
                mailbox(&worker.mailbox),
                watchdog(&worker.watchdog),
            );
            line(text, depth, &content);
        }
    }
}

fn mailbox(plan: &MailboxPlan) -> String {
    format!("mailbox={}/{}", plan.capacity, plan.overflow)
}

fn watchdog(plan: &WatchdogPlan) -> String {
    format!("watchdog={}/{}", format_duration(plan.handler_max), plan.action)
}

fn backoff(plan: &BackoffPlan) -> String {
    format!(
        "backoff={}..{}*{}~{}/reset {}",
        format_duration(plan.min),
        format_duration(plan.max),
        plan.factor,
        plan.jitter,
        format_duration(plan.reset_after),
    )
}
