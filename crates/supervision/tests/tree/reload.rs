//! A running tree becomes that of another file.

use std::sync::Arc;
use std::time::Duration;

use orinoco_supervision::{Catalog, ChildStart, Exit, Group, ReloadError, SendError, Status, Tree};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::support::{Probe, Tell, World, incarnation, plan, restarted, start, until};

fn of(supervisor: &str, children: &[&str]) -> String {
    format!("[[supervisor]]\nid = \"root\"\n{supervisor}\nchildren = [\n{},\n]\n", children.join(",\n"))
}

fn child(id: &str, rest: &str) -> String {
    format!("{{ id = \"{id}\", start = \"Probe\" {rest} }}")
}

const ONE: &str = "strategy = \"one_for_one\"\nintensity = 10";

/// Takes a text over, and waits until it is carried out.
async fn reload(tree: &Tree, text: &str) -> Vec<String> {
    let (diff, carried_out) = tree.reload(plan(text)).unwrap();
    carried_out.await;
    diff.lines().to_vec()
}

async fn incarnations(probes: &Group<Tell>) -> Vec<u64> {
    let mut found = Vec::new();
    for probe in probes.iter() {
        found.push(incarnation(&probe).await);
    }
    found
}

fn abc() -> [String; 3] {
    ["a", "b", "c"].map(|id| child(id, ""))
}

fn three(supervisor: &str) -> String {
    let [a, b, c] = abc();
    of(supervisor, &[&a, &b, &c])
}

#[tokio::test(start_paused = true)]
async fn a_changed_strategy_gives_another_outcome_and_restarts_nobody() {
    let world = World::default();
    let (tree, probes) = start(&world, &three(ONE)).await;
    world.take_log();
    let lines = reload(&tree, &three(&ONE.replace("one_for_one", "rest_for_one"))).await;
    assert_eq!(lines, ["root: strategy one_for_one -> rest_for_one"]);
    assert_eq!((incarnations(&probes).await, world.take_log().len()), (vec![0, 0, 0], 0));
    let shown = tree.inspect().root.strategy.unwrap();
    assert_eq!(shown.as_str(), "rest_for_one");
    probes.get(1).send(Tell::Fail).await.unwrap();
    restarted(&probes.get(2)).await;
    assert_eq!(incarnations(&probes).await, [0, 1, 1]);
    assert_eq!(tree.shutdown().await, Exit::Shutdown);
}

#[tokio::test(start_paused = true)]
async fn the_same_file_changes_nothing() {
    let world = World::default();
    let (tree, probes) = start(&world, &three(ONE)).await;
    world.take_log();
    assert!(reload(&tree, &format!("# lines move\n\n{}", three(ONE))).await.is_empty());
    assert_eq!((incarnations(&probes).await, world.take_log().len()), (vec![0, 0, 0], 0));
}

#[tokio::test(start_paused = true)]
async fn restarts_of_before_count_against_a_lower_intensity() {
    let world = World::default();
    let (tree, probes) = start(&world, &three(ONE)).await;
    for _ in 0..2 {
        probes.get(0).send(Tell::Fail).await.unwrap();
        restarted(&probes.get(0)).await;
    }
    reload(&tree, &three(&ONE.replace("10", "2"))).await;
    assert!(probes.get(0).is_up());
    probes.get(0).send(Tell::Fail).await.unwrap();
    assert!(matches!(tree.wait().await, Exit::Escalated { .. }));
}

#[tokio::test(start_paused = true)]
async fn removed_children_stop_in_reverse_and_then_added_ones_start_in_order() {
    let world = World::default();
    let (tree, probes) = start(&world, &three(ONE)).await;
    world.take_log();
    let [_, b, _] = abc();
    let lines = reload(&tree, &of(ONE, &[&child("x", ""), &b, &child("y", "")])).await;
    assert_eq!(lines, ["root/a: removed", "root/c: removed", "root/x: added", "root/y: added"]);
    let log = world.take_log();
    assert_eq!(log, ["stop root/c", "drop root/c", "stop root/a", "drop root/a", "start root/x", "start root/y"]);
    let snapshot = tree.inspect();
    let ids: Vec<&str> = snapshot.root.children.iter().map(|node| node.id.as_str()).collect();
    assert_eq!(ids, ["x", "b", "y"]);
    // Who knows an address goes on knowing it, and b is who it was.
    assert_eq!((probes.len(), probes.get(0).is_up(), probes.get(2).is_up()), (5, false, false));
    assert_eq!((incarnation(&probes.get(1)).await, snapshot.root.restarts_in_period), (0, 0));
    // The last plan holds; a has its address again.
    reload(&tree, &three(ONE)).await;
    assert_eq!((incarnation(&probes.get(0)).await, probes.len()), (1, 5));
    tree.shutdown().await;
    assert_eq!(world.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_for_a_removed_child_is_handled_first() {
    let world = World::default();
    let (tree, probes) = start(&world, &three(ONE)).await;
    let gate = Arc::new(Semaphore::new(0));
    probes.get(1).send(Tell::Wait(Arc::clone(&gate))).await.unwrap();
    probes.get(1).send(Tell::Note(7)).await.unwrap();
    let [a, _, c] = abc();
    let (_, carried_out) = tree.reload(plan(&of(ONE, &[&a, &c]))).unwrap();
    until("it drains", || tree.inspect().find("root/b").is_some_and(|node| node.status == Status::Stopping)).await;
    assert!(matches!(probes.get(1).send(Tell::Note(8)).await, Err(SendError::Down(_))));
    gate.add_permits(1);
    carried_out.await;
    assert!(world.log_contains("note 7") && world.log_contains("stop root/b") && !world.log_contains("note 8"));
    assert!(tree.inspect().find("root/b").is_none());
}

#[tokio::test(start_paused = true)]
async fn more_and_fewer_instances_leave_the_others_alone() {
    let world = World::default();
    let (tree, probes) = start(&world, &of(ONE, &[&child("w", ", instances = 2")])).await;
    reload(&tree, &of(ONE, &[&child("w", ", instances = 3, mailbox = { capacity = 5 }")])).await;
    assert_eq!(incarnations(&probes).await, [0, 0, 0]);
    assert!(probes.iter().all(|probe| probe.capacity() == 5));
    reload(&tree, &of(ONE, &[&child("w", ", instances = 1")])).await;
    assert_eq!((probes.get(0).is_up(), probes.get(1).is_up(), probes.get(2).is_up()), (true, false, false));
    assert_eq!(incarnation(&probes.get(0)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_is_added_and_removed_with_all_below_it() {
    let world = World::default();
    let (tree, probes) = start(&world, &of(ONE, &[&child("a", "")])).await;
    let nested =
        "[[supervisor]]\nid = \"s\"\nstrategy = \"one_for_all\"\nchildren = [{ id = \"n\", start = \"Probe\" }]\n";
    let below = "{ id = \"s\", type = \"supervisor\" }";
    reload(&tree, &format!("{}{nested}", of(ONE, &[&child("a", ""), below]))).await;
    assert_eq!(tree.inspect().find("root/s/n").unwrap().status, Status::Running);
    // A change below it reaches it.
    reload(&tree, &format!("{}{}", of(ONE, &[&child("a", ""), below]), nested.replace("one_for_all", "one_for_one")))
        .await;
    assert_eq!(tree.inspect().find("root/s").unwrap().strategy.unwrap().as_str(), "one_for_one");
    reload(&tree, &of(ONE, &[&child("a", "")])).await;
    assert!(tree.inspect().find("root/s").is_none());
    assert_eq!((world.alive(), incarnation(&probes.get(0)).await), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_larger_mailbox_lets_waiting_senders_in_and_another_policy_refuses_them() {
    let world = World::default();
    let text = |mailbox: &str| of(ONE, &[&child("a", &format!(", mailbox = {{ {mailbox} }}"))]);
    let (tree, probes) = start(&world, &text("capacity = 1")).await;
    let (gate, probe) = (Arc::new(Semaphore::new(0)), probes.get(0));
    probe.send(Tell::Wait(Arc::clone(&gate))).await.unwrap();
    until("it waits", || probe.depth() == 0).await;
    probe.send(Tell::Note(1)).await.unwrap();
    let waiting = |number| {
        let probe = probe.clone();
        tokio::spawn(async move { probe.send(Tell::Note(number)).await })
    };
    let second = waiting(2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!second.is_finished());
    reload(&tree, &text("capacity = 2")).await;
    second.await.unwrap().unwrap();
    let third = waiting(3);
    tokio::time::sleep(Duration::from_secs(1)).await;
    reload(&tree, &text("capacity = 1, overflow = \"reject\"")).await;
    assert!(third.await.unwrap().unwrap_err().is_full());
    assert_eq!((probe.depth(), probe.capacity()), (2, 1));
    reload(&tree, &text("capacity = 1, overflow = \"drop_oldest\"")).await;
    probe.send(Tell::Note(4)).await.unwrap();
    assert_eq!(probe.depth(), 1, "what was too much is dropped");
    gate.add_permits(1);
    until("the last", || world.log_contains("note 4")).await;
    assert_eq!(incarnation(&probe).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_shorter_backoff_holds_for_who_waits_already() {
    let world = World::default();
    let text = |max: &str| {
        of(ONE, &[&child("a", &format!(", backoff = {{ min = \"{max}\", max = \"{max}\", jitter = 0.0 }}"))])
    };
    let (tree, probes) = start(&world, &text("1h")).await;
    probes.get(0).send(Tell::Fail).await.unwrap();
    until("down", || !probes.get(0).is_up()).await;
    let since = Instant::now();
    reload(&tree, &text("2s")).await;
    probes.get(0).up().await;
    assert!((Duration::from_secs(1)..Duration::from_secs(3)).contains(&since.elapsed()), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_temporary_child_that_ended_runs_again_once_it_is_permanent() {
    let world = World::default();
    let (tree, probes) = start(&world, &of(ONE, &[&child("a", ", restart = \"temporary\"")])).await;
    probes.get(0).send(Tell::Stop).await.unwrap();
    until("down", || !probes.get(0).is_up()).await;
    reload(&tree, &of(ONE, &[&child("a", "")])).await;
    assert_eq!(incarnation(&probes.get(0)).await, 1);
    assert_eq!(tree.inspect().find("root/a").unwrap().restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_watchdog_that_was_off_watches() {
    let world = World::default();
    let text = |action: &str| {
        of(ONE, &[&child("a", &format!(", watchdog = {{ handler_max = \"1s\", action = \"{action}\" }}"))])
    };
    let (tree, probes) = start(&world, &text("off")).await;
    probes.get(0).send(Tell::Hang).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    reload(&tree, &text("kill")).await;
    until("the next one", || tree.inspect().find("root/a").unwrap().incarnation == 1).await;
}

#[tokio::test(start_paused = true)]
async fn actors_are_renewed_in_order_and_that_is_no_failure() {
    let world = World::default();
    let (tree, probes) = start(&world, &three(&ONE.replace("one_for_one", "one_for_all"))).await;
    world.take_log();
    for probe in probes.iter() {
        probe.send(Tell::Note(1)).await.unwrap();
    }
    tree.renew(&["Probe"]).await;
    let log: Vec<String> = world.take_log().into_iter().filter(|line| line != "note 1").collect();
    let expected: Vec<String> = ["c", "b", "a"]
        .iter()
        .flat_map(|id| [format!("stop root/{id}"), format!("drop root/{id}")])
        .chain(["a", "b", "c"].map(|id| format!("start root/{id}")))
        .collect();
    assert_eq!(log, expected);
    let snapshot = tree.inspect();
    assert_eq!((snapshot.root.restarts_in_period, snapshot.find("root/a").unwrap().restarts), (0, 0));
    tree.renew(&["Nobody"]).await;
    assert_eq!(incarnations(&probes).await, [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_does_not_fit_is_refused_whole() {
    let world = World::default();
    let mut catalog = Catalog::new();
    catalog.each_start_once();
    let probes = catalog.group::<Tell>("Probe");
    let arguments = world.clone();
    catalog.actor("Probe", || Probe, move |_| arguments.clone());
    catalog.pool("Child", || Probe);
    let text = |id: &str, partitions: u32| {
        let pool = format!(
            "[[supervisor]]\nid = \"p\"\nstrategy = \"simple_one_for_one\"\npartitions = {partitions}\nmax_children = 9\nchild = {{ start = \"Child\" }}\n"
        );
        format!(
            "{}{pool}",
            of("strategy = \"one_for_all\"", &[&child(id, ""), "{ id = \"p\", type = \"supervisor\" }"])
        )
    };
    let tree = Tree::start(plan(&text("a", 2)), catalog).await.unwrap();
    for (wrong, what) in [
        (text("b", 2), "`Probe` moves from `root/a` to `root/b`: that takes a restart of the program"),
        (text("a", 3), "`partitions` of `root/p` changes from 2 to 3: that takes a restart of the program"),
        (text("a", 2).replace("\"Probe\"", "\"Other\""), "unknown start `Other`; this program has `Probe`"),
    ] {
        let error = match tree.compare(&plan(&wrong)).unwrap_err() {
            ReloadError::Restart(error) if what.ends_with("restart of the program") => error,
            ReloadError::Plan(error) => error,
            other => panic!("{other:?}"),
        };
        assert!(error.problems().iter().any(|problem| problem.message == what && problem.line > 0), "{error}");
        assert!(tree.reload(plan(&wrong.replace("one_for_all", "one_for_one"))).is_err());
    }
    assert_eq!(tree.inspect().root.strategy.unwrap().as_str(), "one_for_all");
    assert_eq!(incarnations(&probes).await, [0]);
}

#[tokio::test(start_paused = true)]
async fn a_pool_takes_over_limits_and_lifetimes_of_its_children() {
    let world = World::default();
    let text = |pool: &str, child: &str| {
        format!(
            "{}[[supervisor]]\nid = \"p\"\nstrategy = \"simple_one_for_one\"\n{pool}\nchild = {{ start = \"Child\", {child} }}\n",
            of(ONE, &["{ id = \"p\", type = \"supervisor\" }"])
        )
    };
    let mut catalog = Catalog::new();
    let pool = catalog.pool("Child", || Probe);
    let tree = Tree::start(plan(&text("max_children = 1", "restart = \"temporary\"")), catalog).await.unwrap();
    let one = pool.start_child_with(1, ChildStart::once(world.clone())).await.unwrap();
    pool.start_child_with(2, ChildStart::once(world.clone())).await.unwrap_err();
    let child = "restart = \"permanent\", ttl = \"1h\", mailbox = { capacity = 3 }";
    let lines = reload(&tree, &text("max_children = 2\nintensity = 0", child)).await;
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert_eq!((one.capacity(), pool.max_children(), incarnation(&one).await), (3, 2, 0));
    let arguments = world.clone();
    let two = pool.start_child(2, move || arguments.clone()).await.unwrap();
    assert_eq!(tree.inspect().find("root/p").unwrap().pool.as_ref().unwrap().deadlines, 2);
    // Its arguments existed once: that it can't be restarted is no failure of the pool.
    one.send(Tell::Fail).await.unwrap();
    until("the first has ended", || pool.live() == 1).await;
    assert_eq!(incarnation(&two).await, 0);
    tokio::time::sleep(Duration::from_secs(3601)).await;
    until("its time is over", || pool.live() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_waits_for_its_restart_starts_as_the_last_plan_says() {
    let world = World::default();
    let nested = |children: &str| {
        let root = of("strategy = \"one_for_one\"\nintensity = 9", &["{ id = \"s\", type = \"supervisor\" }"]);
        format!(
            "{root}[[supervisor]]\nid = \"s\"\nstrategy = \"one_for_one\"\nintensity = 0\nchildren = [{children}]\n"
        )
    };
    let (tree, probes) = start(&world, &nested(&child("a", ""))).await;
    probes.get(0).send(Tell::Fail).await.unwrap();
    until("it waits", || tree.inspect().find("root/s").unwrap().status == Status::Restarting).await;
    reload(&tree, &nested(&format!("{}, {}", child("a", ""), child("b", "")))).await;
    until("both run", || probes.iter().all(|probe| probe.is_up())).await;
    assert_eq!(probes.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn many_reloads_in_a_row_end_with_the_last() {
    let world = World::default();
    let (tree, probes) = start(&world, &three(ONE)).await;
    let [a, b, c] = abc();
    let texts = [of(ONE, &[&a]), of(ONE, &[&c, &b]), three(&ONE.replace("one_for_one", "one_for_all")), of(ONE, &[&b])];
    let mut waits = Vec::new();
    for round in 0..20 {
        waits.push(tree.reload(plan(&texts[round % texts.len()])).unwrap().1);
    }
    waits.push(tree.reload(plan(&three(ONE))).unwrap().1);
    for carried_out in waits {
        carried_out.await;
    }
    until("all run", || probes.iter().all(|probe| probe.is_up())).await;
    let snapshot = tree.inspect();
    let ids: Vec<&str> = snapshot.root.children.iter().map(|node| node.id.as_str()).collect();
    assert_eq!((ids, snapshot.root.restarts_in_period), (vec!["a", "b", "c"], 0));
    tree.shutdown().await;
    assert_eq!(world.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reload_while_it_shuts_down_changes_nothing() {
    let world = World::default();
    let (tree, probes) = start(&world, &three(ONE)).await;
    let gate = Arc::new(Semaphore::new(0));
    probes.get(2).send(Tell::Wait(Arc::clone(&gate))).await.unwrap();
    let stopping = tokio::spawn({
        let tree = tree.clone();
        async move { tree.shutdown().await }
    });
    until("it stops", || tree.inspect().find("root/c").unwrap().status == Status::Stopping).await;
    let (_, carried_out) = tree.reload(plan(&of(ONE, &[&child("x", "")]))).unwrap();
    gate.add_permits(1);
    assert_eq!(stopping.await.unwrap(), Exit::Shutdown);
    carried_out.await;
    assert_eq!(world.alive(), 0);
    assert!(!world.log_contains("start root/x"));
}

/// A tree of up to five children, one of them perhaps a supervisor of two.
fn any_tree(random: &mut fastrand::Rng) -> String {
    let strategy = random.choice(["one_for_one", "one_for_all", "rest_for_one"]).unwrap();
    let mut ids = vec!["a", "b", "c", "d"];
    random.shuffle(&mut ids);
    ids.truncate(random.usize(1..=4));
    let mut children: Vec<String> = ids
        .into_iter()
        .map(|id| {
            child(id, &format!(", instances = {}, mailbox = {{ capacity = {} }}", random.u32(1..3), random.u32(1..9)))
        })
        .collect();
    let supervisor = format!("strategy = \"{strategy}\"\nintensity = 100000");
    if random.bool() {
        return of(&supervisor, &children.iter().map(String::as_str).collect::<Vec<_>>());
    }
    children.insert(random.usize(..=children.len()), "{ id = \"s\", type = \"supervisor\" }".to_owned());
    let below = [child("x", ""), child("y", "")];
    let mut below: Vec<&str> = below.iter().map(String::as_str).collect();
    random.shuffle(&mut below);
    let nested = of(&supervisor, &below).replace("id = \"root\"", "id = \"s\"");
    format!("{}{nested}", of(&supervisor, &children.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// The ids of all nodes, as a plan's text or a tree has them.
fn shape(tree: &Tree) -> Vec<String> {
    fn walk(node: &orinoco_supervision::NodeSnapshot, found: &mut Vec<String>) {
        found.push(node.path.clone());
        node.children.iter().for_each(|child| walk(child, found));
    }
    let mut found = Vec::new();
    walk(&tree.inspect().root, &mut found);
    found
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_between_reloads_the_tree_becomes_that_of_the_last_plan() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let world = World::default();
        let (tree, probes) = start(&world, &any_tree(&mut random)).await;
        for _ in 0..random.usize(1..12) {
            drop(tree.reload(plan(&any_tree(&mut random))).unwrap().1);
            for _ in 0..random.usize(..4) {
                let probe = probes.get(random.u32(..probes.len()));
                let tell = random.choice([Tell::Fail, Tell::Stop, Tell::Panic]).unwrap();
                // Not there, or full.
                let _ = probe.try_send(tell);
                if random.bool() {
                    tokio::time::sleep(Duration::from_millis(random.u64(..300))).await;
                }
            }
            let path = shape(&tree).swap_remove(random.usize(..shape(&tree).len()));
            if random.bool() && path != "root" {
                // It may not run.
                let _ = tree.kill(&path);
            }
        }
        let last = any_tree(&mut random);
        let (_, carried_out) = tree.reload(plan(&last)).unwrap();
        carried_out.await;
        let expected = start(&World::default(), &last).await.0;
        let all_run = || {
            let snapshot = tree.inspect();
            shape(&tree).iter().all(|path| snapshot.find(path).unwrap().status == Status::Running)
        };
        until(&format!("all run, seed {seed}"), || shape(&tree) == shape(&expected) && all_run()).await;
        let workers =
            shape(&tree).len() - shape(&tree).iter().filter(|path| matches!(path.as_str(), "root" | "root/s")).count();
        assert_eq!(world.alive() as usize, workers, "seed {seed}");
        assert_eq!(tree.shutdown().await, Exit::Shutdown, "seed {seed}");
        assert_eq!(world.alive(), 0, "seed {seed}");
    }
}
