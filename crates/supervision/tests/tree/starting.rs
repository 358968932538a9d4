//! Starts on many threads: what is told in an unexpected order still counts.

use std::time::Duration;

use orinoco_supervision::{Catalog, Plan, Tree};

use crate::support::{Probe, World};

const PLAN: &str = r#"
schema = 1
root = "root"
[[supervisor]]
id = "root"
strategy = "one_for_one"
children = [{ id = "first", type = "supervisor" }, { id = "second", type = "supervisor" }]
[[supervisor]]
id = "first"
strategy = "one_for_one"
children = [{ id = "a", start = "Probe" }]
[[supervisor]]
id = "second"
strategy = "one_for_one"
children = [{ id = "b", start = "Probe" }]
"#;

/// A supervisor may have its children up before the task that started it has reported it to its own supervisor. Each start is a
/// chance of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_supervisor_that_is_up_before_it_is_reported_holds_nobody_up() {
    for start in 0..400 {
        let world = World::default();
        let mut catalog = Catalog::new();
        catalog.actor("Probe", || Probe, move |_| world.clone());
        let plan = Plan::parse(PLAN, "plan").unwrap();
        let started = tokio::time::timeout(Duration::from_secs(30), Tree::start(plan, catalog)).await;
        let Ok(tree) = started else { panic!("start {start} hangs") };
        tree.unwrap().shutdown().await;
    }
}
