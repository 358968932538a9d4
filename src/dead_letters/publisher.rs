//! Publishes payloads as a device would: MQTT 5.0, QoS 1, one at a time.
//!
//! The client is never destroyed. The C library may still refer to one whose connection failed, and stops its threads with the last one,
//! which races with the next that is made; either corrupts the heap. A command makes one client and ends; the daemon keeps its client
//! as long as its connection lasts, so that what stays behind is one client a connection that broke.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use paho_mqtt::{
    AsyncClient, ConnectOptions, ConnectOptionsBuilder, CreateOptionsBuilder, Message, PersistenceType, QOS_1,
    SslOptions,
};
use tokio::{sync::Mutex, time::timeout};

use crate::{config::Config, mqtt_tls, wiring};

const CONNECT_MAX: Duration = Duration::from_secs(5);
const PUBACK_MAX: Duration = Duration::from_secs(10);

/// Whither payloads go.
#[async_trait]
pub trait Publish: Send + Sync {
    /// Returns when the broker has taken it over (PUBACK).
    ///
    /// # Errors
    /// It may or may not have been taken.
    async fn publish(&self, topic: &str, payload: Vec<u8>) -> anyhow::Result<()>;
}

/// A connection to the broker that devices publish to.
pub(crate) struct Publisher {
    client: ManuallyDrop<AsyncClient>,
    url: String,
}

impl Publisher {
    /// # Errors
    /// The broker can't be reached, or refused us.
    pub(crate) async fn connect(config: &Config) -> anyhow::Result<Self> {
        let url = config.mqtt_url();
        // An empty client id: the broker gives one, so that nobody is thrown out.
        let options = CreateOptionsBuilder::new()
            .server_uri(url.replacen("mqtt://", "tcp://", 1))
            .client_id("")
            .persistence(PersistenceType::None)
            .finalize();
        let client = ManuallyDrop::new(AsyncClient::new(options).context("the MQTT client can't be made")?);
        let tls = wiring::mqtt_tls(config);
        let options = connect_options(config, mqtt_tls::ssl_options(&url, &tls)?);
        let place = || format!("MQTT broker {url} (mqtt.url) can't be reached; is it running, or `orinoco serve`?");
        mqtt_tls::connect(&client, options, CONNECT_MAX * 2, (&url, &tls)).await.with_context(place)?;
        Ok(Self { client, url })
    }

    /// Ends the connection in order.
    pub(crate) async fn disconnect(self) {
        // Everything was acknowledged; how the connection ends matters to nobody.
        let _ = timeout(CONNECT_MAX, self.client.disconnect(None)).await;
    }
}

/// Made apart: the builder can't cross an await.
fn connect_options(config: &Config, ssl: Option<SslOptions>) -> ConnectOptions {
    let mut connect = ConnectOptionsBuilder::new_v5();
    connect.clean_start(true).connect_timeout(CONNECT_MAX);
    if let Some(ssl) = ssl {
        connect.ssl_options(ssl);
    }
    if let Some(username) = &config.mqtt.username {
        connect.user_name(username);
    }
    if let Some(password) = &config.mqtt.password {
        connect.password(password.expose());
    }
    connect.finalize()
}

#[async_trait]
impl Publish for Publisher {
    async fn publish(&self, topic: &str, payload: Vec<u8>) -> anyhow::Result<()> {
        let sent = timeout(PUBACK_MAX, self.client.publish(Message::new(topic, payload, QOS_1))).await;
        match sent {
            Ok(outcome) => outcome.with_context(|| format!("MQTT broker {} did not take it", self.url)),
            Err(_) => bail!("MQTT broker {} sent no PUBACK within {} s", self.url, PUBACK_MAX.as_secs()),
        }
    }
}

/// A [`Publisher`] that connects when it is first needed, and again after its connection has ended.
pub struct KeptPublisher {
    config: Arc<Config>,
    connected: Mutex<Option<Publisher>>,
}

impl KeptPublisher {
    #[must_use]
    pub fn new(config: Arc<Config>) -> Self {
        Self { config, connected: Mutex::new(None) }
    }
}

#[async_trait]
impl Publish for KeptPublisher {
    async fn publish(&self, topic: &str, payload: Vec<u8>) -> anyhow::Result<()> {
        let mut connected = self.connected.lock().await;
        let publisher = match connected.take().filter(|publisher| publisher.client.is_connected()) {
            Some(publisher) => publisher,
            None => Publisher::connect(&self.config).await?,
        };
        publisher.publish(topic, payload).await?;
        // One that failed, or whose caller went away, is not used again.
        *connected = Some(publisher);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::ffi::OsString;
    use std::path::Path;

    use orinoco_testkit::{Mosquitto, free_port, unique_name};

    use super::*;
    use crate::config::{Flags, load_from};

    fn config(url: &str) -> Config {
        let environment = [("ORINOCO__MQTT__URL", url), ("ORINOCO__MODE", "services")];
        let environment = environment.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        load_from(&Flags::default(), environment, Path::new("no/such/file")).unwrap().config
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_payload_reaches_a_real_broker_as_it_is() {
        let broker = Mosquitto::shared().await.unwrap();
        let topic = unique_name("replayed");
        let options = CreateOptionsBuilder::new()
            .server_uri(broker.url().replacen("mqtt://", "tcp://", 1))
            .client_id("")
            .persistence(PersistenceType::None)
            .finalize();
        let mut subscriber = ManuallyDrop::new(AsyncClient::new(options).unwrap());
        let messages = subscriber.get_stream(8);
        subscriber.connect(ConnectOptionsBuilder::new_v5().clean_start(true).finalize()).await.unwrap();
        subscriber.subscribe(&topic, QOS_1).await.unwrap();
        let publisher = Publisher::connect(&config(broker.url())).await.unwrap();
        let payload: Vec<u8> = (0..=255).collect();
        publisher.publish(&topic, payload.clone()).await.unwrap();
        let message = timeout(PUBACK_MAX, messages.recv()).await.unwrap().unwrap().unwrap();
        assert_eq!(
            (message.topic(), message.payload(), message.qos()),
            (topic.as_str(), payload.as_slice(), paho_mqtt::QoS::AtLeastOnce)
        );
        publisher.disconnect().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_connection_does_for_many_payloads() {
        let broker = Mosquitto::shared().await.unwrap();
        let kept = KeptPublisher::new(Arc::new(config(broker.url())));
        for number in 0..3 {
            kept.publish(&unique_name("kept"), vec![number]).await.unwrap();
            assert!(kept.connected.lock().await.as_ref().unwrap().client.is_connected());
        }
    }

    #[tokio::test]
    async fn a_broker_that_is_away_is_named() {
        let url = format!("mqtt://127.0.0.1:{}", free_port().unwrap());
        let error = Publisher::connect(&config(&url)).await.err().unwrap().to_string();
        assert!(error.contains(&url) && error.contains("mqtt.url"), "{error}");
    }
}
