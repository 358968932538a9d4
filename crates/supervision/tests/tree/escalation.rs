//! More restarts than are borne, and ends that significant children cause.

use std::time::Duration;

use orinoco_supervision::{Exit, Status, Tree};

use crate::support::{Tell, World, catalog, plan, restarted, start, until};

fn two_levels(intensity_of_root: u32) -> String {
    format!(
        r#"
[[supervisor]]
id = "root"
strategy = "one_for_one"
intensity = {intensity_of_root}
period = "1h"
children = [
  {{ id = "first", start = "Probe" }},
  {{ id = "inner", type = "supervisor" }},
]

[[supervisor]]
id = "inner"
strategy = "one_for_one"
intensity = 1
period = "1h"
children = [
  {{ id = "x", start = "Probe" }},
  {{ id = "y", start = "Probe" }},
]
"#
    )
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_over_its_intensity_stops_its_children_and_is_restarted_by_its_parent() {
    let world = World::default();
    let (tree, probes) = start(&world, &two_levels(1)).await;
    probes.get(1).send(Tell::Fail).await.unwrap();
    restarted(&probes.get(1)).await;
    world.take_log();
    probes.get(1).send(Tell::Fail).await.unwrap();
    restarted(&probes.get(2)).await;
    assert_eq!(
        world.take_log(),
        ["drop root/inner/x", "stop root/inner/y", "drop root/inner/y", "start root/inner/x", "start root/inner/y"]
    );
    let snapshot = tree.inspect();
    let inner = snapshot.find("root/inner").unwrap();
    assert_eq!((inner.status, inner.incarnation, inner.restarts), (Status::Running, 1, 1));
    assert!(inner.last_failure.as_ref().unwrap().reason.contains("told to fail"));
    assert_eq!(tree.shutdown().await, Exit::Shutdown);
}

#[tokio::test(start_paused = true)]
async fn an_escalation_goes_through_two_levels_to_the_end_of_the_tree() {
    let world = World::default();
    let (tree, probes) = start(&world, &two_levels(0)).await;
    probes.get(1).send(Tell::Fail).await.unwrap();
    restarted(&probes.get(1)).await;
    world.take_log();
    probes.get(1).send(Tell::Panic).await.unwrap();
    let Exit::Escalated { supervisor, reason } = tree.wait().await else { panic!("no escalation") };
    assert_eq!(supervisor, "root");
    assert!(reason.contains("`inner`") && reason.contains("`x`") && reason.contains("told to panic"), "{reason}");
    assert_eq!(world.take_log().last().unwrap(), "drop root/first");
    assert_eq!((world.alive(), tree.actor_count()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn restarts_older_than_the_period_do_not_count() {
    let world = World::default();
    let text = two_levels(0).replace("intensity = 1\nperiod = \"1h\"", "intensity = 1\nperiod = \"10s\"");
    let (tree, probes) = start(&world, &text).await;
    for _ in 0..5 {
        probes.get(1).send(Tell::Fail).await.unwrap();
        restarted(&probes.get(1)).await;
        tokio::time::sleep(Duration::from_secs(11)).await;
    }
    assert_eq!(tree.shutdown().await, Exit::Shutdown);
}

#[tokio::test(start_paused = true)]
async fn with_scope_child_each_child_has_its_own_count() {
    let world = World::default();
    let text = two_levels(0).replace("intensity = 1\n", "intensity = 1\nintensity_scope = \"child\"\n");
    let (tree, probes) = start(&world, &text).await;
    for child in [1, 2] {
        probes.get(child).send(Tell::Fail).await.unwrap();
        restarted(&probes.get(child)).await;
    }
    assert!(probes.get(1).is_up() && probes.get(2).is_up());
    probes.get(2).send(Tell::Fail).await.unwrap();
    assert!(matches!(tree.wait().await, Exit::Escalated { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_killed_supervisor_is_restarted_with_all_of_its_children() {
    let world = World::default();
    let (tree, probes) = start(&world, &two_levels(5)).await;
    world.take_log();
    tree.kill("root/inner").unwrap();
    restarted(&probes.get(2)).await;
    let log = world.take_log();
    assert_eq!(log.iter().filter(|event| event.starts_with("drop")).count(), 2, "{log:?}");
    assert_eq!(log[log.len() - 2..], ["start root/inner/x", "start root/inner/y"]);
    assert_eq!(world.alive(), 3);
    assert_eq!(tree.actor_count(), 5);
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_root_ends_the_tree_and_everything_in_it() {
    let world = World::default();
    let (tree, _probes) = start(&world, &two_levels(5)).await;
    tree.kill("root").unwrap();
    assert!(matches!(tree.wait().await, Exit::Escalated { reason, .. } if reason == "killed"));
    until("all dropped", || world.alive() == 0).await;
    assert!(tree.kill("root").is_err());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_kills_the_tree() {
    let world = World::default();
    let (tree, _probes) = start(&world, &two_levels(5)).await;
    let second = tree.clone();
    drop(tree);
    assert_eq!(world.alive(), 3);
    drop(second);
    until("all dropped", || world.alive() == 0).await;
}

fn significant(rule: &str) -> String {
    format!(
        r#"
[[supervisor]]
id = "root"
strategy = "one_for_one"
auto_shutdown = "{rule}"
children = [
  {{ id = "a", start = "Probe", restart = "transient", significant = true }},
  {{ id = "b", start = "Probe", restart = "temporary", significant = true }},
  {{ id = "c", start = "Probe" }},
]
"#
    )
}

#[tokio::test(start_paused = true)]
async fn any_significant_ends_the_supervisor_with_the_first_of_them() {
    let world = World::default();
    let (tree, probes) = start(&world, &significant("any_significant")).await;
    world.take_log();
    probes.get(0).send(Tell::Stop).await.unwrap();
    assert_eq!(tree.wait().await, Exit::AutoShutdown);
    assert_eq!(
        world.take_log(),
        ["stop root/a", "drop root/a", "stop root/c", "drop root/c", "stop root/b", "drop root/b"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_significant_child_that_is_restarted_ends_nothing() {
    let world = World::default();
    let (tree, probes) = start(&world, &significant("any_significant")).await;
    probes.get(0).send(Tell::Fail).await.unwrap();
    restarted(&probes.get(0)).await;
    // A temporary one counts however it ended.
    probes.get(1).send(Tell::Fail).await.unwrap();
    assert_eq!(tree.wait().await, Exit::AutoShutdown);
}

#[tokio::test(start_paused = true)]
async fn all_significant_waits_for_the_last_of_them() {
    let world = World::default();
    let (tree, probes) = start(&world, &significant("all_significant")).await;
    probes.get(1).send(Tell::Stop).await.unwrap();
    until("b ended", || world.log_contains("drop root/b")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(probes.get(2).is_up());
    probes.get(0).send(Tell::Stop).await.unwrap();
    assert_eq!(tree.wait().await, Exit::AutoShutdown);
}

#[tokio::test(start_paused = true)]
async fn an_auto_shutdown_of_a_child_supervisor_is_a_normal_end() {
    let world = World::default();
    let text = r#"
[[supervisor]]
id = "root"
strategy = "one_for_one"
children = [{ id = "inner", type = "supervisor", restart = "transient" }, { id = "other", start = "Probe" }]
[[supervisor]]
id = "inner"
strategy = "one_for_one"
auto_shutdown = "any_significant"
children = [{ id = "s", start = "Probe", restart = "temporary", significant = true }]
"#;
    let (catalog, probes) = catalog(&world);
    let tree = Tree::start(plan(text), catalog).await.unwrap();
    probes.get(0).send(Tell::Stop).await.unwrap();
    until("inner ended", || tree.inspect().find("root/inner").unwrap().status == Status::Stopped).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!probes.get(0).is_up() && probes.get(1).is_up());
    assert!(tree.inspect().find("root/inner").unwrap().last_failure.is_none());
    tree.shutdown().await;
}
