//! A device: an MQTT client (Eclipse Paho) that publishes at QoS 1.

use std::time::Duration;

use orinoco_testkit::unique_name;
use paho_mqtt::{AsyncClient, ConnectOptionsBuilder, CreateOptionsBuilder, DeliveryToken, Message, PersistenceType};
use tokio::sync::watch;

use super::within;

pub(crate) struct Device {
    client: AsyncClient,
    lost: watch::Receiver<bool>,
}

impl Device {
    /// Connects, v3.1.1, with a session that ends with the connection: nothing is sent again unless the test does.
    pub(crate) async fn connect(url: &str) -> Result<Self, String> {
        let options = CreateOptionsBuilder::new()
            .server_uri(url)
            .client_id(unique_name("device"))
            .persistence(PersistenceType::None)
            .finalize();
        let client = AsyncClient::new(options).map_err(|error| error.to_string())?;
        let (lost_sender, lost) = watch::channel(false);
        client.set_connection_lost_callback(move |_| {
            lost_sender.send_replace(true);
        });
        let options = ConnectOptionsBuilder::new_v3()
            .clean_session(true)
            .keep_alive_interval(Duration::from_secs(30))
            .connect_timeout(Duration::from_secs(5))
            .finalize();
        client.connect(options).await.map_err(|error| error.to_string())?;
        Ok(Self { client, lost })
    }

    /// Publishes and waits for the PUBACK.
    pub(crate) async fn publish(&self, topic: &str, payload: impl Into<Vec<u8>>) {
        let mut lost = self.lost.clone();
        let token = self.send(topic, payload);
        let acknowledged = within("a PUBACK", async {
            tokio::select! {
                biased;
                acknowledged = token => acknowledged.map_err(|error| error.to_string()),
                _ = lost.wait_for(|lost| *lost) => Err("the connection was lost".to_owned()),
            }
        });
        acknowledged.await.unwrap();
    }

    /// Publishes both axes of a device of that name.
    pub(crate) async fn move_to(&self, device: &str, x: f64, y: f64) {
        self.publish(&format!("devices/{device}/coordX"), x.to_string()).await;
        self.publish(&format!("devices/{device}/coordY"), y.to_string()).await;
    }

    /// Publishes; the token is for the PUBACK.
    pub(crate) fn send(&self, topic: &str, payload: impl Into<Vec<u8>>) -> DeliveryToken {
        self.client.publish(Message::new(topic, payload, 1))
    }

    /// Waits until the connection is lost.
    pub(crate) async fn lost(&mut self) {
        // An error says that the client is gone.
        let _ = self.lost.wait_for(|lost| *lost).await;
    }
}
