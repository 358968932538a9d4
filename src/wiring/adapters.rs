//! Which adapter each port gets.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use async_trait::async_trait;
use orinoco_embedded::{
    broker::{self, BrokerOptions, EmbeddedBroker, TlsOptions},
    data_dir::DataDir,
    journal::{Durability, FileJournal, JournalOptions},
    leases::LocalLeases,
    log::{FileLog, FileLogOptions},
    store::{SqliteStore, SqliteStoreOptions},
};
use orinoco_ports::{Accounts, CoordinateStore, Journal, Leases, LogError, LoginStore, MqttSource, RecordLog};
use orinoco_services::{
    KafkaLog, KafkaLogOptions, PahoSource, PahoSourceOptions, PostgresLeases, PostgresLeasesOptions, RedisStore,
    RedisStoreOptions, SchemaError,
};

use super::{accounts, read_only_log::ReadOnlyLog, tls};
use crate::{
    auth::DeviceAccess,
    config::{Anonymous, Backend, Config, JournalMode},
    dead_letters::{KeptPublisher, Publish},
    tls::TlsListeners,
};

/// The outside of one daemon. Must be made inside the runtime.
pub struct Adapters {
    pub journal: Arc<dyn Journal>,
    pub source: Arc<dyn MqttSource>,
    /// The broker inside the process; it binds nothing unless its listener is in the tree.
    pub broker: Arc<EmbeddedBroker>,
    /// Sends what devices sent once more.
    pub publisher: Arc<dyn Publish>,
    /// Who may publish there.
    pub devices: DeviceAccess,
    pub log: Arc<dyn RecordLog>,
    pub store: Arc<dyn CoordinateStore>,
    pub leases: Arc<dyn Leases>,
    pub accounts: Arc<dyn Accounts>,
    /// Challenges and logins.
    pub logins: Arc<dyn LoginStore>,
    /// Partitions of the topics, as far as is known.
    pub partitions: Partitions,
    /// Held until the end: the lock.
    _data_dir: DataDir,
}

/// The embedded broker, of which nobody has to be let in.
struct Inside(Arc<EmbeddedBroker>);

#[async_trait]
impl Publish for Inside {
    async fn publish(&self, topic: &str, payload: Vec<u8>) -> anyhow::Result<()> {
        Ok(self.0.take(topic, &payload).await?)
    }
}

/// How many partitions the tree is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partitions {
    /// The log said so.
    Known(u32),
    /// The log is away: as many as at the last start, or as configured. To be compared once it is back.
    Assumed(u32),
}

impl Partitions {
    #[must_use]
    pub fn count(self) -> u32 {
        match self {
            Self::Known(count) | Self::Assumed(count) => count,
        }
    }
}

impl Adapters {
    /// Locks the data directory and opens what is in files; servers are reached later, by their actors.
    ///
    /// # Errors
    /// What can't mend itself: the directory, a damaged file, a schema or topics that do not fit.
    pub async fn open(config: &Config, tls: &TlsListeners) -> anyhow::Result<Self> {
        let data_dir = DataDir::open(config.data_dir())?;
        let durability = durability(config);
        let journal = FileJournal::open(
            &data_dir.journal(),
            JournalOptions { durability, bytes_max: config.journal.bytes_max, ..JournalOptions::default() },
        )?;
        let log = open_log(config, &data_dir)?;
        let partitions = partitions(config, &*log, data_dir.path()).await?;
        let leases = open_leases(config, &data_dir, journal.id()).await?;
        let accounts = accounts::accounts(config)?;
        let devices = DeviceAccess::new(Arc::clone(&accounts), config.topic_filters())?;
        let broker = EmbeddedBroker::new(broker_options(config, &devices, tls));
        let source: Arc<dyn MqttSource> = match config.mqtt.backend {
            Backend::Embedded => Arc::clone(&broker) as _,
            Backend::Service => Arc::new(PahoSource::new(paho_options(config))?),
        };
        let publisher: Arc<dyn Publish> = match config.mqtt.backend {
            Backend::Embedded => Arc::new(Inside(Arc::clone(&broker))),
            Backend::Service => Arc::new(KeptPublisher::new(Arc::new(config.clone()))),
        };
        let store: Arc<dyn CoordinateStore> = match config.redis_ws.backend {
            Backend::Embedded => {
                let options = SqliteStoreOptions::default();
                Arc::new(SqliteStore::open(&data_dir.coordinates(), options)?)
            }
            Backend::Service => Arc::new(RedisStore::new(&redis_options(config))?),
        };
        let journal = Arc::new(journal);
        let logins = accounts::logins(config, &data_dir)?;
        Ok(Self {
            journal,
            source,
            broker,
            publisher,
            devices,
            log,
            store,
            leases,
            accounts,
            logins,
            partitions,
            _data_dir: data_dir,
        })
    }
}

fn durability(config: &Config) -> Durability {
    match config.journal.mode {
        JournalMode::Process => Durability::Process,
        JournalMode::Power => Durability::Power,
    }
}

fn open_log(config: &Config, data_dir: &DataDir) -> anyhow::Result<Arc<dyn RecordLog>> {
    Ok(match config.kafka.backend {
        Backend::Embedded => Arc::new(FileLog::open(&data_dir.log(), file_log_options(config))?),
        Backend::Service => {
            if let Some(advice) = config.kafka.password_advice() {
                tracing::warn!("{advice}");
            }
            Arc::new(KafkaLog::new(kafka_options(config)))
        }
    })
}

/// The log, for a command beside a running daemon.
#[must_use]
pub fn dead_letters(config: &Config) -> Arc<dyn RecordLog> {
    match config.kafka.backend {
        Backend::Embedded => Arc::new(ReadOnlyLog::new(config.data_dir())),
        Backend::Service => Arc::new(KafkaLog::new(kafka_options(config))),
    }
}

async fn open_leases(config: &Config, data_dir: &DataDir, owner: &str) -> anyhow::Result<Arc<dyn Leases>> {
    if config.postgres.backend == Backend::Embedded {
        return Ok(Arc::new(LocalLeases::open(&data_dir.leases(), owner)?));
    }
    let access = tls::postgres_access(config);
    let schema = if config.postgres.migrate {
        orinoco_services::migrate(access.clone()).await.map(drop)
    } else {
        orinoco_services::check_schema(access.clone()).await
    };
    match schema {
        Ok(()) => {}
        // Away: a state of the lease keeper, which asks again.
        Err(error @ SchemaError::Unavailable { .. }) => tracing::warn!(%error, "schema not checked yet"),
        Err(error) => return Err(error.into()),
    }
    let mut options = PostgresLeasesOptions::new(access, owner);
    options.call_timeout = config.postgres.call_timeout;
    Ok(Arc::new(PostgresLeases::new(&options)?))
}

/// Name of the file that remembers the count.
const PARTITIONS_FILE: &str = "partitions";

async fn partitions(config: &Config, log: &dyn RecordLog, data_dir: &Path) -> anyhow::Result<Partitions> {
    let path = data_dir.join(PARTITIONS_FILE);
    match log.partitions().await {
        Ok(count) => {
            std::fs::write(&path, count.to_string()).with_context(|| format!("{}", path.display()))?;
            Ok(Partitions::Known(count))
        }
        Err(error @ LogError::Unavailable { .. }) => {
            let remembered = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
            let count = remembered.unwrap_or(config.kafka.partitions);
            tracing::warn!(%error, partitions = count, "going on with the count of before");
            Ok(Partitions::Assumed(count))
        }
        Err(error) => Err(error.into()),
    }
}

fn file_log_options(config: &Config) -> FileLogOptions {
    FileLogOptions {
        partitions: config.kafka.partitions,
        durability: durability(config),
        retention_bytes: config.log.retention_bytes,
        retention_ms: u64::try_from(config.log.retention.as_millis()).unwrap_or(u64::MAX),
        ..FileLogOptions::default()
    }
}

pub(super) fn kafka_options(config: &Config) -> KafkaLogOptions {
    let kafka = &config.kafka;
    let mut options = KafkaLogOptions::new(kafka.brokers.iter().map(ToString::to_string).collect());
    options.tls = kafka.tls.then(|| tls::options(config, "kafka"));
    options.sasl = tls::kafka_sasl(config);
    options.topic_prefix = kafka.topic_prefix.clone().unwrap_or_default();
    options.create_topics = kafka.create_topics;
    options.partitions = kafka.partitions;
    options.replication_factor = i16::try_from(kafka.replication_factor).unwrap_or(i16::MAX);
    options.call_timeout = kafka.call_timeout;
    options
}

pub(super) fn redis_options(config: &Config) -> RedisStoreOptions {
    let mut options = RedisStoreOptions::new(config.redis_ws.url.expose());
    options.tls = tls::options(config, "redis_ws");
    options.call_timeout = config.redis_ws.call_timeout;
    options.connections_max = config.redis_ws.pool_max;
    options
}

pub(super) fn paho_options(config: &Config) -> PahoSourceOptions {
    let (mqtt, subscriptions) = (&config.mqtt, config.subscriptions());
    let mut options = PahoSourceOptions::new(config.mqtt_url(), &mqtt.client_id, subscriptions.wanted);
    options.tls = tls::mqtt_tls(config);
    options.superseded = subscriptions.superseded;
    options.username = mqtt.username.clone();
    options.password = mqtt.password.as_ref().map(|password| password.expose().to_owned());
    options.session_expiry = mqtt.session_expiry;
    options.receive_maximum = mqtt.receive_max;
    options.keep_alive = mqtt.keep_alive;
    options.packet_size_max = mqtt.packet_size_max;
    options
}

fn broker_options(config: &Config, devices: &DeviceAccess, tls: &TlsListeners) -> BrokerOptions {
    let mqtt = &config.mqtt;
    BrokerOptions {
        listen: mqtt.listen.as_ref().map(ToString::to_string).unwrap_or_default(),
        tls: mqtt
            .tls_listen
            .as_ref()
            .zip(tls.mqtt.clone())
            .map(|(listen, encryption)| TlsOptions { listen: listen.to_string(), encryption }),
        anonymous: match mqtt.anonymous {
            Anonymous::Loopback => broker::Anonymous::Loopback,
            Anonymous::Everywhere => broker::Anonymous::Everywhere,
            Anonymous::Nowhere => broker::Anonymous::Nowhere,
        },
        authenticator: Some(Arc::new(devices.clone())),
        packet_size_max: mqtt.packet_size_max,
        sessions_max: mqtt.sessions_max,
        inflight_max: mqtt.receive_max,
        ..BrokerOptions::default()
    }
}
