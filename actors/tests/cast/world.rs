//! A daemon without listeners: the tree of `stream` and `ws_sessions`, its backends in memory.

use std::{sync::Arc, time::Duration};

use orinoco_actors::{
    Close, Health, KafkaProducer, LeaseKeeper, MqttIngest, Resume, StreamHubMessage, View, WsLimits, WsSession,
    WsSessionArguments,
};
use orinoco_domain::{DeviceId, pairing::Pairing, partition_of};
use orinoco_ports::{
    Clock, CoordinateStore, Journal, RecordLog,
    conformance::{
        journal::{JournalFactory, memory::MemoryJournals},
        leases::{LeasesFactory, memory::MemoryLeases},
        log::{LogFactory, memory::MemoryLogs},
        mqtt::{MqttFactory, PublishedMessage, Publisher, memory::MemoryGate},
        store::{StoreFactory, memory::MemoryStores},
    },
};
use orinoco_supervision::{Catalog, Group, Plan, Pool, Tree};
use tokio::sync::oneshot;

use crate::{
    distant::Distant,
    sockets::MemorySocket,
    stream::{PARTITIONS, Stream},
};

const PLAN: &str = r#"
schema = 1
root = "root"
[defaults]
backoff = { min = "1ms", max = "50ms", factor = 2.0, jitter = 0.2, reset_after = "1s" }
[[supervisor]]
id = "root"
strategy = "one_for_one"
children = [{ id = "stream", type = "supervisor" }, { id = "ws_sessions", type = "supervisor" }]
[[supervisor]]
id = "stream"
strategy = "one_for_one"
intensity = 100000
period = "1s"
children = [
  { id = "leases", start = "LeaseKeeper" },
  { id = "hub", start = "StreamHub", instances = "per_partition" },
  { id = "writer", start = "RedisWriter", instances = "per_partition" },
  { id = "consumer", start = "KafkaConsumer", instances = "per_partition" },
  { id = "producer", start = "KafkaProducer" },
  { id = "ingest", start = "MqttIngest" },
]
[[supervisor]]
id = "ws_sessions"
strategy = "simple_one_for_one"
max_children = 1000
child = { start = "WsSession", restart = "temporary", stop_mode = "stop", mailbox = { capacity = 256, overflow = "reject" } }
"#;

pub(crate) struct World {
    pub(crate) tree: Tree,
    pub(crate) store: Arc<dyn CoordinateStore>,
    pub(crate) log: Arc<dyn RecordLog>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) health: Health,
    gate: MemoryGate,
    pool: Pool<WsSession>,
    hubs: Group<StreamHubMessage>,
    next_session: std::sync::atomic::AtomicU64,
}

/// Passes with the runtime's paused time.
struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn now_ms(&self) -> i64 {
        1_767_323_045_678 + i64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
}

/// A client, and how its session ended.
pub(crate) struct Client {
    pub(crate) socket: Arc<MemorySocket>,
    pub(crate) done: oneshot::Receiver<Close>,
}

impl World {
    pub(crate) async fn start(pairing: Pairing) -> Self {
        let gate = MemoryGate::default();
        let store = MemoryStores::default().open().await;
        let log = MemoryLogs::default().open().await;
        let journal = MemoryJournals::default().open(1 << 30).await;
        let health = Health::default();
        for component in [LeaseKeeper::COMPONENT, KafkaProducer::COMPONENT, MqttIngest::COMPONENT] {
            health.expect(component);
        }
        for partition in 0..PARTITIONS {
            health.expect(&format!("consumer/{partition}"));
        }
        let clock: Arc<dyn Clock> = Arc::new(PausedClock(tokio::time::Instant::now()));
        let mut catalog = Catalog::new();
        let hubs = catalog.group("StreamHub");
        let pool = catalog.pool("WsSession", || WsSession);
        let stream = Stream {
            leases: Arc::new(Distant::new(MemoryLeases::default().open("owner").await)),
            store: Arc::clone(&store),
            log: Arc::clone(&log),
            source: Arc::new(Distant::new(gate.source().await)),
            journal: Arc::clone(&journal),
            clock,
            health: health.clone(),
            pairing,
        };
        stream.enter(&mut catalog);
        let tree = Tree::start(Plan::parse(PLAN, "plan").unwrap(), catalog).await.unwrap();
        Self { tree, store, log, journal, health, gate, pool, hubs, next_session: 1.into() }
    }

    pub(crate) async fn publisher(&self) -> Box<dyn Publisher> {
        self.gate.publisher().await
    }

    pub(crate) async fn watch(&self, view: View, resume: Option<Resume>, socket: MemorySocket) -> Client {
        let session = self.next_session.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let socket = Arc::new(socket);
        let partitions = match &view {
            View::All => (0..PARTITIONS).collect(),
            View::Device(device) => vec![partition_of(device.as_str().as_bytes(), PARTITIONS)],
        };
        let (done, ended) = oneshot::channel();
        let arguments = WsSessionArguments {
            session,
            socket: Arc::clone(&socket) as _,
            view,
            resume,
            hubs: self.hubs.clone(),
            partitions,
            store: Arc::clone(&self.store),
            limits: WsLimits { queue_bytes_max: 64 * 1024, stall_max: Duration::from_secs(10) },
            done,
        };
        let arguments = std::sync::Mutex::new(Some(arguments));
        self.pool.start_child(session, move || arguments.lock().unwrap().take().unwrap()).await.unwrap();
        Client { socket, done: ended }
    }
}

/// Publishes until the message is accepted, as a device does.
pub(crate) async fn publish(publisher: &mut Box<dyn Publisher>, topic: &str, payload: &str) {
    let message = PublishedMessage { topic: topic.to_owned(), payload: payload.as_bytes().to_vec(), traceparent: None };
    while publisher.publish(&message).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn device(name: &str) -> DeviceId {
    DeviceId::parse(name).unwrap()
}
