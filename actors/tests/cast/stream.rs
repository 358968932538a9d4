//! The wiring of `stream` for tests: each of its actors with the adapters that it is given, as in the daemon.

use std::{sync::Arc, time::Duration};

use orinoco_actors::{
    Audience, DeviceCensus, Health, KafkaConsumer, KafkaConsumerArguments, KafkaConsumerMessage, KafkaProducer,
    KafkaProducerArguments, KafkaProducerMessage, Lags, LeaseKeeper, LeaseKeeperArguments, LeaseKeeperMessage,
    MqttIngest, MqttIngestArguments, MqttIngestMessage, RedisWriter, RedisWriterArguments, RedisWriterMessage,
    StreamHub, StreamHubArguments, Tenure, Tracer,
};
use orinoco_domain::{
    TopicFilters,
    pairing::{Pairing, PairingRule},
};
use orinoco_ports::{Clock, CoordinateStore, Journal, Leases, MqttSource, RecordLog};
use orinoco_supervision::{Catalog, Group};

/// That of the model of the log.
pub(crate) const PARTITIONS: u32 = 2;
const LEASE_TIME_TO_LIVE: Duration = Duration::from_secs(3);

/// The adapters.
pub(crate) struct Stream {
    pub(crate) leases: Arc<dyn Leases>,
    pub(crate) store: Arc<dyn CoordinateStore>,
    pub(crate) log: Arc<dyn RecordLog>,
    pub(crate) source: Arc<dyn MqttSource>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) health: Health,
    pub(crate) pairing: Pairing,
}

/// What the actors share.
#[derive(Clone)]
struct Cast {
    stream: Arc<Stream>,
    keepers: Group<LeaseKeeperMessage>,
    writers: Group<RedisWriterMessage>,
    consumers: Group<KafkaConsumerMessage>,
    producer: Group<KafkaProducerMessage>,
    ingest: Group<MqttIngestMessage>,
    tenure: Tenure,
    census: DeviceCensus,
}

impl Stream {
    pub(crate) fn enter(self, catalog: &mut Catalog) {
        catalog.instances("per_partition", PARTITIONS);
        let cast = Cast {
            stream: Arc::new(self),
            keepers: catalog.group("LeaseKeeper"),
            writers: catalog.group("RedisWriter"),
            consumers: catalog.group("KafkaConsumer"),
            producer: catalog.group("KafkaProducer"),
            ingest: catalog.group("MqttIngest"),
            tenure: Tenure::new(LEASE_TIME_TO_LIVE),
            census: DeviceCensus::new(10_000),
        };
        let given = cast.clone();
        catalog.actor("LeaseKeeper", || LeaseKeeper, move |_| given.of_keeper());
        let audiences: Vec<Arc<Audience>> = (0..PARTITIONS).map(|_| Arc::default()).collect();
        let given = cast.clone();
        catalog.actor(
            "StreamHub",
            || StreamHub,
            move |partition| given.of_hub(Arc::clone(&audiences[partition as usize])),
        );
        let given = cast.clone();
        catalog.actor("RedisWriter", || RedisWriter, move |_| given.of_writer());
        let given = cast.clone();
        catalog.actor("KafkaConsumer", || KafkaConsumer, move |_| given.of_consumer());
        let given = cast.clone();
        catalog.actor("KafkaProducer", || KafkaProducer, move |_| given.of_producer());
        catalog.actor("MqttIngest", || MqttIngest, move |_| cast.of_ingest());
    }
}

impl Cast {
    fn of_keeper(&self) -> LeaseKeeperArguments {
        LeaseKeeperArguments {
            leases: Arc::clone(&self.stream.leases),
            partitions: PARTITIONS,
            takes_ingest: true,
            takes_partitions: true,
            tenure: self.tenure.clone(),
            consumers: self.consumers.clone(),
            ingest: self.ingest.clone(),
            health: self.stream.health.clone(),
        }
    }

    fn of_hub(&self, audience: Arc<Audience>) -> StreamHubArguments {
        StreamHubArguments { store: Arc::clone(&self.stream.store), audience, health: self.stream.health.clone() }
    }

    fn of_writer(&self) -> RedisWriterArguments {
        RedisWriterArguments {
            store: Arc::clone(&self.stream.store),
            rule: PairingRule { pairing: self.stream.pairing, grace_ms: 200, pending_max: 64 },
            history_max: 10_000,
            census: self.census.clone(),
            clock: Arc::clone(&self.stream.clock),
            health: self.stream.health.clone(),
            consumers: self.consumers.clone(),
            tracer: Tracer::default(),
        }
    }

    fn of_consumer(&self) -> KafkaConsumerArguments {
        KafkaConsumerArguments {
            log: Arc::clone(&self.stream.log),
            writers: self.writers.clone(),
            producer: self.producer.clone(),
            leases: self.keepers.clone(),
            partitions: PARTITIONS,
            on_data_loss: Default::default(),
            census: self.census.clone(),
            clock: Arc::clone(&self.stream.clock),
            health: self.stream.health.clone(),
            lags: Lags::default(),
            tracer: Tracer::default(),
        }
    }

    fn of_producer(&self) -> KafkaProducerArguments {
        KafkaProducerArguments {
            log: Arc::clone(&self.stream.log),
            ingest: self.ingest.clone(),
            partitions: PARTITIONS,
            clock: Arc::clone(&self.stream.clock),
            health: self.stream.health.clone(),
            tracer: Tracer::default(),
        }
    }

    fn of_ingest(&self) -> MqttIngestArguments {
        MqttIngestArguments {
            source: Arc::clone(&self.stream.source),
            journal: Arc::clone(&self.stream.journal),
            filters: TopicFilters::default(),
            partitions: PARTITIONS,
            receive_max: 100,
            producer: self.producer.clone(),
            leases: self.keepers.clone(),
            tenure: self.tenure.clone(),
            clock: Arc::clone(&self.stream.clock),
            health: self.stream.health.clone(),
            tracer: Tracer::default(),
        }
    }
}
