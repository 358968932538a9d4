//! A daemon without its ports: the tree of the file that is shipped, its backends at the other end of links.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use orinoco_actors::{
    Audience, CentrifugeSession, Challenge, ChallengeDeps, ChallengeRegistry, ChallengeRegistryArguments, Challenges,
    DeviceCensus, Health, KafkaConsumer, KafkaConsumerArguments, KafkaProducer, KafkaProducerArguments, LeaseKeeper,
    LeaseKeeperArguments, Listener, ListenerArguments, MqttIngest, MqttIngestArguments, RedisWriter,
    RedisWriterArguments, SseLimits, SseSession, SseStreams, StreamHub, StreamHubArguments, StreamHubMessage, Tenure,
    WsSession,
};
use orinoco_domain::{
    TopicFilters,
    pairing::{Pairing, PairingRule},
    secret::{DerivationKey, DerivationKeys, KeyId},
};
use orinoco_ports::{
    CoordinateStore, Journal, Leases, LoginStore, MqttSource, RecordLog, Running, Server, ServerError,
    conformance::leases::LeasesFactory,
};
use orinoco_supervision::{Catalog, Group, Plan as TreePlan, Pool, Tree, TreeError};
use orinoco_testkit::simulation::{Backend, Link, MutatedSource, Plan, Remote, WatchedJournal};

use crate::services::{PARTITIONS, Services};

const TREE: &str = include_str!("../../../supervision.toml");
const LEASE_TIME_TO_LIVE: Duration = Duration::from_secs(3);

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
        catalog.instances("per_partition", PARTITIONS).instances("embedded_broker", 0);
        let health = Health::default();
        let ways = Ways { services, plan, links: &links, store: &store, health: &health };
        let hubs = catalog.group("StreamHub");
        let sessions = catalog.pool("WsSession", || WsSession);
        catalog.pool("CentrifugeSession", || CentrifugeSession);
        ways.enter_stream(&mut catalog, journal, &format!("d{number}")).await;
        let (challenges, streams) = ways.enter_login(&mut catalog);
        enter_listeners(&mut catalog, &health);
        match Tree::start(tree_plan(number), catalog).await {
            Ok(tree) => Ok(Self { tree, hubs, sessions, challenges, streams, store, links }),
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
        let (health, clock) = (self.health.clone(), Arc::clone(&self.services.clock));
        let near: Arc<dyn RecordLog> = self.services.log.clone();
        let log: Arc<dyn RecordLog> = Arc::new(Remote::new(near, &self.links[&Backend::Log]));
        let census = DeviceCensus::new(10_000);
        let writers = catalog.group("RedisWriter");
        let consumers = catalog.group("KafkaConsumer");
        let producer = catalog.group("KafkaProducer");
        let ingest = catalog.group("MqttIngest");
        let keepers = catalog.group("LeaseKeeper");
        let leases: Arc<dyn Leases> =
            Arc::new(Remote::new(self.services.leases.open(name).await, &self.links[&Backend::Leases]));
        let tenure = Tenure::new(LEASE_TIME_TO_LIVE);
        let given = (consumers.clone(), ingest.clone(), tenure.clone(), health.clone());
        catalog.actor(
            "LeaseKeeper",
            || LeaseKeeper,
            move |_| {
                let (consumers, ingest, tenure, health) = given.clone();
                let leases = Arc::clone(&leases);
                LeaseKeeperArguments { leases, partitions: PARTITIONS, tenure, consumers, ingest, health }
            },
        );
        let audiences: Vec<Arc<Audience>> = (0..PARTITIONS).map(|_| Arc::default()).collect();
        let given = (Arc::clone(self.store), health.clone());
        catalog.actor(
            "StreamHub",
            || StreamHub,
            move |partition| {
                let (store, health) = given.clone();
                StreamHubArguments { store, audience: Arc::clone(&audiences[partition as usize]), health }
            },
        );
        let pairing = if self.plan.workload.by_timestamp { Pairing::Timestamp } else { Pairing::Latest };
        let rule = PairingRule { pairing, grace_ms: 200, pending_max: 64 };
        let given = (Arc::clone(self.store), census.clone(), Arc::clone(&clock), health.clone(), consumers);
        catalog.actor(
            "RedisWriter",
            || RedisWriter,
            move |_| {
                let (store, census, clock, health, consumers) = given.clone();
                RedisWriterArguments { store, rule, history_max: 10_000, census, clock, health, consumers }
            },
        );
        let given =
            (Arc::clone(&log), writers, producer.clone(), keepers.clone(), census, Arc::clone(&clock), health.clone());
        catalog.actor(
            "KafkaConsumer",
            || KafkaConsumer,
            move |_| {
                let (log, writers, producer, leases, census, clock, health) = given.clone();
                let (partitions, on_data_loss) = (PARTITIONS, Default::default());
                KafkaConsumerArguments {
                    log,
                    writers,
                    producer,
                    leases,
                    partitions,
                    on_data_loss,
                    census,
                    clock,
                    health,
                }
            },
        );
        let given = (log, ingest, Arc::clone(&clock), health.clone());
        catalog.actor(
            "KafkaProducer",
            || KafkaProducer,
            move |_| {
                let (log, ingest, clock, health) = given.clone();
                KafkaProducerArguments { log, ingest, partitions: PARTITIONS, clock, health }
            },
        );
        let journal: Arc<dyn Journal> =
            Arc::new(WatchedJournal::new(journal, &self.services.log, self.services.trace.clone()));
        let near: Arc<dyn MqttSource> = Arc::new(self.services.broker.clone());
        let near: Arc<dyn MqttSource> = Arc::new(Remote::new(near, &self.links[&Backend::Broker]));
        let source: Arc<dyn MqttSource> = Arc::new(MutatedSource::new(near, self.plan.mutation));
        let given = (source, journal, producer, keepers, tenure, clock, health);
        catalog.actor(
            "MqttIngest",
            || MqttIngest,
            move |_| {
                let (source, journal, producer, leases, tenure, clock, health) = given.clone();
                let (filters, partitions, receive_max) = (TopicFilters::default(), PARTITIONS, 100);
                MqttIngestArguments {
                    source,
                    journal,
                    filters,
                    partitions,
                    receive_max,
                    producer,
                    leases,
                    tenure,
                    clock,
                    health,
                }
            },
        );
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
}

/// Clients of the simulation call the actors themselves.
struct NoPort;

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
