//! The suites that every adapter of a port must pass.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use orinoco_domain::Axis;
use orinoco_ports::{
    Accounts, CoordinateStore, InboundMessage, Intake, Leases, LoginStore, MqttSource, RecordLog, Refused,
    conformance::{
        accounts::AccountsFactory,
        leases::LeasesFactory,
        log::LogFactory,
        login::LoginStoreFactory,
        mqtt::{BrokerFactory, MqttFactory, Publisher},
        store::StoreFactory,
    },
};
use orinoco_services::{
    KafkaLog, KafkaLogOptions, PahoSource, PahoSourceOptions, PostgresAccounts, PostgresAccountsOptions,
    PostgresLeases, PostgresLeasesOptions, RedisLoginStore, RedisLoginStoreOptions, RedisStore, RedisStoreOptions,
    TlsOptions, migrate,
};
use orinoco_testkit::{
    Database, Kafka, KafkaAddress, Mosquitto, Postgres, Redis, RedisDatabase, RedisKind, unique_name,
};
use rskafka::client::{ClientBuilder, partition::UnknownTopicHandling};

use crate::{authority::Authority, device::Device, tls::listener};

/// Where hundreds of calls wait for a few connections at once, on a machine that does much else.
const CROWD_TIMEOUT: Duration = Duration::from_secs(25);

/// A database of a shared Redis.
struct RedisStores {
    database: RedisDatabase,
    prefix: String,
}

impl RedisStores {
    async fn new() -> Self {
        let database = Redis::shared(RedisKind::Ws).await.unwrap().fresh_database().await.unwrap();
        Self { database, prefix: unique_name("orinoco") }
    }

    fn store(&self) -> Arc<dyn CoordinateStore> {
        let options = RedisStoreOptions { prefix: self.prefix.clone(), ..RedisStoreOptions::new(self.database.url()) };
        Arc::new(RedisStore::new(&options).unwrap())
    }
}

#[async_trait]
impl StoreFactory for RedisStores {
    async fn open(&self) -> Arc<dyn CoordinateStore> {
        self.store()
    }

    async fn open_as_after_kill(&self) -> Arc<dyn CoordinateStore> {
        self.store()
    }
}

mod redis {
    orinoco_ports::conformance_tests!(store, super::RedisStores::new().await);
}

/// A database of a shared Redis "QR".
struct LoginsInRedis {
    database: RedisDatabase,
    prefix: String,
}

impl LoginsInRedis {
    const FAMILIES_PER_USER_MAX: usize = 20;

    async fn new() -> Self {
        let database = Redis::shared(RedisKind::Qr).await.unwrap().fresh_database().await.unwrap();
        Self { database, prefix: unique_name("orinoco") }
    }

    fn store(&self) -> Arc<dyn LoginStore> {
        let options = RedisLoginStoreOptions {
            prefix: self.prefix.clone(),
            families_per_user_max: Self::FAMILIES_PER_USER_MAX,
            call_timeout: CROWD_TIMEOUT,
            ..RedisLoginStoreOptions::new(self.database.url())
        };
        Arc::new(RedisLoginStore::new(&options).unwrap())
    }
}

#[async_trait]
impl LoginStoreFactory for LoginsInRedis {
    async fn open(&self) -> Arc<dyn LoginStore> {
        self.store()
    }

    async fn open_as_after_kill(&self) -> Arc<dyn LoginStore> {
        self.store()
    }

    fn families_per_user_max(&self) -> usize {
        Self::FAMILIES_PER_USER_MAX
    }
}

mod redis_login {
    orinoco_ports::conformance_tests!(login, super::LoginsInRedis::new().await);
    orinoco_ports::conformance_tests!(shared_login, super::LoginsInRedis::new().await);
}

/// A database of a shared PostgreSQL.
struct AccountsInPostgres(Database);

impl AccountsInPostgres {
    async fn new() -> Self {
        let database = Postgres::shared().await.unwrap().fresh_database().await.unwrap();
        migrate(database.url()).await.unwrap();
        Self(database)
    }

    fn accounts(&self) -> Arc<dyn Accounts> {
        let options =
            PostgresAccountsOptions { call_timeout: CROWD_TIMEOUT, ..PostgresAccountsOptions::new(self.0.url()) };
        Arc::new(PostgresAccounts::new(&options).unwrap())
    }
}

#[async_trait]
impl AccountsFactory for AccountsInPostgres {
    async fn open(&self) -> Arc<dyn Accounts> {
        self.accounts()
    }

    async fn open_as_after_kill(&self) -> Arc<dyn Accounts> {
        self.accounts()
    }
}

mod postgres_accounts {
    orinoco_ports::conformance_tests!(accounts, super::AccountsInPostgres::new().await);
}

/// A database of a shared PostgreSQL.
struct LeasesInPostgres(Database);

impl LeasesInPostgres {
    async fn new() -> Self {
        let database = Postgres::shared().await.unwrap().fresh_database().await.unwrap();
        migrate(database.url()).await.unwrap();
        Self(database)
    }
}

#[async_trait]
impl LeasesFactory for LeasesInPostgres {
    async fn open(&self, owner: &str) -> Arc<dyn Leases> {
        let mut options = PostgresLeasesOptions::new(self.0.url(), owner);
        options.call_timeout = CROWD_TIMEOUT;
        Arc::new(PostgresLeases::new(&options).unwrap())
    }
}

mod postgres {
    orinoco_ports::conformance_tests!(leases, super::LeasesInPostgres::new().await);
    orinoco_ports::conformance_tests!(shared_leases, super::LeasesInPostgres::new().await);
}

/// Topics of a shared Kafka.
struct LogsInKafka {
    kafka: KafkaAddress,
    topic_prefix: String,
}

impl LogsInKafka {
    async fn new() -> Self {
        Self { kafka: Kafka::shared().await.unwrap(), topic_prefix: format!("{}-", unique_name("log")) }
    }

    async fn log(&self) -> Arc<dyn RecordLog> {
        let options = KafkaLogOptions::new(vec![self.kafka.brokers().to_owned()]);
        let log = KafkaLog::new(KafkaLogOptions { topic_prefix: self.topic_prefix.clone(), partitions: 2, ..options });
        assert_eq!(log.partitions().await.unwrap(), 2);
        Arc::new(log)
    }
}

#[async_trait]
impl LogFactory for LogsInKafka {
    async fn open(&self) -> Arc<dyn RecordLog> {
        self.log().await
    }

    async fn open_as_after_kill(&self) -> Arc<dyn RecordLog> {
        self.log().await
    }

    /// Retention as an administrator forces it: DeleteRecords up to the middle.
    async fn expire_oldest(&self, log: Arc<dyn RecordLog>, partition: u32) -> Arc<dyn RecordLog> {
        let client = ClientBuilder::new(vec![self.kafka.brokers().to_owned()]).build().await.unwrap();
        let (_, end) = log.bounds(partition).await.unwrap();
        for axis in Axis::BOTH {
            let topic = format!("{}{}", self.topic_prefix, axis.name());
            let number = i32::try_from(partition).unwrap();
            let client = client.partition_client(topic, number, UnknownTopicHandling::Error).await.unwrap();
            client.delete_records(end.of(axis) / 2, 10_000).await.unwrap();
        }
        log
    }
}

mod kafka {
    orinoco_ports::conformance_tests!(log, super::LogsInKafka::new().await);
}

struct Accepting;

#[async_trait]
impl Intake for Accepting {
    fn accept_blocking(&self, _message: InboundMessage<'_>) -> Result<(), Refused> {
        Ok(())
    }

    async fn accept(&self, _message: InboundMessage<'_>) -> Result<(), Refused> {
        Ok(())
    }
}

/// A mosquitto of one's own.
struct PahoOnMosquitto {
    broker: Mosquitto,
    url: String,
    tls: TlsOptions,
    _folder: tempfile::TempDir,
}

impl PahoOnMosquitto {
    async fn new() -> Self {
        let broker = Mosquitto::start().await.unwrap();
        let url = broker.url().to_owned();
        Self { broker, url, tls: TlsOptions::default(), _folder: tempfile::tempdir().unwrap() }.known().await
    }

    /// We go by TLS, devices don't.
    async fn with_tls() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path());
        let (lines, url) = listener(&authority, "localhost", false);
        let broker = Mosquitto::start_with(&lines).await.unwrap();
        let tls = TlsOptions { ca: Some(authority.ca_file().to_owned()), identity: None };
        Self { broker, url, tls, _folder: folder }.known().await
    }

    async fn known(self) -> Self {
        let broker = self;
        // What is published before a broker knows our session is none of ours.
        let intake = Arc::new(Accepting);
        broker.source().await.connect(intake).await.unwrap().disconnect().await;
        broker
    }
}

#[async_trait]
impl MqttFactory for PahoOnMosquitto {
    async fn source(&self) -> Arc<dyn MqttSource> {
        let filters = ["devices/+/coordX", "devices/+/coordY"].map(str::to_owned).to_vec();
        let mut options = PahoSourceOptions::new(&self.url, "orinoco", filters);
        options.tls = self.tls.clone();
        Arc::new(PahoSource::new(options).unwrap())
    }

    async fn publisher(&self) -> Box<dyn Publisher> {
        Box::new(Device::new(self.broker.address().host_and_port()))
    }
}

#[async_trait]
impl BrokerFactory for PahoOnMosquitto {
    async fn stop_broker(&self) {
        now(self.broker.stop()).unwrap();
    }

    async fn start_broker(&self) {
        now(self.broker.restart()).unwrap();
    }
}

/// The test kit's futures stay on their thread; the suite's may not ask for that.
fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

mod mqtt {
    orinoco_ports::conformance_tests!(mqtt, super::PahoOnMosquitto::new().await);
    orinoco_ports::conformance_tests!(mqtt_session, super::PahoOnMosquitto::new().await);
}

/// Refusals included: what was refused is not acknowledged over TLS either.
mod mqtt_over_tls {
    orinoco_ports::conformance_tests!(mqtt, super::PahoOnMosquitto::with_tls().await);
    orinoco_ports::conformance_tests!(mqtt_session, super::PahoOnMosquitto::with_tls().await);
}
