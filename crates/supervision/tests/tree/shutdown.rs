//! Orderly ends: reverse order, drain or stop, and the kill at the end of patience.

use std::sync::Arc;
use std::time::Duration;

use orinoco_supervision::{Exit, SendError};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::support::{Tell, World, start, until};

#[tokio::test(start_paused = true)]
async fn a_tree_stops_in_the_reverse_order_of_its_start() {
    let world = World::default();
    let text = r#"
[[supervisor]]
id = "root"
strategy = "one_for_one"
children = [
  { id = "a", start = "Probe" },
  { id = "inner", type = "supervisor" },
  { id = "z", start = "Probe" },
]
[[supervisor]]
id = "inner"
strategy = "one_for_one"
children = [{ id = "x", start = "Probe" }, { id = "y", start = "Probe" }]
"#;
    let (tree, _) = start(&world, text).await;
    let starts = ["start root/a", "start root/inner/x", "start root/inner/y", "start root/z"];
    assert_eq!(world.take_log(), starts);
    assert_eq!(tree.shutdown().await, Exit::Shutdown);
    assert_eq!(
        world.take_log(),
        [
            "stop root/z",
            "drop root/z",
            "stop root/inner/y",
            "drop root/inner/y",
            "stop root/inner/x",
            "drop root/inner/x",
            "stop root/a",
            "drop root/a"
        ]
    );
    assert_eq!(tree.shutdown().await, Exit::Shutdown, "a second call waits too");
    assert_eq!(tree.actor_count(), 0);
}

fn one(options: &str) -> String {
    format!(
        "[[supervisor]]\nid = \"root\"\nstrategy = \"one_for_one\"\nchildren = [{{ id = \"a\", start = \"Probe\" }}, {{ id = \"b\", start = \"Probe\", {options} }}]"
    )
}

#[tokio::test(start_paused = true)]
async fn a_child_that_hangs_is_killed_after_its_shutdown_time_and_the_rest_stops_in_order() {
    let world = World::default();
    let (tree, probes) = start(&world, &one("shutdown = \"3s\", watchdog = { action = \"off\" }")).await;
    probes.get(1).send(Tell::Hang).await.unwrap();
    until("in work", || probes.get(1).depth() == 0).await;
    world.take_log();
    let began_at = Instant::now();
    tree.shutdown().await;
    assert!((3000..3100).contains(&began_at.elapsed().as_millis()));
    assert_eq!(world.take_log(), ["drop root/b", "stop root/a", "drop root/a"]);
}

#[tokio::test(start_paused = true)]
async fn a_post_stop_that_hangs_is_killed_too() {
    let world = World::default();
    world.hang_stop("root/b");
    let (tree, _) = start(&world, &one("shutdown = \"3s\"")).await;
    world.take_log();
    let began_at = Instant::now();
    tree.shutdown().await;
    assert!((3000..3100).contains(&began_at.elapsed().as_millis()));
    assert_eq!(world.take_log(), ["stop root/b", "drop root/b", "stop root/a", "drop root/a"]);
}

#[tokio::test(start_paused = true)]
async fn a_brutal_kill_does_not_call_post_stop() {
    let world = World::default();
    let (tree, _) = start(&world, &one("shutdown = \"brutal_kill\"")).await;
    world.take_log();
    tree.shutdown().await;
    assert_eq!(world.take_log(), ["drop root/b", "stop root/a", "drop root/a"]);
}

/// Queues notes behind a closed gate, shuts down, opens the gate; what was written down.
async fn queued_notes(options: &str) -> Vec<String> {
    let world = World::default();
    let (tree, probes) = start(&world, &one(options)).await;
    let gate = Arc::new(Semaphore::new(0));
    let probe = probes.get(1);
    probe.send(Tell::Wait(Arc::clone(&gate))).await.unwrap();
    for number in 0..100 {
        probe.send(Tell::Note(number)).await.unwrap();
    }
    let ending = tokio::spawn({
        let tree = tree.clone();
        async move { tree.shutdown().await }
    });
    until("down for senders", || !probe.is_up()).await;
    assert!(matches!(probe.try_send(Tell::Note(1000)), Err(SendError::Down(_))));
    gate.add_permits(1);
    ending.await.unwrap();
    world.take_log().into_iter().filter(|event| event.starts_with("note")).collect()
}

#[tokio::test(start_paused = true)]
async fn drain_handles_what_is_queued_and_stop_does_not() {
    let all: Vec<String> = (0..100).map(|number| format!("note {number}")).collect();
    assert_eq!(queued_notes("stop_mode = \"drain\"").await, all);
    assert_eq!(queued_notes("stop_mode = \"stop\"").await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_with_the_shutdown_time() {
    let world = World::default();
    let (tree, probes) = start(&world, &one("shutdown = \"2s\"")).await;
    probes.get(1).send(Tell::Wait(Arc::new(Semaphore::new(0)))).await.unwrap();
    probes.get(1).send(Tell::Note(1)).await.unwrap();
    let began_at = Instant::now();
    tree.shutdown().await;
    assert!(began_at.elapsed() < Duration::from_millis(2100));
    assert!(!world.log_contains("note 1"));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_gives_a_hanging_start_up() {
    let world = World::default();
    let (tree, probes) = start(&world, &one("start_timeout = \"infinity\"")).await;
    world.hang_start("root/b");
    probes.get(1).send(Tell::Fail).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let began_at = Instant::now();
    assert_eq!(tree.shutdown().await, Exit::Shutdown);
    assert!(began_at.elapsed() < Duration::from_secs(1));
    assert_eq!(world.alive(), 0);
}
