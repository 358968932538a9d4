//! Several daemons on one set of services: who owns what, and what a change of owners costs.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::support::{Frame, Load, LoadPlan, Mode, Repeats, Setup, World, campaign, follow, turn, until};

const PARTITIONS: usize = 8;
const PLAN: LoadPlan = LoadPlan { connections: 4, devices: 6, messages_per_second: 1_000 };
const SEED: u64 = 20_261_123;

/// Leases that a daemon holds, with their epochs, as its metrics say; `None` without an answer.
async fn leases(world: &World) -> Option<BTreeMap<String, u64>> {
    let answer = world.daemon.get("/metrics").await.ok()?;
    let held = answer.body.lines().filter_map(|line| {
        let (name, epoch) = line.strip_prefix("orinoco_lease_epoch{lease=\"")?.split_once("\"} ")?;
        let epoch: f64 = epoch.parse().ok()?;
        (epoch > 0.0).then(|| (name.to_owned(), epoch as u64))
    });
    Some(held.collect())
}

fn of_partitions(leases: &BTreeMap<String, u64>) -> usize {
    leases.keys().filter(|name| name.starts_with("partition/")).count()
}

/// Waits until these daemons share all leases evenly, and returns what each holds.
async fn shared_evenly(worlds: &[&World]) -> Vec<BTreeMap<String, u64>> {
    let fewest = PARTITIONS / worlds.len();
    until("even shares", async || {
        let mut all = Vec::new();
        for world in worlds {
            all.push(leases(world).await?);
        }
        let counts: Vec<usize> = all.iter().map(of_partitions).collect();
        let is_even = counts.iter().all(|count| (fewest..=fewest + 1).contains(count));
        let owners_of_ingest = all.iter().filter(|leases| leases.contains_key("ingest")).count();
        (is_even && counts.iter().sum::<usize>() == PARTITIONS && owners_of_ingest == 1).then_some(all)
    })
    .await
}

async fn several(daemons: usize) -> Vec<World> {
    let setup = Setup::default().set("kafka.partitions", PARTITIONS).set("stream.history_max", 1_000_000);
    let mut worlds = vec![World::start(Mode::Services, setup).await];
    while worlds.len() < daemons {
        let another = worlds[0].another().await;
        worlds.push(another);
    }
    worlds
}

/// Waits until each device has more frames than before; returns how many each has.
async fn moved(world: &World, load: &Load, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut heads = BTreeMap::new();
    for device in load.devices() {
        let least = before.get(device).copied().unwrap_or(0) + 2;
        let offset = until("the stream to move", async || {
            let latest = crate::support::latest(world, device).await?;
            (latest.offset > least).then_some(latest.offset)
        })
        .await;
        heads.insert(device.clone(), offset);
    }
    heads
}

/// A watcher of the first device, who sees each of its frames once.
struct Watcher {
    device: String,
    end: watch::Sender<Option<u64>>,
    frames: tokio::task::JoinHandle<Vec<Frame>>,
}

impl Watcher {
    fn start(worlds: &[World], load: &Load) -> Self {
        let device = load.devices()[0].clone();
        let (end, ended) = watch::channel(None);
        let addresses = worlds.iter().map(|world| world.daemon.ws_address().to_owned()).collect();
        Self { frames: tokio::spawn(follow(addresses, device.clone(), ended)), device, end }
    }

    async fn assert_saw_all(self, world: &World) {
        let head = crate::support::latest(world, &self.device).await.unwrap().offset;
        self.end.send_replace(Some(head));
        let frames = self.frames.await.unwrap();
        assert!(frames.iter().map(|frame| frame.offset).eq(frames[0].offset..=head), "the watcher missed frames");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_joins_moves_what_it_takes_and_one_that_leaves_moves_what_it_had() {
    let _turn = turn().await;
    let mut worlds = several(1).await;
    let load = Load::start(&worlds[0], PLAN).await;
    let watcher = Watcher::start(&worlds, &load);
    let mut before = shared_evenly(&[&worlds[0]]).await;
    for _ in 0..2 {
        let another = worlds[0].another().await;
        worlds.push(another);
        let after = shared_evenly(&worlds.iter().collect::<Vec<_>>()).await;
        for (before, after) in before.iter().zip(&after) {
            assert!(after.iter().all(|lease| before.get(lease.0) == Some(lease.1)), "{after:?} after {before:?}");
        }
        moved(&worlds[0], &load, &BTreeMap::new()).await;
        before = after;
    }
    assert!(worlds[1].daemon.terminate().await.unwrap().success());
    let after = shared_evenly(&[&worlds[0], &worlds[2]]).await;
    for (before, after) in [(&before[0], &after[0]), (&before[2], &after[1])] {
        assert!(before.iter().all(|lease| after.get(lease.0) == Some(lease.1)), "{after:?} after {before:?}");
    }
    let ledger = load.stop().await;
    ledger.assert_all_came_out(&worlds[0], Repeats::Never).await;
    watcher.assert_saw_all(&worlds[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_one_of_three_daemons_lose_nothing_and_double_nothing() {
    let _turn = turn().await;
    let worlds = several(3).await;
    let load = Load::start(&worlds[0], PLAN).await;
    let watcher = Watcher::start(&worlds, &load);
    let seed = campaign("SEED", SEED);
    println!("ORINOCO_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut heads = BTreeMap::new();
    let mut silences = Vec::new();
    for _ in 0..campaign("KILLS", 4) {
        shared_evenly(&worlds.iter().collect::<Vec<_>>()).await;
        let victim = random.usize(..worlds.len());
        let survivor = &worlds[(victim + 1) % worlds.len()];
        heads = moved(survivor, &load, &heads).await;
        worlds[victim].daemon.kill().unwrap();
        let killed = Instant::now();
        let others: Vec<&World> = worlds.iter().filter(|world| !std::ptr::eq(*world, &worlds[victim])).collect();
        shared_evenly(&others).await;
        silences.push(killed.elapsed());
        heads = moved(survivor, &load, &heads).await;
        worlds[victim].daemon.start_without_waiting().unwrap();
        worlds[victim].daemon.wait_until_ready(Duration::from_secs(60)).await.unwrap();
    }
    silences.sort();
    println!("take-over p50 {:?} max {:?}", silences[silences.len() / 2], silences.last());
    let ledger = load.stop().await;
    println!("{} messages", ledger.messages());
    ledger.assert_all_came_out(&worlds[0], Repeats::Never).await;
    watcher.assert_saw_all(&worlds[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_nothing_and_doubles_nothing() {
    let _turn = turn().await;
    let worlds = several(3).await;
    let load = Load::start(&worlds[0], PLAN).await;
    let watcher = Watcher::start(&worlds, &load);
    let mut heads = BTreeMap::new();
    for world in &worlds {
        heads = moved(world, &load, &heads).await;
        assert!(world.daemon.terminate().await.unwrap().success());
        world.daemon.restart().await.unwrap();
        shared_evenly(&worlds.iter().collect::<Vec<_>>()).await;
    }
    let ledger = load.stop().await;
    ledger.assert_all_came_out(&worlds[0], Repeats::Never).await;
    watcher.assert_saw_all(&worlds[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_was_paused_writes_nothing_stale() {
    let _turn = turn().await;
    let worlds = several(2).await;
    let load = Load::start(&worlds[0], PLAN).await;
    let mut heads = moved(&worlds[1], &load, &BTreeMap::new()).await;
    let owns_ingest = async |world: &World| leases(world).await.is_some_and(|leases| leases.contains_key("ingest"));
    let (owner, other) = if owns_ingest(&worlds[0]).await { (0, 1) } else { (1, 0) };
    worlds[owner].daemon.pause().unwrap();
    let paused = Instant::now();
    shared_evenly(&[&worlds[other]]).await;
    heads = moved(&worlds[other], &load, &heads).await;
    // Its pause lasts, and the stream moves on all the while.
    while paused.elapsed() < Duration::from_secs(campaign("OUTAGE_S", 3)) {
        heads = moved(&worlds[other], &load, &heads).await;
    }
    worlds[owner].daemon.resume().unwrap();
    shared_evenly(&worlds.iter().collect::<Vec<_>>()).await;
    moved(&worlds[owner], &load, &heads).await;
    let ledger = load.stop().await;
    ledger.assert_all_came_out(&worlds[other], Repeats::Never).await;
}
