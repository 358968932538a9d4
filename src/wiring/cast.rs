//! Which actor is given what.

use std::{sync::Arc, time::Duration};

use orinoco_actors::{
    Audience, CentrifugeSession, DataLossPolicy, DeviceCensus, Health, KafkaConsumer, KafkaConsumerArguments,
    KafkaConsumerMessage, KafkaProducer, KafkaProducerArguments, KafkaProducerMessage, Lags, LeaseKeeper,
    LeaseKeeperArguments, LeaseKeeperMessage, Listener, ListenerArguments, MqttIngest, MqttIngestArguments,
    MqttIngestMessage, RedisWriter, RedisWriterArguments, RedisWriterMessage, StreamHub, StreamHubArguments,
    StreamHubMessage, Tenure, TraceExporter, WsSession,
};
use orinoco_domain::pairing::{Pairing, PairingRule};
use orinoco_ports::{Clock, Server, SystemClock};
use orinoco_supervision::{Catalog, Group, Pool};

use super::{
    Adapters,
    accounts::ACCOUNTS_COMPONENT,
    login::{self, LoginActors},
    traces::{self, Traces},
};
use crate::{
    auth::{Auth, TokenAccess},
    config::{Backend, Config, OnDataLoss, PairingMode, Stream},
    control::{ControlServer, TreeSlot},
    http::{Access, Console, HttpDeps, HttpServer, Origins, ReplayDeps, StreamDeps, StreamTable},
    live::Live,
    tls::TlsListeners,
    ws::{CentrifugeDeps, WsConnections, WsDeps, WsPolicy, WsServer},
};

/// The names of supervision.toml.
mod names {
    pub(super) const LEASES: &str = "LeaseKeeper";
    pub(super) const HUB: &str = "StreamHub";
    pub(super) const WRITER: &str = "RedisWriter";
    pub(super) const CONSUMER: &str = "KafkaConsumer";
    pub(super) const PRODUCER: &str = "KafkaProducer";
    pub(super) const INGEST: &str = "MqttIngest";
    pub(super) const WS_SESSION: &str = "WsSession";
    pub(super) const CENTRIFUGE_SESSION: &str = "CentrifugeSession";
    pub(super) const CONTROL: &str = "ControlListener";
    pub(super) const HTTP: &str = "HttpListener";
    pub(super) const WS: &str = "WsListener";
    pub(super) const BROKER: &str = "MqttListener";
    /// Instances: one a partition of the topics.
    pub(super) const PER_PARTITION: &str = "per_partition";
    /// Instances: one where `mqtt.backend` is `embedded` (and `parts.ingest` true), else none.
    pub(super) const EMBEDDED_BROKER: &str = "embedded_broker";
}

/// How long a lease lasts without renewal: a dead owner's partitions change hands after it.
const LEASE_TIME_TO_LIVE: Duration = Duration::from_secs(3);

/// All that the actors of one daemon share.
pub struct Cast {
    pub config: Arc<Config>,
    /// Of keys that actors read at each of their starts.
    pub live: Live<Config>,
    pub ws_policy: Live<WsPolicy>,
    pub adapters: Arc<Adapters>,
    pub auth: Arc<Auth>,
    pub health: Health,
    pub census: DeviceCensus,
    pub lags: Lags,
    pub connections: Arc<WsConnections>,
    pub prometheus: metrics_exporter_prometheus::PrometheusHandle,
    pub traces: Traces,
    pub tree: TreeSlot,
    pub before_metrics: Arc<dyn Fn() + Send + Sync>,
    pub tls: Arc<TlsListeners>,
}

impl Cast {
    /// The actors by their names in supervision.toml.
    #[must_use]
    pub fn catalog(self) -> Catalog {
        let mut catalog = Catalog::new();
        let partitions = self.adapters.partitions.count();
        count_instances(&mut catalog, &self.config, partitions);
        let groups = Groups::of(&mut catalog);
        let sessions = Sessions {
            plain: catalog.pool(names::WS_SESSION, || WsSession),
            centrifuge: catalog.pool(names::CENTRIFUGE_SESSION, || CentrifugeSession),
        };
        self.expect_components(partitions);
        self.traces.enter(&mut catalog);
        self.enter_stream(&mut catalog, &groups);
        let login = login::enter(&mut catalog, &self.auth, &self.health);
        self.enter_listeners(&mut catalog, &groups, sessions, &login);
        catalog
    }

    /// Not ready until each has reported.
    fn expect_components(&self, partitions: u32) {
        self.health.expect(LeaseKeeper::COMPONENT);
        self.health.expect(KafkaProducer::COMPONENT);
        self.health.expect(MqttIngest::COMPONENT);
        self.health.expect(MqttIngest::JOURNAL_COMPONENT);
        self.health.expect(ACCOUNTS_COMPONENT);
        for partition in 0..partitions {
            // The store is known by a writer that is asked to write; a consumer is up only after that.
            for component in ["stream", "consumer"] {
                self.health.expect(&format!("{component}/{partition}"));
            }
        }
    }

    fn enter_stream(&self, catalog: &mut Catalog, groups: &Groups) {
        let tenure = Tenure::new(LEASE_TIME_TO_LIVE);
        self.enter_leases(catalog, groups, tenure.clone());
        self.enter_hubs(catalog);
        self.enter_writers(catalog, groups);
        self.enter_consumers(catalog, groups);
        self.enter_producer(catalog, groups);
        self.enter_ingest(catalog, groups, tenure);
    }

    fn enter_leases(&self, catalog: &mut Catalog, groups: &Groups, tenure: Tenure) {
        let parts = self.config.parts.clone();
        let (adapters, groups, health) = (Arc::clone(&self.adapters), groups.clone(), self.health.clone());
        catalog.actor(
            names::LEASES,
            || LeaseKeeper,
            move |_| LeaseKeeperArguments {
                leases: Arc::clone(&adapters.leases),
                partitions: adapters.partitions.count(),
                takes_ingest: parts.ingest,
                takes_partitions: parts.consumer,
                tenure: tenure.clone(),
                consumers: groups.consumers.clone(),
                ingest: groups.ingest.clone(),
                health: health.clone(),
            },
        );
    }

    fn enter_hubs(&self, catalog: &mut Catalog) {
        let (adapters, health) = (Arc::clone(&self.adapters), self.health.clone());
        let audiences: Vec<Arc<Audience>> = (0..adapters.partitions.count()).map(|_| Arc::default()).collect();
        catalog.actor(
            names::HUB,
            || StreamHub,
            move |partition| StreamHubArguments {
                store: Arc::clone(&adapters.store),
                audience: Arc::clone(&audiences[partition as usize]),
                health: health.clone(),
            },
        );
    }

    fn enter_writers(&self, catalog: &mut Catalog, groups: &Groups) {
        let (adapters, groups, health) = (Arc::clone(&self.adapters), groups.clone(), self.health.clone());
        let (census, live, tracer) = (self.census.clone(), self.live.clone(), self.traces.tracer.clone());
        catalog.actor(
            names::WRITER,
            || RedisWriter,
            move |_| {
                let config = live.get();
                RedisWriterArguments {
                    store: Arc::clone(&adapters.store),
                    rule: pairing_rule(&config.stream),
                    history_max: config.stream.history_max,
                    census: census.clone(),
                    clock: clock(),
                    health: health.clone(),
                    consumers: groups.consumers.clone(),
                    tracer: tracer.clone(),
                }
            },
        );
    }

    fn enter_consumers(&self, catalog: &mut Catalog, groups: &Groups) {
        let (adapters, groups, health) = (Arc::clone(&self.adapters), groups.clone(), self.health.clone());
        let (census, lags, tracer) = (self.census.clone(), self.lags.clone(), self.traces.tracer.clone());
        let live = self.live.clone();
        catalog.actor(
            names::CONSUMER,
            || KafkaConsumer,
            move |_| KafkaConsumerArguments {
                log: Arc::clone(&adapters.log),
                writers: groups.writers.clone(),
                producer: groups.producer.clone(),
                leases: groups.leases.clone(),
                partitions: adapters.partitions.count(),
                on_data_loss: match live.get().kafka.on_data_loss {
                    OnDataLoss::Earliest => DataLossPolicy::Earliest,
                    OnDataLoss::Halt => DataLossPolicy::Halt,
                },
                census: census.clone(),
                clock: clock(),
                health: health.clone(),
                lags: lags.clone(),
                tracer: tracer.clone(),
            },
        );
    }

    fn enter_producer(&self, catalog: &mut Catalog, groups: &Groups) {
        let (adapters, groups, health) = (Arc::clone(&self.adapters), groups.clone(), self.health.clone());
        let tracer = self.traces.tracer.clone();
        catalog.actor(
            names::PRODUCER,
            || KafkaProducer,
            move |_| KafkaProducerArguments {
                log: Arc::clone(&adapters.log),
                ingest: groups.ingest.clone(),
                partitions: adapters.partitions.count(),
                clock: clock(),
                health: health.clone(),
                tracer: tracer.clone(),
            },
        );
    }

    fn enter_ingest(&self, catalog: &mut Catalog, groups: &Groups, tenure: Tenure) {
        let (adapters, groups, health) = (Arc::clone(&self.adapters), groups.clone(), self.health.clone());
        let config = Arc::clone(&self.config);
        let (filters, tracer) = (config.topic_filters(), self.traces.tracer.clone());
        catalog.actor(
            names::INGEST,
            || MqttIngest,
            move |_| MqttIngestArguments {
                source: Arc::clone(&adapters.source),
                journal: Arc::clone(&adapters.journal),
                filters: filters.clone(),
                partitions: adapters.partitions.count(),
                receive_max: usize::from(config.mqtt.receive_max),
                producer: groups.producer.clone(),
                leases: groups.leases.clone(),
                tenure: tenure.clone(),
                clock: clock(),
                health: health.clone(),
                tracer: tracer.clone(),
            },
        );
    }

    fn enter_listeners(&self, catalog: &mut Catalog, groups: &Groups, sessions: Sessions, login: &LoginActors) {
        let access: Arc<dyn Access> = Arc::new(TokenAccess::new(Arc::clone(&self.auth), self.config.stream.public));
        let control = Arc::new(ControlServer::new(self.config.control_socket(), self.tree.clone()));
        self.enter_listener(catalog, names::CONTROL, control, "control");
        self.enter_listener(catalog, names::HTTP, self.http(groups, Arc::clone(&access), login), "http");
        self.enter_listener(catalog, names::WS, self.ws(groups, access, sessions), "ws");
        // In supervision.toml in any case; without instances where devices do not connect here.
        let broker = Arc::clone(&self.adapters.broker);
        self.enter_listener(catalog, names::BROKER, broker, "broker");
        if !self.config.has_broker() {
            self.health.forget("broker");
        }
    }

    fn enter_listener(
        &self,
        catalog: &mut Catalog,
        name: &'static str,
        server: Arc<dyn Server>,
        component: &'static str,
    ) {
        self.health.expect(component);
        let health = self.health.clone();
        catalog.actor(
            name,
            || Listener,
            move |_| ListenerArguments { server: Arc::clone(&server), health: health.clone(), component },
        );
    }

    fn http(&self, groups: &Groups, access: Arc<dyn Access>, login: &LoginActors) -> Arc<dyn Server> {
        HttpServer::new(HttpDeps {
            listen: self.config.http.listen.to_string(),
            tls: self.tls.http.clone(),
            connections_max: self.config.http.connections_max,
            body_bytes_max: self.config.http.body_bytes_max,
            access,
            store: Arc::clone(&self.adapters.store),
            log: Arc::clone(&self.adapters.log),
            replay: ReplayDeps {
                publisher: Arc::clone(&self.adapters.publisher),
                is_log_writable: self.config.kafka.backend == Backend::Service,
            },
            stream: StreamDeps {
                journal: Arc::clone(&self.adapters.journal),
                leases: Arc::clone(&self.adapters.leases),
                lags: self.lags.clone(),
            },
            hubs: groups.hubs.clone(),
            partitions: self.adapters.partitions.count(),
            auth: Arc::clone(&self.auth),
            challenges: login.challenges.clone(),
            streams: login.streams.clone(),
            streams_open: StreamTable::new(),
            origins: Origins::new(
                &self.config.public_url(),
                self.config.http.allowed_origins.clone().unwrap_or_default(),
            ),
            trusted_proxies: self.config.http.trusted_proxies.clone().unwrap_or_default(),
            connections: Arc::clone(&self.connections),
            console: Console {
                socket_url: self.config.ws_public_url(),
                socket_port: self.config.ws.listen.port(),
                socket_is_encrypted: self.tls.ws.is_some(),
                stream_is_public: self.config.stream.public,
            },
            tracer: self.traces.tracer.clone(),
            tree: self.tree.clone(),
            health: self.health.clone(),
            prometheus: self.prometheus.clone(),
            before_metrics: Arc::clone(&self.before_metrics),
        })
    }

    fn ws(&self, groups: &Groups, access: Arc<dyn Access>, sessions: Sessions) -> Arc<dyn Server> {
        let ws = &self.config.ws;
        WsServer::new(WsDeps {
            listen: ws.listen.to_string(),
            tls: self.tls.ws.clone(),
            connections: Arc::clone(&self.connections),
            access,
            sessions: sessions.plain,
            centrifuge: CentrifugeDeps { sessions: sessions.centrifuge, presence: Arc::default() },
            hubs: groups.hubs.clone(),
            partitions: self.adapters.partitions.count(),
            store: Arc::clone(&self.adapters.store),
            policy: self.ws_policy.clone(),
        })
    }
}

/// Where sockets have their sessions.
struct Sessions {
    plain: Pool<WsSession>,
    centrifuge: Pool<CentrifugeSession>,
}

/// How actors reach each other.
#[derive(Clone)]
struct Groups {
    leases: Group<LeaseKeeperMessage>,
    hubs: Group<StreamHubMessage>,
    writers: Group<RedisWriterMessage>,
    consumers: Group<KafkaConsumerMessage>,
    producer: Group<KafkaProducerMessage>,
    ingest: Group<MqttIngestMessage>,
}

impl Groups {
    fn of(catalog: &mut Catalog) -> Self {
        Self {
            leases: catalog.group(names::LEASES),
            hubs: catalog.group(names::HUB),
            writers: catalog.group(names::WRITER),
            consumers: catalog.group(names::CONSUMER),
            producer: catalog.group(names::PRODUCER),
            ingest: catalog.group(names::INGEST),
        }
    }
}

fn pairing_rule(stream: &Stream) -> PairingRule {
    PairingRule {
        pairing: match stream.pairing {
            PairingMode::Latest => Pairing::Latest,
            PairingMode::Timestamp => Pairing::Timestamp,
        },
        grace_ms: i64::try_from(stream.pairing_grace.as_millis()).unwrap_or(i64::MAX),
        pending_max: stream.pairing_pending_max,
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn count_instances(catalog: &mut Catalog, config: &Config, partitions: u32) {
    let brokers = u32::from(config.has_broker());
    // Groups know their instances by partition: a second child of a name would be numbered on.
    let catalog = catalog.each_start_once();
    traces::count_instances(catalog, config);
    catalog.instances(names::PER_PARTITION, partitions).instances(names::EMBEDDED_BROKER, brokers);
}

/// What supervision.toml may name, without anything to start: for `orinoco check`.
#[must_use]
pub fn catalog_of_names(config: &Config) -> Catalog {
    fn nothing<T>(_: u32) -> T {
        unreachable!("this catalog starts nothing")
    }
    let mut catalog = Catalog::new();
    count_instances(&mut catalog, config, config.kafka.partitions);
    catalog.actor(names::LEASES, || LeaseKeeper, nothing);
    catalog.actor(names::HUB, || StreamHub, nothing);
    catalog.actor(names::WRITER, || RedisWriter, nothing);
    catalog.actor(names::CONSUMER, || KafkaConsumer, nothing);
    catalog.actor(names::PRODUCER, || KafkaProducer, nothing);
    catalog.actor(names::INGEST, || MqttIngest, nothing);
    catalog.actor(traces::EXPORTER, || TraceExporter, nothing);
    for listener in [names::CONTROL, names::HTTP, names::WS, names::BROKER] {
        catalog.actor(listener, || Listener, nothing);
    }
    catalog.pool(names::WS_SESSION, || WsSession);
    catalog.pool(names::CENTRIFUGE_SESSION, || CentrifugeSession);
    login::enter_names(&mut catalog);
    catalog
}
