//! Who is restarted with whom, for each strategy and restart type.

use orinoco_supervision::Plan;

use crate::support::{Tell, World, catalog, incarnation, plan, restarted, start, until};

fn three(strategy: &str, restart: &str) -> String {
    format!(
        r#"
[[supervisor]]
id = "root"
strategy = "{strategy}"
intensity = 10
children = [
  {{ id = "a", start = "Probe", restart = "{restart}" }},
  {{ id = "b", start = "Probe", restart = "{restart}" }},
  {{ id = "c", start = "Probe", restart = "{restart}" }},
]
"#
    )
}

const FIRST_START: [&str; 3] = ["start root/a", "start root/b", "start root/c"];

#[tokio::test(start_paused = true)]
async fn one_for_one_restarts_only_the_failed_child() {
    let world = World::default();
    let (tree, probes) = start(&world, &three("one_for_one", "permanent")).await;
    assert_eq!(world.take_log(), FIRST_START);
    probes.get(1).send(Tell::Fail).await.unwrap();
    restarted(&probes.get(1)).await;
    assert_eq!(world.take_log(), ["drop root/b", "start root/b"]);
    assert_eq!(incarnation(&probes.get(0)).await, 0);
    assert_eq!(incarnation(&probes.get(1)).await, 1);
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn one_for_all_stops_the_others_in_reverse_and_starts_all_in_order() {
    let world = World::default();
    let (tree, probes) = start(&world, &three("one_for_all", "permanent")).await;
    world.take_log();
    probes.get(1).send(Tell::Fail).await.unwrap();
    restarted(&probes.get(2)).await;
    let log = world.take_log();
    assert_eq!(
        log,
        [
            "drop root/b",
            "stop root/c",
            "drop root/c",
            "stop root/a",
            "drop root/a",
            "start root/a",
            "start root/b",
            "start root/c"
        ]
    );
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn rest_for_one_restarts_the_failed_child_and_those_after_it() {
    let world = World::default();
    let (tree, probes) = start(&world, &three("rest_for_one", "permanent")).await;
    world.take_log();
    probes.get(1).send(Tell::Fail).await.unwrap();
    restarted(&probes.get(2)).await;
    let log = world.take_log();
    assert_eq!(log, ["drop root/b", "stop root/c", "drop root/c", "start root/b", "start root/c"]);
    assert_eq!(incarnation(&probes.get(0)).await, 0);
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_strategy_changed_in_the_text_gives_another_outcome() {
    for (strategy, expected) in [("one_for_one", [0, 1, 0]), ("rest_for_one", [0, 1, 1]), ("one_for_all", [1, 1, 1])] {
        let world = World::default();
        let (tree, probes) = start(&world, &three(strategy, "permanent")).await;
        probes.get(1).send(Tell::Fail).await.unwrap();
        restarted(&probes.get(1)).await;
        probes.get(2).up().await;
        let mut incarnations = [0; 3];
        for (slot, address) in incarnations.iter_mut().zip(probes.iter()) {
            *slot = incarnation(&address).await;
        }
        assert_eq!(incarnations, expected, "{strategy}");
        tree.shutdown().await;
    }
}

/// What happens to child `b` after an end, for a restart type.
async fn comes_back(strategy: &str, restart: &str, tell: Tell) -> bool {
    let world = World::default();
    let (tree, probes) = start(&world, &three(strategy, restart)).await;
    world.take_log();
    probes.get(1).send(tell).await.unwrap();
    until("the end", || world.log_contains("drop root/b")).await;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let back = probes.get(1).is_up();
    tree.shutdown().await;
    back
}

#[tokio::test(start_paused = true)]
async fn each_restart_type_follows_otp_under_each_strategy() {
    for strategy in ["one_for_one", "one_for_all", "rest_for_one"] {
        for (restart, after_normal, after_failure) in
            [("permanent", true, true), ("transient", false, true), ("temporary", false, false)]
        {
            assert_eq!(comes_back(strategy, restart, Tell::Stop).await, after_normal, "{strategy} {restart} stop");
            assert_eq!(comes_back(strategy, restart, Tell::Fail).await, after_failure, "{strategy} {restart} fail");
            assert_eq!(comes_back(strategy, restart, Tell::Panic).await, after_failure, "{strategy} {restart} panic");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_is_an_abnormal_end() {
    let world = World::default();
    let (tree, probes) = start(&world, &three("one_for_one", "transient")).await;
    tree.kill("root/b").unwrap();
    restarted(&probes.get(1)).await;
    let snapshot = tree.inspect();
    let node = snapshot.find("root/b").unwrap();
    assert_eq!((node.incarnation, node.restarts), (1, 1));
    assert_eq!(node.last_failure.as_ref().unwrap().reason, "killed on request");
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_temporary_sibling_is_stopped_and_not_restarted_by_one_for_all() {
    let world = World::default();
    let text = three("one_for_all", "permanent").replacen("\"permanent\"", "\"temporary\"", 1);
    let (tree, probes) = start(&world, &text).await;
    probes.get(1).send(Tell::Fail).await.unwrap();
    restarted(&probes.get(2)).await;
    assert!(!probes.get(0).is_up());
    assert!(probes.get(1).is_up());
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_group_restart_brings_back_a_transient_sibling_that_had_ended_normally() {
    let world = World::default();
    let (tree, probes) = start(&world, &three("one_for_all", "transient")).await;
    probes.get(0).send(Tell::Stop).await.unwrap();
    until("a ended", || !probes.get(0).is_up()).await;
    probes.get(1).send(Tell::Fail).await.unwrap();
    restarted(&probes.get(1)).await;
    probes.get(0).up().await;
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn instances_are_children_of_their_own() {
    let world = World::default();
    let (mut catalog, probes) = catalog(&world);
    catalog.instances("per_partition", 3);
    let plan: Plan = plan(
        r#"
[[supervisor]]
id = "root"
strategy = "rest_for_one"
children = [
  { id = "p", start = "Probe", instances = "per_partition" },
  { id = "q", start = "Probe", instances = 2 },
]
"#,
    );
    let tree = orinoco_supervision::Tree::start(plan, catalog).await.unwrap();
    assert_eq!(probes.len(), 5);
    assert_eq!(
        world.take_log(),
        ["start root/p.0", "start root/p.1", "start root/p.2", "start root/q.0", "start root/q.1"]
    );
    assert_eq!(probes.get(4).path(), "root/q.1");
    probes.get(2).send(Tell::Fail).await.unwrap();
    restarted(&probes.get(4)).await;
    let mut incarnations = Vec::new();
    for address in probes.iter() {
        incarnations.push(incarnation(&address).await);
    }
    assert_eq!(incarnations, [0, 0, 1, 1, 1]);
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_with_no_instances_in_this_configuration_is_left_out() {
    let world = World::default();
    let (mut catalog, probes) = catalog(&world);
    catalog.actor("Absent", || crate::support::Probe, |_| World::default());
    let absent = catalog.group::<Tell>("Absent");
    catalog.instances("with_it", 0);
    let plan = plan(
        r#"
[[supervisor]]
id = "root"
strategy = "one_for_one"
children = [{ id = "absent", start = "Absent", instances = "with_it" }, { id = "a", start = "Probe" }]
"#,
    );
    let tree = orinoco_supervision::Tree::start(plan, catalog).await.unwrap();
    assert_eq!((absent.len(), probes.len(), tree.actor_count()), (0, 1, 2));
    assert!(!absent.one().is_up(), "its address is down for ever");
    tree.shutdown().await;
}
