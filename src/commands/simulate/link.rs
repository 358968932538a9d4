//! One connection to the broker: MQTT 5.0, QoS 1, a bounded number in flight, and resumption when it breaks.
//!
//! What is unacknowledged when a connection breaks is sent again from here, in order, on a new client of paho's. No client is ever
//! freed, and one that has published is not connected again:
//! - Paho (C library 1.3.16) frees a QoS 1 message whose write fails and keeps a pointer to it for the next connection
//!   (`MQTTAsync_processCommand` on SOCKET_ERROR); connecting or destroying that client corrupts the heap. Left alone it is inert.
//! - A client whose connect fails may be let go last by paho's own thread, which then waits for a lock that it holds itself, and
//!   all clients of the process with it.
//!
//! That costs what was in flight, and a client, for each time that a connection breaks.

use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use orinoco_services::TlsOptions;
use paho_mqtt::{
    AsyncClient, ConnectOptions, ConnectOptionsBuilder, CreateOptionsBuilder, DeliveryToken, Message, MqttVersion,
    PersistenceType, Properties, PropertyCode, QOS_1,
};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::fleet::Tally;
use super::plan::Planned;
use crate::mqtt_tls;

const CONNECT_MAX: Duration = Duration::from_secs(5);
const DISCONNECT_MAX: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How long the broker keeps a session without a connection.
const SESSION_EXPIRY_S: u32 = 120;
/// More than are ever in flight.
const BUFFERED_MAX: i32 = 10_000;
/// Between two attempts to connect again: doubled each time.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(100);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(2);
/// Without an acknowledgement for so long, though some are due, the connection counts as broken.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// And for so long, over however many connections, it gives up.
const STALLED_MAX: Duration = Duration::from_secs(60);

/// Where to connect, and as whom.
#[derive(Debug, Clone)]
pub(super) struct Broker {
    pub(super) url: String,
    /// For `mqtts://`.
    pub(super) tls: TlsOptions,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
}

/// A message without its acknowledgement.
struct InFlight {
    topic: String,
    payload: Vec<u8>,
    /// None: the connection has to be resumed first, which sends it.
    token: Option<DeliveryToken>,
}

/// Never freed: see above.
type Client = ManuallyDrop<AsyncClient>;

pub(super) struct Link {
    broker: Broker,
    client_id: String,
    client: Client,
    /// Tried to connect, and has not published yet.
    next: Option<Client>,
    broken: Arc<Notify>,
    in_flight: VecDeque<InFlight>,
    in_flight_max: usize,
    /// The last acknowledgement, or when there was nothing to wait for.
    progress: Instant,
    /// The same, or when the connection was resumed.
    heard: Instant,
    tally: Arc<Tally>,
}

impl Link {
    /// # Errors
    /// The broker can't be reached or refused us.
    pub(super) async fn connect(
        broker: &Broker,
        number: usize,
        in_flight_max: usize,
        tally: Arc<Tally>,
    ) -> anyhow::Result<Self> {
        let started = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros();
        let client_id = format!("simulate-{started:x}-{number}");
        let broken = Arc::new(Notify::new());
        let client = client(broker, &client_id, &broken)?;
        connect(&client, broker, in_flight_max).await.with_context(|| {
            format!("MQTT broker {} can't be reached; is it running, or `orinoco serve`? (--url, mqtt.url)", broker.url)
        })?;
        let now = Instant::now();
        Ok(Self {
            broker: broker.clone(),
            client_id,
            client,
            next: None,
            broken,
            in_flight: VecDeque::with_capacity(in_flight_max),
            in_flight_max,
            progress: now,
            heard: now,
            tally,
        })
    }

    /// Publishes until the queue is closed and everything is acknowledged.
    ///
    /// # Errors
    /// The broker refused a message, or there was no progress for `STALLED_MAX`.
    pub(super) async fn deliver(mut self, mut messages: mpsc::Receiver<Planned>) -> anyhow::Result<()> {
        let mut is_open = true;
        while is_open || !self.in_flight.is_empty() {
            if self.in_flight.is_empty() {
                self.note_progress();
            }
            let has_room = self.in_flight.len() < self.in_flight_max;
            let broken = Arc::clone(&self.broken);
            let is_waiting = !self.in_flight.is_empty();
            let silent_at = self.heard + SILENCE_MAX;
            let front = self.in_flight.front_mut().and_then(|first| first.token.as_mut());
            tokio::select! {
                biased;
                () = broken.notified() => if !self.client.is_connected() { self.resume().await? },
                acknowledged = wait(front) => self.settle(acknowledged).await?,
                message = messages.recv(), if is_open && has_room => match message {
                    Some(message) => self.publish(message).await?,
                    None => is_open = false,
                },
                () = sleep_until(silent_at), if is_waiting => self.resume().await?,
            }
        }
        // Everything is acknowledged; how the connection ends matters to nobody.
        let _ = timeout(DISCONNECT_MAX, self.client.disconnect(None)).await;
        Ok(())
    }

    fn note_progress(&mut self) {
        self.progress = Instant::now();
        self.heard = self.progress;
    }

    async fn publish(&mut self, message: Planned) -> anyhow::Result<()> {
        self.tally.count_sent();
        let token = self.client.try_publish(Message::new(message.topic(), &*message.payload, QOS_1)).ok();
        let is_out = token.is_some();
        self.in_flight.push_back(InFlight { topic: message.topic(), payload: message.payload, token });
        if is_out { Ok(()) } else { self.resume().await }
    }

    /// The first message's outcome. PUBACKs come in the order of the PUBLISHes (section 4.6), so the first is the next.
    async fn settle(&mut self, outcome: paho_mqtt::Result<()>) -> anyhow::Result<()> {
        match outcome {
            Ok(()) => {
                self.in_flight.pop_front();
                self.tally.count_acknowledged();
                self.note_progress();
                Ok(())
            }
            Err(paho_mqtt::Error::ReasonCode(code, _)) => {
                let topic = self.in_flight.front().map(|first| first.topic.as_str()).unwrap_or_default();
                bail!("MQTT broker {} refused a message on {topic}: {code}", self.broker.url)
            }
            Err(_) => self.resume().await,
        }
    }

    /// Connects again, and sends everything in flight again, in order.
    async fn resume(&mut self) -> anyhow::Result<()> {
        let mut retry_after = RETRY_AFTER_MIN;
        let mut last_error = None;
        loop {
            if self.progress.elapsed() > STALLED_MAX {
                let (due, seconds) = (self.in_flight.len(), STALLED_MAX.as_secs());
                let reason = last_error.unwrap_or_else(|| anyhow::anyhow!("connections break before a PUBACK"));
                bail!("MQTT broker {}: no PUBACK for {seconds} s, {due} messages are due: {reason:#}", self.broker.url);
            }
            sleep(retry_after).await;
            match self.try_resume().await {
                Ok(()) => break,
                Err(error) => last_error = Some(error),
            }
            retry_after = RETRY_AFTER_MAX.min(retry_after * 2);
        }
        self.heard = Instant::now();
        self.tally.count_reconnection();
        Ok(())
    }

    async fn try_resume(&mut self) -> anyhow::Result<()> {
        let next = match &mut self.next {
            Some(next) => next,
            None => self.next.insert(client(&self.broker, &self.client_id, &self.broken)?),
        };
        connect(next, &self.broker, self.in_flight_max).await?;
        if let Some(next) = self.next.take() {
            self.client = next;
        }
        for message in &mut self.in_flight {
            let again = Message::new(message.topic.as_str(), message.payload.as_slice(), QOS_1);
            message.token = Some(self.client.try_publish(again)?);
        }
        Ok(())
    }
}

/// The outcome of a message on its way; for ever if there is none.
async fn wait(token: Option<&mut DeliveryToken>) -> paho_mqtt::Result<()> {
    match token {
        Some(token) => token.await,
        None => std::future::pending().await,
    }
}

fn client(broker: &Broker, client_id: &str, broken: &Arc<Notify>) -> anyhow::Result<Client> {
    let options = CreateOptionsBuilder::new()
        .server_uri(broker.url.replacen("mqtt://", "tcp://", 1))
        .client_id(client_id)
        .mqtt_version(MqttVersion::V5)
        .persistence(PersistenceType::None)
        // Paho's default of 100 refuses a burst; what is in flight is bounded here.
        .max_buffered_messages(BUFFERED_MAX)
        .finalize();
    let client = ManuallyDrop::new(AsyncClient::new(options).context("the MQTT client can't be made")?);
    let (lost, ended) = (Arc::clone(broken), Arc::clone(broken));
    client.set_connection_lost_callback(move |_| lost.notify_one());
    client.set_disconnected_callback(move |_, _, _| ended.notify_one());
    Ok(client)
}

async fn connect(client: &AsyncClient, broker: &Broker, in_flight_max: usize) -> anyhow::Result<()> {
    let options = connect_options(broker, in_flight_max)?;
    mqtt_tls::connect(client, options, 2 * CONNECT_MAX, (&broker.url, &broker.tls)).await
}

fn connect_options(broker: &Broker, in_flight_max: usize) -> anyhow::Result<ConnectOptions> {
    // Not zero: paho would free what is in flight, and trip over the same pointers.
    let mut properties = Properties::new();
    properties.push_u32(PropertyCode::SessionExpiryInterval, SESSION_EXPIRY_S)?;
    let mut options = ConnectOptionsBuilder::new_v5();
    options
        .clean_start(false)
        .properties(properties)
        .keep_alive_interval(KEEP_ALIVE)
        .connect_timeout(CONNECT_MAX)
        .max_inflight(i32::try_from(in_flight_max).unwrap_or(i32::MAX));
    if let Some(ssl) = mqtt_tls::ssl_options(&broker.url, &broker.tls)? {
        options.ssl_options(ssl);
    }
    if let Some(username) = &broker.username {
        options.user_name(username);
    }
    if let Some(password) = &broker.password {
        options.password(password.as_str());
    }
    Ok(options.finalize())
}
