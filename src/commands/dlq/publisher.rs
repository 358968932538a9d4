//! Publishes payloads as a device would: MQTT 5.0, QoS 1, one at a time.

use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use paho_mqtt::{AsyncClient, ConnectOptionsBuilder, CreateOptionsBuilder, Message, PersistenceType, QOS_1};
use tokio::time::timeout;

use crate::config::Config;

const CONNECT_MAX: Duration = Duration::from_secs(5);
const PUBACK_MAX: Duration = Duration::from_secs(10);

/// Whither payloads go.
#[async_trait]
pub(super) trait Publish: Send + Sync {
    /// Returns when the broker has taken it over (PUBACK).
    ///
    /// # Errors
    /// It may or may not have been taken.
    async fn publish(&self, topic: &str, payload: Vec<u8>) -> anyhow::Result<()>;
}

/// A connection to the broker that devices publish to.
pub(super) struct Publisher {
    client: AsyncClient,
    url: String,
}

impl Publisher {
    /// # Errors
    /// The broker can't be reached, or refused us.
    pub(super) async fn connect(config: &Config) -> anyhow::Result<Self> {
        let url = config.mqtt_url();
        // An empty client id: the broker gives one, so that nobody is thrown out.
        let options = CreateOptionsBuilder::new()
            .server_uri(url.replacen("mqtt://", "tcp://", 1))
            .client_id("")
            .persistence(PersistenceType::None)
            .finalize();
        let client = AsyncClient::new(options).context("the MQTT client can't be made")?;
        let mut connect = ConnectOptionsBuilder::new_v5();
        connect.clean_start(true).connect_timeout(CONNECT_MAX);
        if let Some(username) = &config.mqtt.username {
            connect.user_name(username);
        }
        if let Some(password) = &config.mqtt.password {
            connect.password(password.expose());
        }
        let place = || format!("MQTT broker {url} (mqtt.url) can't be reached; is it running, or `orinoco serve`?");
        timeout(CONNECT_MAX * 2, client.connect(connect.finalize())).await.with_context(place)?.with_context(place)?;
        Ok(Self { client, url })
    }

    /// Ends the connection in order.
    pub(super) async fn disconnect(self) {
        // Everything was acknowledged; how the connection ends matters to nobody.
        let _ = timeout(CONNECT_MAX, self.client.disconnect(None)).await;
    }
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
