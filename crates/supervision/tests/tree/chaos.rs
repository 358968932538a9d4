//! `[chaos] kill_at_random`: who is killed, how often, and until when.

use std::time::Duration;

use orinoco_supervision::{Exit, Plan};

use crate::support::{World, start, until};

const TEXT: &str = r#"
[chaos]
kill_at_random = { every = "10s", only = ["root/inner/x"] }
[[supervisor]]
id = "root"
strategy = "one_for_one"
children = [{ id = "a", start = "Probe" }, { id = "inner", type = "supervisor" }]
[[supervisor]]
id = "inner"
strategy = "one_for_one"
intensity = 100
children = [{ id = "x", start = "Probe", instances = 2 }]
"#;

#[tokio::test(start_paused = true)]
async fn those_that_the_file_names_are_killed_again_and_again_and_come_back() {
    let world = World::default();
    let (tree, probes) = start(&world, TEXT).await;
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    until("up", || probes.iter().all(|probe| probe.is_up())).await;
    let snapshot = tree.inspect();
    let restarts = |path: &str| snapshot.find(path).unwrap().restarts;
    assert_eq!(restarts("root/a"), 0);
    let kills = restarts("root/inner/x.0") + restarts("root/inner/x.1");
    assert!((67..=200).contains(&kills), "{kills} kills, a wait of 5 s to 15 s before each");
    assert!(restarts("root/inner/x.0") > 10 && restarts("root/inner/x.1") > 10, "{kills}");
    let failure = snapshot.find("root/inner/x.0").unwrap().last_failure.clone().unwrap();
    assert_eq!(failure.reason, "killed at random: [chaos] kill_at_random");
    assert_eq!(tree.shutdown().await, Exit::Shutdown);
}

#[test]
fn the_file_s_chaos_is_shown_and_nobody_is_killed_where_it_says_nothing() {
    let schema = "schema = 1\n";
    let plan = Plan::parse(&format!("{schema}{TEXT}"), "plan").unwrap();
    assert!(plan.to_string().ends_with("chaos allow_kill=false kill_at_random=10s/root/inner/x\n"), "{plan}");
    let without = TEXT.replace("kill_at_random = { every = \"10s\", only = [\"root/inner/x\"] }", "");
    assert_eq!(Plan::parse(&format!("{schema}{without}"), "plan").unwrap().chaos().kill_at_random, None);
}
