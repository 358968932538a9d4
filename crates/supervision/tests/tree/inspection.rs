//! What an operator sees.

use orinoco_supervision::{NodeKind, Status};

use crate::support::{Tell, World, start, until};

const TEXT: &str = r#"
[chaos]
allow_kill = true
[[supervisor]]
id = "root"
strategy = "rest_for_one"
children = [
  { id = "a", start = "Probe", mailbox = { capacity = 7 } },
  { id = "inner", type = "supervisor" },
]
[[supervisor]]
id = "inner"
strategy = "one_for_one"
children = [{ id = "x", start = "Probe" }]
"#;

#[tokio::test(start_paused = true)]
async fn a_snapshot_shows_the_whole_tree() {
    let world = World::default();
    let (tree, probes) = start(&world, TEXT).await;
    for number in 0..5 {
        probes.one().send(Tell::Note(number)).await.unwrap();
    }
    until("handled", || world.log_contains("note 4")).await;
    let snapshot = tree.inspect();
    assert_eq!((snapshot.actors, tree.actor_count()), (4, 4));
    assert_eq!(snapshot.root.kind, NodeKind::Supervisor);
    assert_eq!(snapshot.root.status, Status::Running);
    assert_eq!(snapshot.root.strategy.unwrap().as_str(), "rest_for_one");
    let a = snapshot.find("root/a").unwrap();
    assert_eq!((a.kind, a.status, a.incarnation), (NodeKind::Worker, Status::Running, 0));
    let mailbox = a.mailbox.as_ref().unwrap();
    assert_eq!((mailbox.depth, mailbox.capacity, mailbox.handled), (0, 7, 5));
    assert_eq!(a.timing.unwrap().waiting.count, 5);
    assert_eq!(a.timing.unwrap().handling.count, 5);
    assert_eq!(snapshot.find("root/inner/x").unwrap().status, Status::Running);
    assert!(snapshot.find("root/inner/y").is_none());
    tree.shutdown().await;
    assert_eq!(tree.inspect().find("root/inner/x").unwrap().status, Status::Stopped);
    assert_eq!(tree.actor_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_data_for_other_programs() {
    let world = World::default();
    let (tree, _) = start(&world, TEXT).await;
    let json = serde_json::to_value(tree.inspect()).unwrap();
    assert_eq!(json["root"]["children"][0]["mailbox"]["capacity"], 7);
    assert_eq!(json["root"]["children"][1]["children"][0]["status"], "running");
    assert_eq!(json["root"]["strategy"], "rest_for_one");
    assert!(tree.chaos().allow_kill);
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_kill_of_nothing_says_so() {
    let world = World::default();
    let (tree, probes) = start(&world, TEXT).await;
    for path in ["", "root/b", "root/a/b", "roo"] {
        assert_eq!(tree.kill(path).unwrap_err().to_string(), format!("no actor runs at `{path}`"));
    }
    tree.kill("root/a").unwrap();
    until("down", || !probes.one().is_up()).await;
    assert!(tree.children("root/a", None, 10).is_err());
    tree.shutdown().await;
}
