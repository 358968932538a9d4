//! The tree that runs is the one of the file, and it heals.

use std::{collections::BTreeMap, fs};

use orinoco_testkit::unique_name;
use serde_json::Value;

use crate::support::{Frame, Load, LoadPlan, Mode, Repeats, Said, Setup, World, campaign, turn, until};

pub(crate) const TREE: &str = include_str!("../../supervision.toml");

/// So often a session is killed; 1,000 times in a campaign.
const KILLS: usize = 5;

/// A daemon whose actors may be killed, with `change` made to the file of the tree.
pub(crate) async fn world(change: impl FnOnce(String) -> String) -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("supervision.toml");
    let text = TREE.replace("allow_kill = false", "allow_kill = true");
    assert_ne!(text, TREE);
    fs::write(&file, change(text)).unwrap();
    let setup = Setup::default().set("supervision", file.display()).set("stream.history_max", 1_000_000);
    (World::start(Mode::Embedded, setup).await, folder)
}

/// Incarnations of all actors, by path.
fn incarnations(world: &World) -> BTreeMap<String, u64> {
    fn walk(node: &Value, found: &mut BTreeMap<String, u64>) {
        let path = node["path"].as_str().unwrap().to_owned();
        found.insert(path, node["incarnation"].as_u64().unwrap());
        for child in node["children"].as_array().into_iter().flatten() {
            walk(child, found);
        }
    }
    let mut found = BTreeMap::new();
    walk(&world.json(&["tree", "--json"])[0]["root"], &mut found);
    found
}

/// Kills an actor; waits until it runs again, and returns the paths that began again with it, those below `stream` only.
pub(crate) async fn restarted_by_killing(world: &World, path: &str) -> Vec<String> {
    let before = incarnations(world);
    let killed = world.command(&["tree", "--kill", path]);
    assert!(killed.status.success(), "{}", String::from_utf8_lossy(&killed.stderr));
    until("the actor's next incarnation", async || (incarnations(world)[path] > before[path]).then_some(())).await;
    world.daemon.wait_until_ready(crate::support::DEADLINE).await.unwrap();
    let after = incarnations(world);
    let again = after.iter().filter(|(path, incarnation)| before[*path] < **incarnation);
    again.map(|(path, _)| path.clone()).filter(|path| path.starts_with("root/stream/")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_strategy_gives_another_outcome() {
    let one_for_one = "id = \"stream\"\nstrategy = \"one_for_one\"";
    let (world_of_one, _folder) = world(|text| text).await;
    assert_eq!(restarted_by_killing(&world_of_one, "root/stream/producer").await, ["root/stream/producer"]);
    let (world_of_all, _folder) = world(|text| {
        assert!(text.contains(one_for_one), "supervision.toml reads otherwise now");
        text.replace(one_for_one, &one_for_one.replace("one_for_one", "one_for_all"))
    })
    .await;
    let all = restarted_by_killing(&world_of_all, "root/stream/producer").await;
    let children = incarnations(&world_of_all).into_keys().filter(|path| path.starts_with("root/stream/"));
    assert!(all.len() > 3 && all.iter().cloned().eq(children), "{all:?}");
    for world in [&world_of_one, &world_of_all] {
        let name = unique_name("d");
        world.device().await.move_to(&name, 1.0, 2.0).await;
        until("the stream goes on", async || crate::support::latest(world, &name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_whose_session_is_killed_is_closed_with_1012_and_resumes() {
    let _turn = turn().await;
    let (world, _folder) = world(|text| text).await;
    let load = Load::start(&world, LoadPlan { connections: 1, devices: 1, messages_per_second: 200 }).await;
    let name = load.devices()[0].clone();
    let mut socket = world.watch(&format!("?device={name}")).await;
    let mut last = socket.frame().await;
    let mut session = 0;
    for _ in 0..campaign("KILLS", KILLS) {
        // Sessions are numbered one after the other.
        until("the session", async || {
            session += 1;
            world.command(&["tree", "--kill", &format!("root/ws_sessions/{session}")]).status.success().then_some(())
        })
        .await;
        loop {
            match socket.next().await {
                Said::Text(text) => {
                    let frame = Frame::parse(&text);
                    assert_eq!(frame.offset, last.offset + 1);
                    last = frame;
                }
                Said::Closed(code) => {
                    assert_eq!(code, Some(1012));
                    break;
                }
            }
        }
        socket = world.watch(&format!("?device={name}&offset={}&epoch={}", last.offset, last.epoch)).await;
        let next = socket.frame().await;
        assert_eq!(next.offset, last.offset + 1);
        last = next;
    }
    load.stop().await.assert_all_came_out(&world, Repeats::Never).await;
}

/// What campaigns kill by (`make faults`) would else be another tree than the one that is shipped.
#[test]
fn the_tree_of_campaigns_is_the_shipped_one_but_for_intensities_the_longest_backoff_and_leave_to_kill() {
    let plain = |text: &str| -> Vec<String> {
        let settings = text.lines().map(|line| line.split('#').next().unwrap().trim().to_owned());
        settings.filter(|line| !line.is_empty()).collect()
    };
    let (shipped, campaigns) = (plain(TREE), plain(include_str!("../faults/supervision.toml")));
    assert_eq!(shipped.len(), campaigns.len());
    for (shipped, campaigns) in shipped.iter().zip(campaigns) {
        let raised = if shipped.starts_with("intensity = ") {
            "intensity = 1000000".to_owned()
        } else {
            shipped
                .replace("allow_kill = false", "allow_kill = true")
                .replace(r#"max = "5s", factor"#, r#"max = "20ms", factor"#)
        };
        assert_eq!(raised, campaigns);
    }
}
