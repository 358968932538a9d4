//! How each backend is asked whether it is well.

use std::sync::Arc;

use futures_util::FutureExt as _;
use orinoco_ports::{CoordinateStore as _, Leases as _, LoginStore as _, RecordLog as _};
use orinoco_services::{KafkaLog, PahoSource, PostgresLeases, PostgresLeasesOptions, RedisLoginStore, RedisStore};

use super::{accounts, adapters, tls};
use crate::{
    commands::doctor::Probe,
    config::{Backend, Config},
};

/// One probe a real backend of the configuration; embedded ones are files, which `doctor` looks at itself.
///
/// # Errors
/// A URL that no client understands.
pub fn probes(config: &Config) -> anyhow::Result<Vec<Probe>> {
    let mut probes = Vec::new();
    if config.parts.ingest && config.mqtt.backend == Backend::Service {
        let source = Arc::new(PahoSource::new(adapters::paho_options(config))?);
        probes.push(probe("mqtt", config.mqtt_url(), move || {
            let source = Arc::clone(&source);
            async move { source.probe().await.map_err(|error| error.to_string()) }.boxed()
        }));
    }
    if config.kafka.backend == Backend::Service {
        let log = Arc::new(KafkaLog::new(adapters::kafka_options(config)));
        let place = config.kafka.brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        probes.push(probe("kafka", place, move || {
            let log = Arc::clone(&log);
            async move { log.probe().await.map_err(|error| error.to_string()) }.boxed()
        }));
    }
    if config.redis_ws.backend == Backend::Service {
        let store = Arc::new(RedisStore::new(&adapters::redis_options(config))?);
        probes.push(probe("redis_ws", config.redis_ws.url.to_string(), move || {
            let store = Arc::clone(&store);
            async move { store.probe().await.map_err(|error| error.to_string()) }.boxed()
        }));
    }
    if config.redis_qr.backend == Backend::Service {
        let logins = Arc::new(RedisLoginStore::new(&accounts::redis_options(config))?);
        probes.push(probe("redis_qr", config.redis_qr.url.to_string(), move || {
            let logins = Arc::clone(&logins);
            async move { logins.probe().await.map_err(|error| error.to_string()) }.boxed()
        }));
    }
    if config.postgres.backend == Backend::Service {
        let options = PostgresLeasesOptions::new(tls::postgres_access(config), "doctor");
        let leases = Arc::new(PostgresLeases::new(&options)?);
        probes.push(probe("postgres", config.postgres.url.to_string(), move || {
            let leases = Arc::clone(&leases);
            async move { leases.probe().await.map_err(|error| error.to_string()) }.boxed()
        }));
    }
    Ok(probes)
}

fn probe(
    name: &'static str,
    place: String,
    ask: impl Fn() -> futures_util::future::BoxFuture<'static, Result<orinoco_ports::BackendInfo, String>>
    + Send
    + Sync
    + 'static,
) -> Probe {
    Probe { name, place, ask: Box::new(ask) }
}
