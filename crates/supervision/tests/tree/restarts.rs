//! When a child comes back: backoff, failed starts, and that nobody else waits for it.

use std::time::Duration;

use orinoco_supervision::{Catalog, Exit, Status, Tree, TreeError};
use tokio::time::Instant;

use crate::support::{Probe, Tell, World, catalog, incarnation, plan, restarted, start, until};

const TWO: &str = r#"
[[supervisor]]
id = "root"
strategy = "one_for_one"
intensity = 10
children = [
  { id = "a", start = "Probe" },
  { id = "b", start = "Probe" },
]
"#;

#[tokio::test(start_paused = true)]
async fn each_failure_in_a_row_doubles_the_wait() {
    let world = World::default();
    let (tree, probes) = start(&world, TWO).await;
    for wait_ms in [100, 200, 400, 800] {
        probes.get(0).send(Tell::Fail).await.unwrap();
        let failed_at = Instant::now();
        restarted(&probes.get(0)).await;
        let waited = failed_at.elapsed().as_millis();
        assert!((wait_ms..wait_ms + 10).contains(&waited), "waited {waited} ms, expected {wait_ms}");
    }
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_was_up_long_enough_begins_at_the_shortest_wait() {
    let world = World::default();
    let (tree, probes) = start(&world, TWO).await;
    for _ in 0..3 {
        probes.get(0).send(Tell::Fail).await.unwrap();
        restarted(&probes.get(0)).await;
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    probes.get(0).send(Tell::Fail).await.unwrap();
    let failed_at = Instant::now();
    restarted(&probes.get(0)).await;
    assert!(failed_at.elapsed() < Duration::from_millis(110));
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_backoff_does_not_block_the_supervisor() {
    let world = World::default();
    let (tree, probes) = start(&world, TWO).await;
    world.fail_starts("root/a", 5);
    probes.get(0).send(Tell::Fail).await.unwrap();
    until("a waits", || tree.inspect().find("root/a").unwrap().status == Status::Restarting).await;
    probes.get(1).send(Tell::Fail).await.unwrap();
    restarted(&probes.get(1)).await;
    assert_eq!(incarnation(&probes.get(1)).await, 1);
    assert!(!probes.get(0).is_up(), "the other child came back while this one waited");
    let snapshot = tree.inspect();
    assert!(snapshot.find("root/a").unwrap().restart_in_ms.is_some());
    probes.get(0).up().await;
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_hanging_restart_does_not_block_the_supervisor() {
    let world = World::default();
    let (tree, probes) = start(&world, TWO).await;
    world.hang_start("root/a");
    probes.get(0).send(Tell::Fail).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    probes.get(1).send(Tell::Fail).await.unwrap();
    restarted(&probes.get(1)).await;
    assert!(!probes.get(0).is_up());
    world.hang_no_start();
    probes.get(0).up().await;
    let reason = tree.inspect().find("root/a").unwrap().last_failure.clone().unwrap().reason;
    assert_eq!(reason, "start failed: it took more than start_timeout = 5s");
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn failed_starts_count_as_restarts_and_back_off() {
    let world = World::default();
    world.fail_starts("root/a", 3);
    let began_at = Instant::now();
    let (tree, _probes) = start(&world, TWO).await;
    // Three failures: 100 + 200 + 400 ms; b waits for its turn.
    assert!((700..710).contains(&began_at.elapsed().as_millis()));
    assert_eq!(
        world.take_log(),
        ["start failed root/a", "start failed root/a", "start failed root/a", "start root/a", "start root/b"]
    );
    let snapshot = tree.inspect();
    assert_eq!(snapshot.find("root/a").unwrap().restarts, 3);
    assert_eq!(snapshot.root.restarts_in_period, 3);
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_tree_whose_child_never_starts_does_not_start() {
    let world = World::default();
    world.fail_starts("root/b", 1000);
    let (catalog, _) = catalog(&world);
    let error = Tree::start(plan(TWO), catalog).await.err().unwrap();
    assert!(matches!(error, TreeError::Start { .. }));
    let text = error.to_string();
    assert!(text.contains("`b`") && text.contains("told to fail"), "{text}");
    assert_eq!(world.alive(), 0, "what had started was stopped");
    assert!(world.log_contains("stop root/a"));
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_arguments_are_made_is_a_failed_start() {
    let mut catalog = Catalog::new();
    catalog.actor("Probe", || Probe, |_| -> World { panic!("no arguments") });
    let error = Tree::start(plan(TWO), catalog).await.err().unwrap();
    assert!(error.to_string().contains("no arguments"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_predecessor_is_dropped_before_the_successor_starts_even_after_a_kill() {
    let world = World::default();
    let (tree, probes) = start(&world, TWO).await;
    for _ in 0..5 {
        world.take_log();
        tree.kill("root/a").unwrap();
        restarted(&probes.get(0)).await;
        assert_eq!(world.take_log(), ["drop root/a", "start root/a"]);
    }
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_actor_started_beside_itself_ends_with_it() {
    use orinoco_supervision::{Actor, Context, Failure};

    struct Helped;
    impl Actor for Helped {
        type Message = Tell;
        type Arguments = World;
        type State = ();

        async fn pre_start(&self, context: &Context<Tell>, world: World) -> Result<(), Failure> {
            let guard = Dropped(world.clone());
            context.spawn(async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            });
            // Its own messages are taken while it starts.
            context.address().try_send(Tell::Note(1)).map_err(|_| "refused")?;
            context.send_after(Duration::from_secs(1), Tell::Note(2));
            context.send_after(Duration::from_secs(1), Tell::Note(3)).cancel();
            world.note("started");
            Ok(())
        }

        async fn handle(&self, _: &Context<Tell>, message: Tell, (): &mut ()) -> Result<(), Failure> {
            match message {
                Tell::Fail => Err("told to fail".into()),
                Tell::Note(number) => {
                    LOG.lock().unwrap().push(number);
                    Ok(())
                }
                _ => Ok(()),
            }
        }
    }
    struct Dropped(World);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.note("helper dropped");
        }
    }
    static LOG: std::sync::Mutex<Vec<u32>> = std::sync::Mutex::new(Vec::new());

    let world = World::default();
    let mut catalog = Catalog::new();
    let group = catalog.group::<Tell>("Helped");
    let for_actor = world.clone();
    catalog.actor("Helped", || Helped, move |_| for_actor.clone());
    let text =
        "[[supervisor]]\nid = \"root\"\nstrategy = \"one_for_one\"\nchildren = [{ id = \"h\", start = \"Helped\" }]";
    let tree = Tree::start(plan(text), catalog).await.unwrap();
    until("its own message", || *LOG.lock().unwrap() == [1]).await;
    group.one().send(Tell::Fail).await.unwrap();
    restarted(&group.one()).await;
    // The timer of the first incarnation never comes; that of the second one does.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(*LOG.lock().unwrap(), [1, 1, 2]);
    assert_eq!(tree.shutdown().await, Exit::Shutdown);
    assert_eq!(world.take_log(), ["started", "helper dropped", "started", "helper dropped"]);
}
