//! Tier 2: each type of actor is killed under load, in a daemon that was built with the feature `faults`.
//!
//! A kill counts only with work under way, which the daemon itself sees to (`orinoco_supervision::fault::Order`): every other one is at
//! a named point, a step between a message and its end, of the actor or of one that it serves or supervises; the others are at a random
//! moment at which a message is in work or queued. Several are killed at a time. What is killed, where and when is drawn from a seed,
//! which is printed; `ORINOCO_TEST_SEED` draws the same again. (Which message is in work then is up to the machine.) `ORINOCO_TEST_ONLY=root/stream/` leaves
//! the other types alone.

mod lane;
mod logins;
mod plan;
mod report;
mod rubbish;
mod watchers;

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Instant,
};

use orinoco_testkit::ProcessUsage;
use tokio::{sync::watch, task::JoinSet};

use crate::support::{DEADLINE, Load, LoadPlan, Mode, Repeats, Setup, World, campaign, latest, turn, until, within};
use lane::{Control, Kill};
use logins::{Logins, Outcomes};
use rubbish::Rubbish;
use watchers::Watched;

for_both_modes! {
    whoever_is_killed_under_load_comes_back_and_nothing_is_lost_or_stuck
}

/// Of each type; 1,000 in a campaign.
const KILLS: usize = 25;
/// What a debug build can bear beside others on its machine; 2,000 and 50 in a campaign.
const MESSAGES_PER_SECOND: usize = 500;
const LOGINS_PER_SECOND: u32 = 10;
/// Orders carried out at a time.
const LANES: usize = 3;
/// Of each protocol, each at a device of its own.
const WATCHERS: usize = 6;
const VISITORS: usize = 2;
/// Pools of connections to servers keep for a while what the load needed. One left for each kill of a type would be many more in a campaign.
const DESCRIPTORS_GROWTH_MAX: usize = 32;
/// Blocking work of the last seconds has threads of its own, which go after ten idle ones.
const THREADS_GROWTH_MAX: usize = 8;

async fn whoever_is_killed_under_load_comes_back_and_nothing_is_lost_or_stuck(mode: Mode) {
    let _turn = turn().await;
    let seed = campaign("SEED", fastrand::u64(..));
    println!("{mode:?}: ORINOCO_TEST_SEED={seed}");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/supervision.toml");
    let setup = Setup::default()
        .set("supervision", file.display())
        .set("stream.history_max", 1_000_000)
        .set("auth.signup", "open")
        .set("auth.access_token_ttl_s", logins::ACCESS_TOKEN_TTL_S);
    let world = World::start(mode, setup).await;
    // Whatever is made at first use is there.
    world.approved(&world.person().await.tokens).await;
    let before = world.daemon.usage().unwrap();
    let clients = Clients::start(&world).await;
    let started = Instant::now();
    let kills = kill_all(&world, seed, mode).await;
    let mut control = kill_control(&world).await;
    let seconds = started.elapsed().as_secs_f64();
    let told = clients.stop(&world, seconds).await;
    report::print(&kills, &mut control, &told);
    println!("{mode:?}: {} kills in {seconds:.0} s; {}", kills.len() + control.len(), told.text);
    world.daemon.wait_until_ready(DEADLINE).await.unwrap();
    assert_nothing_left(&world, &before).await;
}

async fn kill_all(world: &World, seed: u64, mode: Mode) -> Vec<Kill> {
    let orders = plan::orders(seed, mode, campaign("KILLS", KILLS), &campaign("ONLY", String::new()));
    let orders = Arc::new(Mutex::new(orders.into()));
    let mut lanes = JoinSet::new();
    for _ in 0..LANES {
        lanes.spawn(lane::run(world.data_dir.clone(), Arc::clone(&orders)));
    }
    lanes.join_all().await.into_iter().flatten().collect()
}

/// Apart from the others, whose orders would be lost with it.
async fn kill_control(world: &World) -> Vec<std::time::Duration> {
    let mut control = Control::connect(world.data_dir.clone()).await;
    let mut restarts = Vec::new();
    for _ in 0..campaign("KILLS", KILLS) {
        restarts.push(control.kill_itself().await);
    }
    restarts
}

/// Everybody who uses the daemon meanwhile.
struct Clients {
    load: Load,
    logins: Logins,
    rubbish: Rubbish,
    ends: Vec<(String, watch::Sender<Option<u64>>)>,
    plain: Vec<tokio::task::JoinHandle<Watched>>,
    centrifuge: Vec<tokio::task::JoinHandle<Watched>>,
    visitors: JoinSet<()>,
}

/// What they went through.
struct Told {
    plain: Vec<Watched>,
    centrifuge: Vec<Watched>,
    outcomes: Outcomes,
    text: String,
}

impl Clients {
    async fn start(world: &World) -> Self {
        let messages_per_second = campaign("MESSAGES_PER_SECOND", MESSAGES_PER_SECOND);
        let load = Load::start(world, LoadPlan { connections: 4, devices: 5, messages_per_second }).await;
        let (mut ends, mut plain, mut centrifuge) = (Vec::new(), Vec::new(), Vec::new());
        for device in &load.devices()[..WATCHERS] {
            let (end, ended) = watch::channel(None);
            plain.push(watchers::plain(world, device, ended.clone()));
            centrifuge.push(watchers::centrifuge(world, device, ended));
            ends.push((device.clone(), end));
        }
        let mut visitors = JoinSet::new();
        for _ in 0..VISITORS {
            visitors.spawn(watchers::visit(world.daemon.ws_address().to_owned()));
        }
        let logins = Logins::start(world, campaign("LOGINS_PER_SECOND", LOGINS_PER_SECOND)).await;
        Self { load, logins, rubbish: Rubbish::start(world), ends, plain, centrifuge, visitors }
    }

    /// Ends them, and sees to it that each of them got what it was promised.
    async fn stop(mut self, world: &World, seconds: f64) -> Told {
        let outcomes = self.logins.stop().await;
        let ledger = self.load.stop().await;
        let letters = self.rubbish.stop(world).await;
        // Without ingest or broker devices are cut off, and send again what was not acknowledged.
        ledger.assert_all_came_out(world, Repeats::OfWhatWasSentAgain).await;
        for (device, end) in &self.ends {
            end.send_replace(Some(latest(world, device).await.unwrap().offset));
        }
        let plain = all(self.plain).await;
        let centrifuge = all(self.centrifuge).await;
        self.visitors.shutdown().await;
        let text = format!(
            "{} messages ({:.0}/s), each applied once; {letters} dead letters; logins {:?} ({:.0}/s); frames watched: \
             {} plain, {} centrifuge, none missing or twice",
            ledger.messages(),
            ledger.messages() as f64 / seconds,
            outcomes.counts,
            logins_ended(&outcomes) as f64 / seconds,
            frames(&plain),
            frames(&centrifuge),
        );
        Told { plain, centrifuge, outcomes, text }
    }
}

async fn all(watchers: Vec<tokio::task::JoinHandle<Watched>>) -> Vec<Watched> {
    let mut watched = Vec::new();
    for watcher in watchers {
        watched.push(within("a watcher's last frame", watcher).await.unwrap());
    }
    watched
}

fn frames(watched: &[Watched]) -> u64 {
    watched.iter().map(|watched| watched.frames).sum()
}

fn logins_ended(outcomes: &Outcomes) -> usize {
    ["EXCHANGED", "DENIED", "CANCELLED"].iter().filter_map(|status| outcomes.counts.get(status)).sum()
}

/// Sessions, streams, descriptors and threads of clients that have gone. (A challenge that has ended is kept for a minute.)
async fn assert_nothing_left(world: &World, before: &ProcessUsage) {
    let pools = ["ws_sessions", "centrifuge_sessions", "sse_sessions"];
    until("no session to be left", async || {
        let snapshot = world.json(&["tree", "--json"]).remove(0);
        let live = |node: &serde_json::Value| node["pool"]["live"].as_u64();
        let mut open = vec![&snapshot["root"]];
        let mut left = 0;
        while let Some(node) = open.pop() {
            if pools.iter().any(|pool| node["id"] == *pool) {
                left += live(node)?;
            }
            assert!(node["status"] == "running", "{node}");
            open.extend(node["children"].as_array().into_iter().flatten());
        }
        (left == 0).then_some(())
    })
    .await;
    let (mut last, mut settled) = (world.daemon.usage().unwrap(), false);
    let settle_by = Instant::now() + DEADLINE;
    while !settled && Instant::now() < settle_by {
        last = world.daemon.usage().unwrap();
        settled = last.fd_count <= before.fd_count + DESCRIPTORS_GROWTH_MAX
            && last.thread_count <= before.thread_count + THREADS_GROWTH_MAX;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    println!("{before:?} before, {last:?} at the end");
    assert!(settled, "descriptors or threads are left: {before:?}, {last:?}");
    let log = fs::read_to_string(world.daemon.stderr_path()).unwrap();
    assert!(!log.contains("panicked"), "something panicked; see {}", world.daemon.stderr_path().display());
}
