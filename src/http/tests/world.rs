//! What stands behind the ports: a tree of hubs and sessions as in the daemon, over coordinates in memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use metrics_exporter_prometheus::PrometheusBuilder;
use orinoco_actors::{
    Audience, CentrifugeSession, Health, Lags, StreamHub, StreamHubArguments, StreamHubMessage, Tracer, View, WsSession,
};
use orinoco_domain::DeviceId;
use orinoco_ports::{
    CoordinateStore, Journal, Leases, RecordLog,
    conformance::{
        journal::{JournalFactory, memory::MemoryJournals},
        leases::{LeasesFactory, memory::MemoryLeases},
        log::{LogFactory, memory::MemoryLogs},
    },
};
use orinoco_supervision::{Catalog, Group, Plan, Pool, Tree};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    login::{LoginWorld, PUBLIC_URL},
    store::MemoryStore,
};
use crate::{
    control::TreeSlot,
    dead_letters::fixtures::{Broker, broker},
    http::{Access, Console, Denied, HttpDeps, Origins, PublicOnly, ReplayDeps, StreamDeps, StreamTable, Viewer},
    ws::WsConnections,
};

pub(crate) const PARTITIONS: u32 = 2;
const HISTORY_MAX: usize = 50;
pub(crate) const JOURNAL_BYTES_MAX: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

const PLAN: &str = r#"
schema = 1

[[supervisor]]
id = "root"
strategy = "one_for_one"
intensity = 100
period = "10s"
children = [
  { id = "hub", start = "StreamHub", instances = 2 },
  { id = "challenges", type = "supervisor" },
  { id = "registry", start = "ChallengeRegistry" },
  { id = "sse_sessions", type = "supervisor" },
  { id = "ws_sessions", type = "supervisor" },
  { id = "centrifuge_sessions", type = "supervisor" },
]

[[supervisor]]
id = "challenges"
strategy = "simple_one_for_one"
max_children = 1000
intensity = 1000
period = "10s"
child = { start = "Challenge", restart = "temporary", ttl = "2h", mailbox = { capacity = 2048, overflow = "reject" } }

[[supervisor]]
id = "sse_sessions"
strategy = "simple_one_for_one"
max_children = 1000
intensity = 1000
period = "10s"
child = { start = "SseSession", restart = "temporary", ttl = "2h", mailbox = { capacity = 64, overflow = "reject" } }

[[supervisor]]
id = "ws_sessions"
strategy = "simple_one_for_one"
max_children = 20000
intensity = 1000
period = "10s"
child = { start = "WsSession", restart = "temporary", mailbox = { capacity = 64, overflow = "backpressure" } }

[[supervisor]]
id = "centrifuge_sessions"
strategy = "simple_one_for_one"
max_children = 1000
intensity = 1000
period = "10s"
child = { start = "CentrifugeSession", restart = "temporary", mailbox = { capacity = 256, overflow = "reject" } }
"#;

pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) log: Arc<dyn RecordLog>,
    /// Takes three payloads, and then no more.
    pub(crate) broker: Arc<Broker>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) leases: Arc<dyn Leases>,
    pub(crate) tree: Tree,
    pub(crate) hubs: Group<StreamHubMessage>,
    pub(crate) sessions: Pool<WsSession>,
    pub(crate) centrifuge_sessions: Pool<CentrifugeSession>,
    pub(crate) health: Health,
    pub(crate) login: LoginWorld,
    /// How often metrics were asked for.
    pub(crate) metrics_asked: Arc<AtomicUsize>,
}

impl World {
    /// A tree whose hubs are in sync.
    pub(crate) async fn start() -> Self {
        Self::start_with(MemoryStore::new(HISTORY_MAX)).await
    }

    pub(crate) async fn start_with(store: Arc<MemoryStore>) -> Self {
        let mut catalog = Catalog::new();
        let hubs = catalog.group::<StreamHubMessage>("StreamHub");
        let health = Health::default();
        let audiences: Vec<Arc<Audience>> = (0..PARTITIONS).map(|_| Arc::default()).collect();
        let arguments = {
            let (store, health) = (Arc::clone(&store), health.clone());
            move |partition: u32| StreamHubArguments {
                store: Arc::clone(&store) as Arc<dyn CoordinateStore>,
                audience: Arc::clone(&audiences[partition as usize]),
                health: health.clone(),
            }
        };
        catalog.actor("StreamHub", || StreamHub, arguments);
        let sessions = catalog.pool("WsSession", || WsSession);
        let centrifuge_sessions = catalog.pool("CentrifugeSession", || CentrifugeSession);
        let login = LoginWorld::enter(&mut catalog, &health);
        let tree = Tree::start(Plan::parse(PLAN, "world.toml").unwrap(), catalog).await.unwrap();
        let world = Self {
            store,
            log: MemoryLogs::default().open().await,
            broker: Arc::new(broker(3)),
            journal: MemoryJournals::default().open(JOURNAL_BYTES_MAX).await,
            leases: MemoryLeases::default().open("here").await,
            tree,
            hubs,
            sessions,
            centrifuge_sessions,
            health,
            login,
            metrics_asked: Arc::default(),
        };
        let in_sync = || world.health.components().len() == PARTITIONS as usize + 1 && world.health.is_ready();
        eventually("the hubs are in sync", in_sync).await;
        world
    }

    pub(crate) fn http_deps(&self, access: impl Access) -> HttpDeps {
        let asked = Arc::clone(&self.metrics_asked);
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || metrics::counter!("orinoco_test_total").increment(3));
        HttpDeps {
            listen: "127.0.0.1:0".to_owned(),
            tls: None,
            connections_max: 100,
            body_bytes_max: 1024,
            access: Arc::new(access),
            store: Arc::clone(&self.store) as Arc<dyn CoordinateStore>,
            log: Arc::clone(&self.log),
            replay: ReplayDeps { publisher: Arc::clone(&self.broker) as _, is_log_writable: true },
            stream: StreamDeps {
                journal: Arc::clone(&self.journal),
                leases: Arc::clone(&self.leases),
                lags: Lags::default(),
            },
            hubs: self.hubs.clone(),
            partitions: PARTITIONS,
            auth: Arc::clone(&self.login.auth),
            challenges: self.login.challenges.clone(),
            streams: self.login.streams.clone(),
            streams_open: StreamTable::new(),
            origins: Origins::new(PUBLIC_URL, vec!["https://app.example".to_owned()]),
            trusted_proxies: Vec::new(),
            connections: WsConnections::new(10),
            console: Console {
                socket_url: None,
                socket_port: 8081,
                socket_is_encrypted: false,
                stream_is_public: true,
            },
            tracer: Tracer::default(),
            tree: TreeSlot::default(),
            health: self.health.clone(),
            prometheus: recorder.handle(),
            before_metrics: Arc::new(move || {
                asked.fetch_add(1, Ordering::SeqCst);
            }),
        }
    }
}

pub(crate) const PUBLIC: PublicOnly = PublicOnly { public: true };

/// One account, with a token: it sees one device.
pub(crate) struct OneAccount {
    pub(crate) token: &'static str,
    pub(crate) device: &'static str,
}

#[async_trait]
impl Access for OneAccount {
    async fn viewer(&self, token: Option<&str>) -> Result<Viewer, Denied> {
        match token {
            None => Err(Denied::TokenMissing),
            Some(token) if token == self.token => Ok(Viewer::of(View::Device(DeviceId::parse(self.device).unwrap()))),
            Some(_) => Err(Denied::TokenInvalid),
        }
    }
}

/// Waits for a condition, which is looked at again and again.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Lower case names.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Self { status, headers: lines.map(header).collect(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// That of a problem, which it must be.
    pub(crate) fn detail(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{self:?}");
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// `scheme://host:port` without the scheme.
pub(crate) fn address(place: &str) -> &str {
    place.split_once("://").unwrap().1
}

/// Sends bytes over a connection of its own and reads to its end.
pub(crate) async fn exchange(place: &str, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address(place)).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut bytes = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    Answer::parse(&bytes)
}

pub(crate) async fn request(place: &str, method: &str, path: &str, headers: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    exchange(place, request.as_bytes()).await
}

pub(crate) async fn get(place: &str, path: &str) -> Answer {
    request(place, "GET", path, "").await
}
