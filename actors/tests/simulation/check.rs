//! The invariants.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use orinoco_actors::ComponentState;
use orinoco_domain::{Axis, CoordinateData, DeviceId, Position, partition_of};
use orinoco_ports::RecordLog;
use orinoco_supervision::{NodeSnapshot, Status};
use orinoco_testkit::simulation::Trace;
use tokio::time::sleep;

use crate::{stream::PARTITIONS, world::World};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A handler that hangs is ended: supervision.toml's `handler_max`, two looks of the watchdog, and the kill.
const HANDLER_MS_MAX: u64 = 15_000 + 2_000;
/// What was let go ends within this time.
const LEFT_WITHIN: Duration = Duration::from_secs(60);

/// Where the store stands.
pub(crate) fn position(world: &World, partition: u32) -> Position {
    world.services.watched_store.position(partition)
}

/// Looks at the trees now and then, for as long as the run lasts.
pub(crate) async fn look_on(world: Arc<World>) {
    loop {
        sleep(LOOK_EVERY).await;
        look(&world);
    }
}

/// At all trees as they stand.
pub(crate) fn look(world: &World) {
    for daemon in world.daemons() {
        look_at(&daemon.tree.inspect().root, world);
    }
}

fn look_at(node: &NodeSnapshot, world: &World) {
    let trace = &world.services.trace;
    if let Some(mailbox) = &node.mailbox {
        if mailbox.depth > mailbox.capacity {
            let what = format!("{}: {} of {}", node.path, mailbox.depth, mailbox.capacity);
            trace.violated("depth within capacity", what);
        }
        if let Some(current) = mailbox.current.as_ref().filter(|current| current.for_ms > HANDLER_MS_MAX) {
            let what = format!("{}: {} runs for {} ms", node.path, current.kind, current.for_ms);
            trace.violated("every call ends by its deadline", what);
        }
    }
    let intensity = world.restarts.intensity(&node.path);
    if intensity.is_some_and(|intensity| node.restarts_in_period > intensity as usize) {
        let what = format!("{}: {} restarts", node.path, node.restarts_in_period);
        trace.violated("restarts within intensity or escalation", what);
    }
    node.children.iter().for_each(|child| look_at(child, world));
}

/// What some client has not seen yet.
pub(crate) async fn unseen(world: &World) -> Option<String> {
    let heads = heads(world).await;
    let watchers = world.watchers.lock().unwrap();
    for watcher in watchers.iter() {
        for (device, head) in &heads {
            let is_watched = match &watcher.view {
                orinoco_actors::View::All => true,
                orinoco_actors::View::Device(watched) => watched.as_str() == device,
            };
            let seen = watcher.head(device);
            if is_watched && seen < *head {
                return Some(format!("{} has seen {device} up to {seen} of {head}", watcher.name));
            }
        }
    }
    None
}

async fn heads(world: &World) -> BTreeMap<String, u64> {
    let names: std::collections::BTreeSet<String> =
        world.published.lock().unwrap().values.keys().map(|(device, _)| device.clone()).collect();
    let mut heads = BTreeMap::new();
    for name in names {
        let (partition, device) = place(&name);
        if let Some(entry) = world.services.store.latest(partition, &device).await.unwrap() {
            heads.insert(name, entry.head);
        }
    }
    heads
}

fn place(name: &str) -> (u32, DeviceId) {
    (partition_of(name.as_bytes(), PARTITIONS), DeviceId::parse(name).unwrap())
}

/// All that can be said once everything has come to rest.
pub(crate) async fn at_rest(world: &World) {
    let heads = heads(world).await;
    for name in heads.keys() {
        device_is_right(world, name).await;
    }
    let trace = &world.services.trace;
    let published: Vec<String> =
        world.published.lock().unwrap().values.keys().map(|(device, _)| device.clone()).collect();
    for name in published.iter().filter(|name| !heads.contains_key(*name)) {
        let axes = published.iter().filter(|other| other == &name).count();
        if axes == 2 && !world.plan.workload.by_timestamp {
            trace.violated("accepted = applied + dead-lettered", format!("{name} has no value"));
        }
    }
    rubbish_is_kept(world).await;
}

/// Each number that was published is in effect once, in the order of publication; the last one is the latest.
async fn device_is_right(world: &World, name: &str) {
    let trace = &world.services.trace;
    let (partition, device) = place(name);
    let history = world.services.store.history(partition, &device, 0, usize::MAX).await.unwrap();
    let frames: Vec<CoordinateData> = history.frames.iter().map(|frame| frame.decode().unwrap()).collect();
    let offsets: Vec<u64> = frames.iter().map(|frame| frame.offset).collect();
    if offsets != (1..=frames.len() as u64).collect::<Vec<_>>() {
        trace.violated("offsets +1 without gap", format!("{name}: {offsets:?}"));
    }
    let (published, is_foreign) = {
        let published = world.published.lock().unwrap();
        let values = |axis| published.values.get(&(name.to_owned(), axis)).cloned().unwrap_or_default();
        ([values(Axis::X), values(Axis::Y)], published.foreign.iter().any(|foreign| foreign == name))
    };
    let mut leading = Vec::new();
    for (axis, published) in Axis::BOTH.into_iter().zip(&published) {
        let moved = moves(&frames, axis, world.plan.workload.by_timestamp);
        let numbers: Vec<u64> = moved.iter().map(|(number, _)| *number).collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            trace.violated("each effect once", format!("{name} {}: {numbers:?}", axis.name()));
        }
        if let Some(unknown) = sorted.iter().find(|number| !published.contains(number)) {
            trace.violated("each effect once", format!("{name} {}: {unknown} was never published", axis.name()));
        }
        let missing: Vec<u64> = published.iter().filter(|number| !sorted.contains(number)).copied().collect();
        let in_order: Vec<u64> = moved.iter().filter(|(_, late)| !late).map(|(number, _)| *number).collect();
        if !is_foreign && !world.plan.workload.by_timestamp && !in_order.is_sorted() {
            trace.violated("per-device order", format!("{name} {}: {in_order:?}", axis.name()));
        }
        // What a former owner had accepted comes when it comes.
        leading.push((axis, missing, in_order));
    }
    // What came before the other axis had a value shows nothing. Halves of a former owner may come in another order than they were sent.
    let workload = &world.plan.workload;
    let is_mixed = is_foreign || (workload.by_timestamp && workload.daemons > 1);
    let lost = match (&leading[0].1[..], &leading[1].1[..]) {
        ([], []) => None,
        (missing, []) => beyond_lead(missing, &leading[0].2, &frames, Axis::Y, is_mixed),
        ([], missing) => beyond_lead(missing, &leading[1].2, &frames, Axis::X, is_mixed),
        (x, y) => Some(format!("x {x:?}, y {y:?}")),
    };
    if let Some(lost) = lost {
        trace.violated("accepted = applied + dead-lettered", format!("{name}: {lost} are missing"));
    }
    if !is_foreign && !world.plan.workload.by_timestamp {
        latest_is_last(world, name, &frames, &leading).await;
    }
}

/// The numbers that an axis moved to, with whether they were late.
fn moves(frames: &[CoordinateData], axis: Axis, by_timestamp: bool) -> Vec<(u64, bool)> {
    let is_move = |frame: &&CoordinateData| {
        let is_pair = by_timestamp && !frame.unpaired && !frame.late;
        is_pair || frame.source == axis
    };
    frames.iter().filter(is_move).map(|frame| (frame.coordinate(axis) as u64, frame.late)).collect()
}

/// Missing numbers are right only if they all came before the first frame, which the other axis moved (or, late ones, after it).
fn beyond_lead(
    missing: &[u64],
    shown: &[u64],
    frames: &[CoordinateData],
    other: Axis,
    is_mixed: bool,
) -> Option<String> {
    let begins_with_other = frames.first().is_none_or(|first| first.source == other || !first.unpaired);
    let are_first = missing.iter().all(|number| shown.iter().all(|shown| number < shown));
    (!begins_with_other || !(are_first || is_mixed)).then(|| format!("{missing:?} beside {shown:?}"))
}

/// The latest value is the last one, but for what a former owner of the ingest had accepted and comes late: that moves nothing.
async fn latest_is_last(world: &World, name: &str, frames: &[CoordinateData], leading: &[(Axis, Vec<u64>, Vec<u64>)]) {
    let (partition, device) = place(name);
    let Some(entry) = world.services.store.latest(partition, &device).await.unwrap() else { return };
    let latest = entry.latest.decode().unwrap();
    for (axis, missing, in_order) in leading {
        let shown = latest.coordinate(*axis) as u64;
        let last = missing.iter().chain(in_order).max();
        let are_all_late = frames.iter().any(|frame| frame.late) && last.is_none_or(|last| *last < shown);
        if last.is_some_and(|last| *last != shown) && !are_all_late {
            let what = format!("{name} {}: {shown}, last in order {last:?}", axis.name());
            world.services.trace.violated("the latest value is the last one", what);
        }
    }
}

/// What can't be understood is a dead letter.
async fn rubbish_is_kept(world: &World) {
    let page = world.services.log.dead_letters(None, usize::MAX).await.unwrap();
    let kept: Vec<String> = page
        .letters
        .iter()
        .map(|stored| String::from_utf8(stored.letter.payload().unwrap_or_default()).unwrap_or_default())
        .collect();
    let rubbish = world.published.lock().unwrap().rubbish.clone();
    for text in rubbish.iter().filter(|text| !kept.contains(text)) {
        world.services.trace.violated("accepted = applied + dead-lettered", format!("{text} is no dead letter"));
    }
    for text in kept.iter().filter(|text| !rubbish.contains(text)) {
        world.services.trace.violated("accepted = applied + dead-lettered", format!("{text} is a dead letter"));
    }
}

/// Everything of the file runs, and nothing else does; else what does not, or does.
pub(crate) fn unwhole(world: &World) -> Option<(&'static str, String)> {
    let mut sessions = 0;
    for daemon in world.daemons() {
        let snapshot = daemon.tree.inspect();
        let (mut listed, mut pooled) = (0, 0);
        if let Some(down) = count(&snapshot.root, &mut listed, &mut pooled) {
            return Some(("the running tree equals the file", down));
        }
        if snapshot.actors != listed + pooled {
            let root = &snapshot.root.path;
            let what = format!("{root}: {} actors, {listed} in the file, {pooled} in pools", snapshot.actors);
            return Some(("no orphans", what));
        }
        let components = daemon.health.components();
        if let Some(down) = components.iter().find(|component| component.state != ComponentState::Up) {
            let what = format!("{}: {} is {:?}", snapshot.root.path, down.name, down.state);
            return Some(("every part comes back by itself", what));
        }
        sessions += daemon.sessions.live();
    }
    let watchers = world.watchers.lock().unwrap().len();
    (sessions != watchers).then(|| ("no orphans", format!("{sessions} sessions of {watchers} clients")))
}

/// Counts what runs; what should and does not.
fn count(node: &NodeSnapshot, listed: &mut usize, pooled: &mut usize) -> Option<String> {
    if node.status != Status::Running {
        return Some(format!("{} is {:?}: {:?}", node.path, node.status, node.last_failure));
    }
    *listed += 1;
    *pooled += node.pool.as_ref().map_or(0, |pool| pool.live);
    node.children.iter().find_map(|child| count(child, listed, pooled))
}

/// After the daemons have ended no task is left: no actor, no timer, no helper.
pub(crate) async fn nothing_is_left(trace: &Trace) {
    let metrics = tokio::runtime::Handle::current().metrics();
    let since = tokio::time::Instant::now();
    while metrics.num_alive_tasks() > 0 {
        if since.elapsed() > LEFT_WITHIN {
            let what = format!("{} tasks are left", metrics.num_alive_tasks());
            return trace.violated("actors, timers and names return to the baseline", what);
        }
        sleep(Duration::from_secs(1)).await;
    }
}
