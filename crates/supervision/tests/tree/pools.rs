//! Children started while the tree runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use orinoco_supervision::{
    Actor, Address, Catalog, ChildStart, Context, Exit, Failure, Message, Pool, StartChildError, Status, Tree,
};
use tokio::time::Instant;

use crate::support::{Probe, Tell, World, incarnation, plan, restarted, until};

fn text(pool: &str, child: &str) -> String {
    format!(
        r#"
[[supervisor]]
id = "root"
strategy = "one_for_one"
intensity = 1
period = "1h"
children = [{{ id = "pool", type = "supervisor" }}]
[[supervisor]]
id = "pool"
strategy = "simple_one_for_one"
{pool}
child = {{ start = "Child", {child} }}
"#
    )
}

async fn start(pool: &str, child: &str) -> (Tree, Pool<Probe>) {
    let mut catalog = Catalog::new();
    let children = catalog.pool("Child", || Probe);
    let tree = Tree::start(plan(&text(pool, child)), catalog).await.unwrap();
    (tree, children)
}

async fn child(pool: &Pool<Probe>, key: u64, world: &World) -> Address<Tell> {
    let world = world.clone();
    pool.start_child(key, move || world.clone()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn children_start_answer_and_end_without_a_trace() {
    let world = World::default();
    let (tree, pool) = start("max_children = 10\npartitions = 3", "restart = \"temporary\"").await;
    for key in 0..5 {
        let address = child(&pool, key, &world).await;
        assert_eq!(address.path(), format!("root/pool/{key}"));
        assert_eq!(incarnation(&address).await, 0);
    }
    assert_eq!(pool.live(), 5);
    // Root, pool, three partitions, five children.
    assert_eq!(tree.actor_count(), 10);
    pool.get(1).unwrap().send(Tell::Stop).await.unwrap();
    pool.get(2).unwrap().send(Tell::Fail).await.unwrap();
    tree.kill("root/pool/3").unwrap();
    until("three ended", || pool.live() == 2).await;
    assert!(pool.get(1).is_none() && pool.get(4).is_some());
    let snapshot = tree.inspect();
    let seen = snapshot.find("root/pool").unwrap().pool.as_ref().unwrap();
    assert_eq!((seen.live, seen.started, seen.ended, seen.restarted, seen.deadlines), (2, 5, 3, 0, 0));
    assert_eq!(tree.shutdown().await, Exit::Shutdown);
    assert_eq!((pool.live(), world.alive()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_refuses_and_a_key_is_used_once() {
    let world = World::default();
    let (tree, pool) = start("max_children = 2", "restart = \"temporary\"").await;
    child(&pool, 1, &world).await;
    let again = pool.start_child_with(1, ChildStart::once(world.clone())).await;
    assert!(matches!(again, Err(StartChildError::AlreadyStarted { key }) if key == "1"));
    child(&pool, 2, &world).await;
    let full = pool.start_child_with(3, ChildStart::once(world.clone())).await;
    assert!(matches!(full, Err(StartChildError::PoolFull { max_children: 2 })));
    assert!(pool.stop_child(1));
    until("a seat is free", || pool.live() == 1).await;
    assert!(world.log_contains("stop root/pool/1"), "an orderly stop");
    child(&pool, 1, &world).await;
    assert!(!pool.stop_child(99));
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_is_told_to_the_starter_and_not_tried_again() {
    let world = World::default();
    let (tree, pool) = start("max_children = 2", "restart = \"permanent\", start_timeout = \"2s\"").await;
    world.fail_starts("root/pool/1", 1);
    let for_child = world.clone();
    let failed = pool.start_child(1, move || for_child.clone()).await;
    assert!(matches!(failed, Err(StartChildError::Failed(failure)) if failure.to_string() == "told to fail"));
    world.hang_start("root/pool/2");
    let for_child = world.clone();
    let failed = pool.start_child(2, move || for_child.clone()).await;
    assert!(matches!(failed, Err(StartChildError::Timeout(limit)) if limit == Duration::from_secs(2)));
    assert_eq!(pool.live(), 0);
    // A starter that goes away gives the start up.
    let for_child = world.clone();
    let given_up = pool.start_child(2, move || for_child.clone());
    assert!(tokio::time::timeout(Duration::from_secs(1), given_up).await.is_err());
    assert_eq!(pool.live(), 0);
    tree.shutdown().await;
    let down = pool.start_child_with(5, ChildStart::cloned(world.clone())).await;
    assert!(matches!(down, Err(StartChildError::Down)));
}

#[tokio::test(start_paused = true)]
async fn arguments_given_once_need_temporary_children() {
    let world = World::default();
    let (tree, pool) = start("max_children = 2", "restart = \"transient\"").await;
    let refused = pool.start_child_with(1, ChildStart::once(world.clone())).await;
    assert!(matches!(refused, Err(StartChildError::ArgumentsOnce)));
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_transient_child_is_restarted_with_backoff_under_the_same_address() {
    let world = World::default();
    let (tree, pool) = start("max_children = 10\nintensity = 10", "restart = \"transient\"").await;
    let address = child(&pool, 1, &world).await;
    let other = child(&pool, 2, &world).await;
    for (expected, tell) in [(1, Tell::Fail), (2, Tell::Panic)] {
        address.send(tell).await.unwrap();
        until("it waits", || tree.children("root/pool", None, 1).unwrap()[0].status == Status::Restarting).await;
        restarted(&address).await;
        assert_eq!(incarnation(&address).await, expected);
    }
    tree.kill("root/pool/1").unwrap();
    restarted(&address).await;
    let page = tree.children("root/pool", None, 10).unwrap();
    assert_eq!(page[0].last_failure.as_deref(), Some("killed on request"));
    assert_eq!(incarnation(&other).await, 0);
    address.send(Tell::Stop).await.unwrap();
    until("it ended", || pool.live() == 1).await;
    assert!(pool.get(1).is_none());
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn failed_restarts_count_and_back_off_and_a_stop_ends_the_waiting() {
    let world = World::default();
    let (tree, pool) = start("max_children = 10\nintensity = 10", "restart = \"permanent\"").await;
    let address = child(&pool, 1, &world).await;
    world.fail_starts("root/pool/1", 3);
    address.send(Tell::Fail).await.unwrap();
    let failed_at = Instant::now();
    restarted(&address).await;
    // 100 + 200 + 400 + 800 ms.
    assert!((1500..1520).contains(&failed_at.elapsed().as_millis()), "{:?}", failed_at.elapsed());
    assert_eq!(tree.inspect().find("root/pool").unwrap().restarts_in_period, 4);
    address.send(Tell::Fail).await.unwrap();
    until("it waits", || !address.is_up()).await;
    assert!(pool.stop_child(1));
    assert_eq!(pool.live(), 0);
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn over_its_intensity_a_pool_escalates_with_all_of_its_partitions() {
    let world = World::default();
    let (tree, pool) = start("max_children = 10\nintensity = 2\nperiod = \"1h\"\npartitions = 2", "").await;
    for key in 0..4 {
        child(&pool, key, &world).await;
    }
    for key in 0..3 {
        pool.get(key).unwrap().send(Tell::Fail).await.unwrap();
    }
    until("the pool was emptied", || pool.live() == 0).await;
    until("the pool is back", || pool.is_up()).await;
    let snapshot = tree.inspect();
    assert_eq!(snapshot.find("root/pool").unwrap().incarnation, 1);
    assert!(world.log_contains("stop root/pool/3"), "an orderly stop of the others");
    // The new incarnation begins with a clean count.
    let address = child(&pool, 9, &world).await;
    address.send(Tell::Fail).await.unwrap();
    restarted(&address).await;
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn with_scope_child_only_the_child_that_fails_too_often_is_given_up() {
    let world = World::default();
    let options = "max_children = 10\nintensity = 2\nperiod = \"1h\"\nintensity_scope = \"child\"";
    let (tree, pool) = start(options, "").await;
    let bad = child(&pool, 1, &world).await;
    let good = child(&pool, 2, &world).await;
    for _ in 0..2 {
        bad.send(Tell::Fail).await.unwrap();
        restarted(&bad).await;
    }
    bad.send(Tell::Fail).await.unwrap();
    until("given up", || pool.live() == 1).await;
    assert_eq!(incarnation(&good).await, 0);
    assert_eq!(tree.inspect().find("root/pool").unwrap().pool.as_ref().unwrap().given_up, 1);
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_partition_takes_its_children_along_and_comes_back() {
    let world = World::default();
    let (tree, pool) = start("max_children = 10\nintensity = 3", "ttl = \"1h\"").await;
    for key in 0..4 {
        child(&pool, key, &world).await;
    }
    tree.kill("root/pool/partition.0").unwrap();
    until("its children are gone", || pool.live() == 0 && world.alive() == 0).await;
    until("it is back", || pool.is_up()).await;
    assert_eq!(tree.inspect().find("root/pool").unwrap().pool.as_ref().unwrap().deadlines, 0);
    child(&pool, 1, &world).await;
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_drains_all_children_at_once_and_kills_those_that_hang() {
    let world = World::default();
    let options = "shutdown = \"2s\", watchdog = { action = \"off\" }";
    let (tree, pool) = start("max_children = 100", options).await;
    for key in 0..50 {
        let address = child(&pool, key, &world).await;
        if key % 10 == 0 {
            address.send(Tell::Hang).await.unwrap();
        } else {
            address.send(Tell::Note(key as u32)).await.unwrap();
        }
    }
    let began_at = Instant::now();
    assert_eq!(tree.shutdown().await, Exit::Shutdown);
    assert!((2000..2100).contains(&began_at.elapsed().as_millis()));
    assert_eq!(world.alive(), 0);
    let log = world.take_log();
    assert_eq!(log.iter().filter(|event| event.starts_with("stop")).count(), 45);
    assert_eq!(log.iter().filter(|event| event.starts_with("note")).count(), 45);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_handler_of_a_pool_child_is_killed() {
    let world = World::default();
    let (tree, pool) = start("max_children = 10\nintensity = 5", "watchdog = { handler_max = \"2s\" }").await;
    let address = child(&pool, 1, &world).await;
    address.send(Tell::Hang).await.unwrap();
    restarted(&address).await;
    assert_eq!(tree.inspect().find("root/pool").unwrap().timing.unwrap().hung, 1);
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_ends_at_its_ttl_and_an_idle_one_at_its_idle_ttl() {
    let world = World::default();
    let (tree, pool) = start("max_children = 10", "restart = \"transient\", ttl = \"100s\", idle_ttl = \"30s\"").await;
    let idle = child(&pool, 1, &world).await;
    let busy = child(&pool, 2, &world).await;
    let began_at = Instant::now();
    while pool.live() == 2 {
        busy.send(Tell::Note(0)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(!idle.is_up() && busy.is_up());
    assert!((29..=32).contains(&began_at.elapsed().as_secs()), "{:?}", began_at.elapsed());
    while pool.live() == 1 {
        let _ = busy.send(Tell::Note(0)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!((99..=102).contains(&began_at.elapsed().as_secs()), "{:?}", began_at.elapsed());
    assert!(world.log_contains("stop root/pool/1") && world.log_contains("stop root/pool/2"), "normal ends");
    assert_eq!(tree.inspect().find("root/pool").unwrap().pool.as_ref().unwrap().deadlines, 0);
    tree.shutdown().await;
}

/// Seconds from its start to the end of a child that fails once on the way.
async fn lifetime_s(options: &str, start_as: impl FnOnce(World) -> ChildStart<Probe>) -> u64 {
    let world = World::default();
    let (tree, pool) = start("max_children = 10", options).await;
    let began_at = Instant::now();
    let address = pool.start_child_with(1, start_as(world.clone())).await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    // Down when its life was shorter than that.
    let _ = address.send(Tell::Fail).await;
    until_ended(&pool).await;
    let lived = began_at.elapsed().as_secs();
    tree.shutdown().await;
    lived
}

async fn until_ended(pool: &Pool<Probe>) {
    while pool.live() > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_prolongs_a_life_only_with_ttl_from_start() {
    let from = |from: &str| format!("restart = \"transient\", ttl = \"60s\", ttl_from = \"{from}\"");
    let age = |s| move |world| ChildStart::cloned(world).age(Duration::from_secs(s));
    assert_eq!(lifetime_s(&from("start"), age(0)).await, 80);
    assert_eq!(lifetime_s(&from("created_at"), age(0)).await, 60);
    assert_eq!(lifetime_s(&from("created_at"), age(25)).await, 35);
    let ttl = |world| ChildStart::cloned(world).ttl(Duration::from_secs(45));
    assert_eq!(lifetime_s(&from("start"), ttl).await, 45);
    assert_eq!(lifetime_s("restart = \"transient\"", ttl).await, 45);
    let born_dead = |world| ChildStart::cloned(world).age(Duration::from_secs(61));
    assert_eq!(lifetime_s(&from("created_at"), born_dead).await, 20);
}

/// An actor that gives `expired` a meaning of its own.
struct Lingers;

enum Nothing {}

impl Message for Nothing {
    fn kind(&self) -> &'static str {
        match *self {}
    }
}

impl Actor for Lingers {
    type Message = Nothing;
    type Arguments = Arc<AtomicU64>;
    type State = Arc<AtomicU64>;

    async fn pre_start(&self, _: &Context<Nothing>, count: Arc<AtomicU64>) -> Result<Arc<AtomicU64>, Failure> {
        Ok(count)
    }

    async fn handle(&self, _: &Context<Nothing>, message: Nothing, _: &mut Arc<AtomicU64>) -> Result<(), Failure> {
        match message {}
    }

    async fn expired(&self, context: &Context<Nothing>, count: &mut Arc<AtomicU64>) -> Result<(), Failure> {
        if count.fetch_add(1, Ordering::SeqCst) == 2 {
            context.stop();
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_actor_may_outlive_its_idle_ttl_and_is_asked_again() {
    let mut catalog = Catalog::new();
    let pool = catalog.pool("Child", || Lingers);
    let tree = Tree::start(plan(&text("max_children = 1", "idle_ttl = \"10s\", restart = \"transient\"")), catalog)
        .await
        .unwrap();
    let count = Arc::new(AtomicU64::new(0));
    let began_at = Instant::now();
    pool.start_child_with("only", ChildStart::cloned(Arc::clone(&count))).await.unwrap();
    while pool.live() > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(count.load(Ordering::SeqCst), 3);
    assert!((30..32).contains(&began_at.elapsed().as_secs()));
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn children_are_shown_in_pages_in_the_order_of_their_keys() {
    let world = World::default();
    let (tree, pool) = start("max_children = 200\npartitions = 4", "").await;
    for key in 0..150 {
        let world = world.clone();
        pool.start_child(format!("k{key:03}"), move || world.clone()).await.unwrap();
    }
    assert_eq!(tree.inspect().find("root/pool").unwrap().pool.as_ref().unwrap().children.len(), 20);
    let mut seen: Vec<String> = Vec::new();
    loop {
        let page = tree.children("root/pool", seen.last().map(String::as_str), 40).unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|child| child.key));
    }
    let expected: Vec<String> = (0..150).map(|key| format!("k{key:03}")).collect();
    assert_eq!(seen, expected);
    tree.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_starters_on_many_threads_leave_nothing_behind() {
    let world = World::default();
    let (tree, pool) = start("max_children = 128\npartitions = 4", "restart = \"temporary\", ttl = \"1h\"").await;
    let starters: Vec<_> = (0..8u64)
        .map(|starter| {
            let (pool, world) = (pool.clone(), world.clone());
            tokio::spawn(async move {
                for number in 0..250u64 {
                    let address = child(&pool, starter * 1000 + number, &world).await;
                    let tell = if number % 3 == 0 { Tell::Fail } else { Tell::Stop };
                    address.send(tell).await.unwrap();
                    if number % 8 == 7 {
                        until("some ended", || pool.live() < 32).await;
                    }
                }
            })
        })
        .collect();
    for starter in starters {
        starter.await.unwrap();
    }
    until("all ended", || pool.live() == 0).await;
    let snapshot = tree.inspect();
    let seen = snapshot.find("root/pool").unwrap().pool.clone().unwrap();
    assert_eq!((seen.started, seen.ended, seen.deadlines), (2000, 2000, 0));
    assert!(seen.children.is_empty());
    tree.shutdown().await;
    assert_eq!(world.alive(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_from_outside_meet_starts_stops_and_partition_restarts_without_a_leak() {
    let world = World::default();
    let options = "max_children = 50\npartitions = 2\nintensity = 100000\nperiod = \"1s\"";
    let child_options =
        "restart = \"transient\", ttl = \"1h\", idle_ttl = \"1h\", backoff = { min = \"0s\", max = \"0s\" }";
    let (tree, pool) = start(options, child_options).await;
    let starters: Vec<_> = (0..4u64)
        .map(|starter| {
            let (pool, world, tree) = (pool.clone(), world.clone(), tree.clone());
            tokio::spawn(async move {
                for number in 0..300u64 {
                    let key = starter * 10 + number % 10;
                    let for_child = world.clone();
                    // Full, down and taken keys are all part of it.
                    let _ = pool.start_child(key, move || for_child.clone()).await;
                    match number % 7 {
                        0 => drop(tree.kill(&format!("root/pool/{key}"))),
                        1 if number % 50 == 1 => drop(tree.kill("root/pool/partition.1")),
                        2 => drop(pool.stop_child(key)),
                        _ => tokio::task::yield_now().await,
                    }
                }
            })
        })
        .collect();
    for starter in starters {
        starter.await.unwrap();
    }
    until("the pool is up", || pool.is_up()).await;
    for child in tree.children("root/pool", None, 1000).unwrap() {
        pool.stop_child(child.key);
    }
    until("all ended", || pool.live() == 0).await;
    until("all dropped", || world.alive() == 0).await;
    let snapshot = tree.inspect();
    let seen = snapshot.find("root/pool").unwrap().pool.clone().unwrap();
    assert_eq!(seen.deadlines, 0);
    assert_eq!(tree.shutdown().await, Exit::Shutdown);
}
