//! Handlers that hang.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Tell, World, incarnation, restarted, start, until};

fn watched(action: &str) -> String {
    format!(
        r#"
[[supervisor]]
id = "root"
strategy = "one_for_one"
children = [
  {{ id = "a", start = "Probe", watchdog = {{ handler_max = "2s", action = "{action}" }} }},
  {{ id = "b", start = "Probe" }},
]
"#
    )
}

#[tokio::test(start_paused = true)]
async fn a_hanging_handler_is_killed_and_the_actor_restarted() {
    let world = World::default();
    let (tree, probes) = start(&world, &watched("kill")).await;
    probes.one().send(Tell::Hang).await.unwrap();
    let began_at = Instant::now();
    restarted(&probes.one()).await;
    let waited_ms = began_at.elapsed().as_millis();
    assert!((2000..2800).contains(&waited_ms), "{waited_ms} ms");
    let snapshot = tree.inspect();
    let node = snapshot.find("root/a").unwrap();
    let reason = &node.last_failure.as_ref().unwrap().reason;
    assert_eq!(reason, "killed by the watchdog: `hang` took more than 2000 ms");
    assert_eq!(node.timing.unwrap().hung, 1);
    assert_eq!(incarnation(&probes.get(1)).await, 0);
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_warning_counts_each_hanging_message_once_and_leaves_it() {
    let world = World::default();
    let (tree, probes) = start(&world, &watched("warn")).await;
    probes.one().send(Tell::Hang).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let snapshot = tree.inspect();
    let node = snapshot.find("root/a").unwrap();
    assert_eq!((node.timing.unwrap().hung, node.incarnation), (1, 0));
    let current = node.mailbox.as_ref().unwrap().current.as_ref().unwrap();
    assert_eq!(current.kind, "hang");
    assert!(current.for_ms >= 59_000);
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_watchdog_that_is_off_does_nothing() {
    let world = World::default();
    let (tree, probes) = start(&world, &watched("off")).await;
    probes.one().send(Tell::Hang).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(tree.inspect().find("root/a").unwrap().timing.unwrap().hung, 0);
    assert!(probes.one().is_up());
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_post_stop_that_hangs_after_the_actor_stopped_itself_is_killed() {
    let world = World::default();
    let (tree, probes) = start(&world, &watched("kill")).await;
    world.hang_stop("root/a");
    probes.one().send(Tell::Stop).await.unwrap();
    until("dropped", || world.log_contains("drop root/a")).await;
    probes.one().up().await;
    tree.shutdown().await;
}
