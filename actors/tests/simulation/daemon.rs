//! A daemon without its ports: the tree of the file that is shipped, its backends at the other end of links.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use orinoco_actors::{
    CentrifugeSession, Challenge, ChallengeDeps, ChallengeRegistry, ChallengeRegistryArguments, Challenges, Health,
    Listener, ListenerArguments, SseLimits, SseSession, SseStreams, StreamHubMessage, TraceExporter,
    TraceExporterArguments, Tracer, WsSession,
};
use orinoco_domain::{
    pairing::Pairing,
    secret::{DerivationKey, DerivationKeys, KeyId},
};
use orinoco_ports::{
    CoordinateStore, ExportError, Journal, LoginStore, MqttSource, RecordLog, Running, Server, ServerError, Span,
    SpanExporter, conformance::leases::LeasesFactory,
};
use orinoco_supervision::{Catalog, Group, Plan as TreePlan, Pool, Tree, TreeError};
use orinoco_testkit::simulation::{Backend, Link, MutatedSource, Plan, Remote, WatchedJournal};

use crate::{services::Services, stream::Stream};

const TREE: &str = include_str!("../../../supervision.toml");

/// The tree of the daemon of that number: its root is `d0` and so on, so that a path names the daemon too.
pub(crate) fn tree_plan(number: usize) -> TreePlan {
    TreePlan::parse(&TREE.replace("\"root\"", &format!("\"d{number}\"")), "supervision.toml").unwrap()
}

pub(crate) fn keys() -> DerivationKeys {
    DerivationKeys::new(vec![DerivationKey::from_bytes(KeyId(7), [42; 32])]).unwrap()
}

/// One run of a daemon.
pub(crate) struct Daemon {
    pub(crate) tree: Tree,
    pub(crate) hubs: Group<StreamHubMessage>,
    pub(crate) sessions: Pool<WsSession>,
    pub(crate) challenges: Challenges,
    pub(crate) streams: SseStreams,
    pub(crate) store: Arc<dyn CoordinateStore>,
    pub(crate) links: BTreeMap<Backend, Arc<Link>>,
    pub(crate) health: Health,
}

impl Daemon {
    pub(crate) async fn start(
        services: &Services,
        plan: &Plan,
        journal: Arc<dyn Journal>,
        number: usize,
        run: u64,
    ) -> Result<Self, (BTreeMap<Backend, Arc<Link>>, TreeError)> {
        let links = links(services, plan, number, run);
        let store: Arc<dyn CoordinateStore> =
            Arc::new(Remote::new(Arc::clone(&services.store), &links[&Backend::Store]));
        let mut catalog = Catalog::new();
        catalog.instances("embedded_broker", 0).instances("trace_collector", 0);
        let health = Health::default();
        let ways = Ways { services, plan, links: &links, store: &store, health: &health };
        let hubs = catalog.group("StreamHub");
        let sessions = catalog.pool("WsSession", || WsSession);
        catalog.pool("CentrifugeSession", || CentrifugeSession);
        ways.enter_stream(&mut catalog, journal, &format!("d{number}")).await;
        let (challenges, streams) = ways.enter_login(&mut catalog);
        enter_listeners(&mut catalog, &health);
        match Tree::start(tree_plan(number), catalog).await {
            Ok(tree) => Ok(Self { tree, hubs, sessions, challenges, streams, store, links, health }),
            Err(error) => Err((links, error)),
        }
    }
}

fn links(services: &Services, plan: &Plan, number: usize, run: u64) -> BTreeMap<Backend, Arc<Link>> {
    let link = |backend: Backend| {
        let seed = plan.schedule.seed ^ (run << 16) ^ ((number as u64) << 8) ^ backend as u64;
        let name = format!("d{number} {backend:?}");
        (backend, Link::new(name, seed, plan.schedule.way_ms_max, services.trace.clone()))
    };
    Backend::ALL.into_iter().map(link).collect()
}

struct Ways<'a> {
    services: &'a Services,
    plan: &'a Plan,
    links: &'a BTreeMap<Backend, Arc<Link>>,
    store: &'a Arc<dyn CoordinateStore>,
    health: &'a Health,
}

impl Ways<'_> {
    async fn enter_stream(&self, catalog: &mut Catalog, journal: Arc<dyn Journal>, name: &str) {
        let Self { services, plan, links, .. } = *self;
        let log: Arc<dyn RecordLog> = services.log.clone();
        let source: Arc<dyn MqttSource> = Arc::new(services.broker.clone());
        let source: Arc<dyn MqttSource> = Arc::new(Remote::new(source, &links[&Backend::Broker]));
        let stream = Stream {
            leases: Arc::new(Remote::new(services.leases.open(name).await, &links[&Backend::Leases])),
            store: Arc::clone(self.store),
            log: Arc::new(Remote::new(log, &links[&Backend::Log])),
            source: Arc::new(MutatedSource::new(source, plan.mutation)),
            journal: Arc::new(WatchedJournal::new(journal, &services.log, services.trace.clone())),
            clock: Arc::clone(&services.clock),
            health: self.health.clone(),
            pairing: if plan.workload.by_timestamp { Pairing::Timestamp } else { Pairing::Latest },
        };
        stream.enter(catalog);
    }

    fn enter_login(&self, catalog: &mut Catalog) -> (Challenges, SseStreams) {
        let registry = catalog.group("ChallengeRegistry");
        let pool = catalog.pool("Challenge", || Challenge);
        let streams =
            SseStreams::new(catalog.pool("SseSession", || SseSession), registry.clone(), SseLimits::default());
        let keys = Arc::new(keys());
        let store = Remote::new(Arc::clone(&self.services.logins), &self.links[&Backend::Logins]);
        let deps = Arc::new(ChallengeDeps {
            store: Arc::new(store) as Arc<dyn LoginStore>,
            keys: Arc::new(move || Arc::clone(&keys)),
            watchers_max: 4,
        });
        let health = self.health.clone();
        catalog.actor(
            "ChallengeRegistry",
            || ChallengeRegistry,
            move |_| {
                let (deps, challenges, health) = (Arc::clone(&deps), pool.clone(), health.clone());
                ChallengeRegistryArguments { deps, challenges, health, notice: Arc::new(|_| {}) }
            },
        );
        (Challenges::new(registry), streams)
    }
}

fn enter_listeners(catalog: &mut Catalog, health: &Health) {
    for start in ["ControlListener", "WsListener", "HttpListener", "MqttListener"] {
        let health = health.clone();
        catalog.actor(
            start,
            || Listener,
            move |_| ListenerArguments { server: Arc::new(NoPort), health: health.clone(), component: start },
        );
    }
    // Nothing is traced here: it has no instance.
    let exporter = |_| TraceExporterArguments { tracer: Tracer::default(), exporter: Arc::new(NoPort) };
    catalog.actor("TraceExporter", || TraceExporter, exporter);
}

/// Clients of the simulation call the actors themselves.
struct NoPort;

#[async_trait]
impl SpanExporter for NoPort {
    async fn export(&self, _spans: &[Span]) -> Result<u64, ExportError> {
        Ok(0)
    }
}

#[async_trait]
impl Server for NoPort {
    async fn start(&self) -> Result<Box<dyn Running>, ServerError> {
        Ok(Box::new(Self))
    }
}

#[async_trait]
impl Running for NoPort {
    fn place(&self) -> &str {
        "simulated"
    }

    async fn failed(&mut self) -> ServerError {
        std::future::pending().await
    }

    async fn drain(self: Box<Self>) {}
}
