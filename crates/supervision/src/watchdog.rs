//! One task a tree that looks at what each actor has in work, in place of a timer for each message.
//!
//! A handler is found at most one look after its limit. A kill takes effect at the handler's next await: code that
//! blocks its thread cannot be ended, only named in the log.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::cell::{Cell, StopReason};
use crate::node::Node;
use crate::plan::WatchdogAction;

/// Looks are never rarer or closer than this.
const LOOK_MIN: Duration = Duration::from_millis(10);
const LOOK_MAX: Duration = Duration::from_secs(1);

/// How long until the next look: a quarter of the shortest limit. Where every watchdog is off, until one may be on.
fn look_after(root: &Arc<Node>) -> Duration {
    let mut shortest: Option<Duration> = None;
    let mut visit = |plan: crate::plan::WatchdogPlan| {
        if plan.action != WatchdogAction::Off {
            shortest = Some(shortest.map_or(plan.handler_max, |limit| limit.min(plan.handler_max)));
        }
    };
    root.walk(&mut |node| {
        if let Some(profile) = node.cell().and_then(|cell| cell.profile()) {
            visit(profile.watchdog());
        }
        if let Some(plan) = node.pool().and_then(|pool| pool.watchdog()) {
            visit(plan);
        }
    });
    shortest.map_or(LOOK_MAX, |limit| (limit / 4).clamp(LOOK_MIN, LOOK_MAX))
}

/// Watches the tree for ever.
pub(crate) async fn watch(root: Arc<Node>) {
    // What was reported at the last look: each hung message is reported once.
    let mut reported: HashSet<(String, Instant)> = HashSet::new();
    loop {
        tokio::time::sleep(look_after(&root)).await;
        let now = Instant::now();
        let mut hung = HashSet::new();
        root.for_each_cell(&mut |cell| {
            if let Some(since) = look(cell, now, &reported) {
                hung.insert((cell.path().to_owned(), since));
            }
        });
        reported = hung;
    }
}

/// Acts on one actor; the time since which it hangs, if it does.
fn look(cell: &dyn Cell, now: Instant, reported: &HashSet<(String, Instant)>) -> Option<Instant> {
    let current = cell.current()?;
    let profile = cell.profile()?;
    let plan = profile.watchdog();
    if plan.action == WatchdogAction::Off || now.saturating_duration_since(current.since) < plan.handler_max {
        return None;
    }
    if !reported.is_empty() && reported.contains(&(cell.path().to_owned(), current.since)) {
        return Some(current.since);
    }
    profile.hung.fetch_add(1, Ordering::Relaxed);
    let handler_max_ms = u64::try_from(plan.handler_max.as_millis()).unwrap_or(u64::MAX);
    let kill = plan.action == WatchdogAction::Kill;
    tracing::error!(path = cell.path(), kind = current.kind, handler_max_ms, kill, "handler hangs");
    if kill {
        cell.kill(StopReason::Hung { kind: current.kind, handler_max_ms });
    }
    Some(current.since)
}
