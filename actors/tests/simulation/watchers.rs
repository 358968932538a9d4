//! Clients that watch, and connect again to whatever daemon there is, where they were.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use orinoco_actors::{Resume, View, WsLimits, WsSessionArguments};
use orinoco_domain::{CoordinateData, DeviceId, partition_of};
use orinoco_ports::ClientSocket;
use orinoco_testkit::simulation::Trace;
use tokio::{sync::oneshot, task::JoinSet, time::sleep};

use crate::{daemon::Daemon, sockets::texts, stream::PARTITIONS, world::World};

const LIMITS: WsLimits = WsLimits { queue_bytes_max: 1 << 20, stall_max: Duration::from_secs(10) };

/// One client, across its connections.
pub(crate) struct Watcher {
    pub(crate) name: String,
    pub(crate) view: View,
    seen: Mutex<Seen>,
    trace: Trace,
}

#[derive(Default)]
struct Seen {
    /// The last offset, by device.
    heads: BTreeMap<String, u64>,
    /// The same, of this connection.
    connection: BTreeMap<String, u64>,
    epoch: Option<Arc<str>>,
    connections: u64,
}

impl Watcher {
    pub(crate) fn head(&self, device: &str) -> u64 {
        self.seen.lock().unwrap().heads.get(device).copied().unwrap_or(0)
    }

    fn resume(&self) -> Option<Resume> {
        let View::Device(device) = &self.view else { return None };
        let seen = self.seen.lock().unwrap();
        let epoch = seen.epoch.as_ref()?.to_string();
        seen.heads.get(device.as_str()).map(|offset| Resume { offset: *offset, epoch })
    }

    fn connected(&self) {
        let mut seen = self.seen.lock().unwrap();
        seen.connection.clear();
        seen.connections += 1;
    }

    /// The next frame of a device has the next offset: in a connection always, and across connections for who resumes.
    fn take(&self, frame: &CoordinateData) {
        let mut seen = self.seen.lock().unwrap();
        let device = frame.device.as_str();
        let resumes = matches!(self.view, View::Device(_)).then(|| seen.heads.get(device)).flatten();
        if let Some(last) = seen.connection.get(device).or(resumes)
            && frame.offset != last + 1
        {
            let what = format!("{}: {device} has {} after {last}", self.name, frame.offset);
            self.trace.violated("offsets +1 without gap", what);
        }
        if matches!(self.view, View::Device(_)) {
            if seen.epoch.as_ref().is_some_and(|epoch| *epoch != frame.epoch) {
                self.trace.violated("epoch unchanged", format!("{}: {:?}, {}", self.name, seen.epoch, frame.epoch));
            }
            seen.epoch = Some(Arc::clone(&frame.epoch));
        }
        self.trace.add(format_args!("{} sees {device} {}", self.name, frame.offset));
        seen.connection.insert(device.to_owned(), frame.offset);
        let head = seen.heads.entry(device.to_owned()).or_default();
        *head = frame.offset.max(*head);
    }
}

#[async_trait]
impl ClientSocket for Watcher {
    fn try_write(&self, messages: &[Bytes]) -> io::Result<usize> {
        for text in messages.iter().flat_map(|message| texts(message)) {
            match serde_json::from_str::<CoordinateData>(&text) {
                Ok(frame) => self.take(&frame),
                Err(_) => self.trace.violated("who resumes goes on", format!("{}: {text}", self.name)),
            }
        }
        Ok(messages.len())
    }

    fn has_rest(&self) -> bool {
        false
    }

    async fn flushed(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts the clients of the plan: every other one watches one device.
pub(crate) fn start(world: &Arc<World>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let workload = &world.plan.workload;
    for index in 0..workload.watchers {
        let view = match index % 2 {
            0 => View::Device(DeviceId::parse(&format!("device-{}", index / 2 % workload.devices)).unwrap()),
            _ => View::All,
        };
        let watcher = Arc::new(Watcher {
            name: format!("watcher {index}"),
            view,
            seen: Mutex::default(),
            trace: world.services.trace.clone(),
        });
        world.watchers.lock().unwrap().push(Arc::clone(&watcher));
        let random = fastrand::Rng::with_seed(workload.seed ^ (u64::from(index) << 8));
        tasks.spawn(watch(Arc::clone(world), watcher, random));
    }
    tasks
}

async fn watch(world: Arc<World>, watcher: Arc<Watcher>, mut random: fastrand::Rng) {
    loop {
        if let Some(daemon) = world.some_daemon(&mut random) {
            connect(&world, &watcher, daemon).await;
        }
        sleep(Duration::from_millis(random.u64(1..60))).await;
    }
}

/// Until the connection ends.
async fn connect(world: &World, watcher: &Arc<Watcher>, daemon: Arc<Daemon>) {
    let session = world.number();
    let partitions = match &watcher.view {
        View::All => (0..PARTITIONS).collect(),
        View::Device(device) => vec![partition_of(device.as_str().as_bytes(), PARTITIONS)],
    };
    let (done, ended) = oneshot::channel();
    let arguments = WsSessionArguments {
        session,
        socket: Arc::clone(watcher) as _,
        view: watcher.view.clone(),
        resume: watcher.resume(),
        hubs: daemon.hubs.clone(),
        partitions,
        store: Arc::clone(&daemon.store),
        limits: LIMITS,
        done,
    };
    watcher.connected();
    let arguments = Mutex::new(Some(arguments));
    let started = daemon.sessions.start_child(session, move || arguments.lock().unwrap().take().unwrap()).await;
    drop(daemon);
    let close = match started {
        Ok(_address) => ended.await.ok(),
        Err(_down) => return,
    };
    world.services.trace.add(format_args!("{}: closed {:?}", watcher.name, close.map(|close| close.code)));
}
