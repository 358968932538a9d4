//! Kills actors at random, where the file says so: a staging deployment shows every day that everything comes back.

use std::sync::Arc;
use std::time::Duration;

use crate::cell::{Cell, StopReason};
use crate::mailbox::Phase;
use crate::node::Node;
use crate::plan::KillAtRandom;

/// Kills one running worker or pool child after another, for ever.
pub(crate) async fn kill_at_random(root: Arc<Node>, plan: KillAtRandom) {
    tracing::warn!(every_ms = plan.every.as_millis() as u64, only = ?plan.only, "kills actors at random");
    loop {
        tokio::time::sleep(wait(plan.every, fastrand::f64())).await;
        if let Some(path) = kill_one(&root, &plan, fastrand::f64()) {
            tracing::warn!(path, "killed at random");
        }
    }
}

/// Between half of it and one and a half; `random` is in 0.0 to 1.0.
fn wait(every: Duration, random: f64) -> Duration {
    every.mul_f64(0.5 + random)
}

/// Kills one of those that run; which one says `random`, in 0.0 to 1.0.
fn kill_one(root: &Arc<Node>, plan: &KillAtRandom, random: f64) -> Option<String> {
    let is_target = |cell: &dyn Cell| plan.names(cell.path()) && cell.view().phase == Phase::Open;
    let mut targets = 0_usize;
    root.for_each_cell(&mut |cell| targets += usize::from(is_target(cell)));
    let chosen = ((targets as f64 * random) as usize).min(targets.checked_sub(1)?);
    let (mut index, mut killed) = (0, None);
    root.for_each_cell(&mut |cell| {
        if !is_target(cell) {
            return;
        }
        if index == chosen && cell.kill(StopReason::AtRandom) {
            killed = Some(cell.path().to_owned());
        }
        index += 1;
    });
    killed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_spread_around_what_the_file_says() {
        let every = Duration::from_secs(10);
        assert_eq!(wait(every, 0.0), Duration::from_secs(5));
        assert_eq!(wait(every, 1.0), Duration::from_secs(15));
    }

    #[test]
    fn only_what_is_named_and_what_is_below_it_is_killed() {
        let plan = KillAtRandom {
            every: Duration::from_secs(1),
            only: vec!["root/stream/writer".to_owned(), "root/login".to_owned()],
        };
        for path in ["root/stream/writer", "root/stream/writer.3", "root/login/registry", "root/login/challenges/x"] {
            assert!(plan.names(path), "{path}");
        }
        for path in ["root/stream/writer_2", "root/stream/writers.1", "root/stream/hub.0", "root/logins/x", "root"] {
            assert!(!plan.names(path), "{path}");
        }
        assert!(KillAtRandom { only: Vec::new(), ..plan }.names("root/stream/hub.0"));
    }
}
