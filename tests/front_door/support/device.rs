//! A device: an MQTT 3.1.1 client that publishes at QoS 1 and knows of each message whether its PUBACK came before the connection went.
//! It is our own, so that nothing is sent again behind a test's back; off-the-shelf clients (Eclipse Paho in `orinoco simulate`,
//! `mosquitto_pub`) are in the tests of `replay` and `commands`.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use orinoco_testkit::unique_name;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{oneshot, watch},
    task::JoinHandle,
};

use super::within;

/// MQTT 3.1.1, section 2.2.1: packet types with their flags.
const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH_QOS_1: u8 = 0x32;
const PUBACK: u8 = 0x40;
/// Section 3.1: protocol name and level, clean session, no keep-alive.
const CONNECT_HEADER: [u8; 10] = [0, 4, b'M', b'Q', b'T', b'T', 4, 0x02, 0, 0];
const CONNECT_FLAGS_AT: usize = 7;
/// Section 3.1.2.8: a user name and a password follow.
const CREDENTIALS: u8 = 0xc0;

pub(crate) struct Device {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    waiting: Arc<Waiting>,
    lost: watch::Receiver<bool>,
    reader: JoinHandle<()>,
}

/// Resolves with the PUBACK, or with an error when none will come.
pub(crate) struct Token(oneshot::Receiver<()>);

#[derive(Debug)]
pub(crate) struct Unacknowledged;

/// Who waits for a PUBACK, by packet identifier.
#[derive(Default)]
struct Waiting(Mutex<WaitingState>);

#[derive(Default)]
struct WaitingState {
    last_id: u16,
    tokens: BTreeMap<u16, oneshot::Sender<()>>,
    is_lost: bool,
}

impl Future for Token {
    type Output = Result<(), Unacknowledged>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|outcome| outcome.map_err(|_| Unacknowledged))
    }
}

impl Device {
    /// `mqtt://host:port`
    pub(crate) async fn connect(url: &str) -> Result<Self, String> {
        Self::connect_with(url, None).await
    }

    /// With its name and its secret.
    pub(crate) async fn connect_as(url: &str, name: &str, secret: &str) -> Result<Self, String> {
        Self::connect_with(url, Some((name, secret))).await
    }

    async fn connect_with(url: &str, credentials: Option<(&str, &str)>) -> Result<Self, String> {
        let handshake = within("CONNACK", Self::handshake(url, credentials)).await;
        let (reader, mut writer) = handshake.map_err(|error| error.to_string())?;
        writer.flush().await.map_err(|error| error.to_string())?;
        let waiting = Arc::new(Waiting::default());
        let (lost_sender, lost) = watch::channel(false);
        let reader = tokio::spawn(read(reader, Arc::clone(&waiting), lost_sender));
        Ok(Self { writer: tokio::sync::Mutex::new(writer), waiting, lost, reader })
    }

    async fn handshake(
        url: &str,
        credentials: Option<(&str, &str)>,
    ) -> std::io::Result<(OwnedReadHalf, OwnedWriteHalf)> {
        let stream = TcpStream::connect(url.trim_start_matches("mqtt://")).await?;
        stream.set_nodelay(true)?;
        let (mut reader, mut writer) = stream.into_split();
        let mut body = CONNECT_HEADER.to_vec();
        push_text(&mut body, &unique_name("device"));
        if let Some((name, secret)) = credentials {
            body[CONNECT_FLAGS_AT] |= CREDENTIALS;
            push_text(&mut body, name);
            push_text(&mut body, secret);
        }
        writer.write_all(&packet(CONNECT, &body)).await?;
        let mut answer = [0; 4];
        reader.read_exact(&mut answer).await?;
        if answer[0] != CONNACK || answer[3] != 0 {
            return Err(std::io::Error::other(format!("CONNACK is {answer:?}")));
        }
        Ok((reader, writer))
    }

    /// Publishes and waits for the PUBACK.
    pub(crate) async fn publish(&self, topic: &str, payload: impl AsRef<[u8]>) {
        let token = self.send(topic, payload).await;
        within("a PUBACK", token).await.unwrap();
    }

    /// Publishes both axes of a device of that name.
    pub(crate) async fn move_to(&self, device: &str, x: f64, y: f64) {
        self.publish(&format!("devices/{device}/coordX"), x.to_string()).await;
        self.publish(&format!("devices/{device}/coordY"), y.to_string()).await;
    }

    /// Publishes; the token is for the PUBACK.
    pub(crate) async fn send(&self, topic: &str, payload: impl AsRef<[u8]>) -> Token {
        let (acknowledged, token) = oneshot::channel();
        // Before the identifier is taken: identifiers go out in their order.
        let mut writer = self.writer.lock().await;
        if let Some(id) = self.waiting.register(acknowledged) {
            let mut body = Vec::new();
            push_text(&mut body, topic);
            body.extend_from_slice(&id.to_be_bytes());
            body.extend_from_slice(payload.as_ref());
            // A connection that broke off is noticed by its reader.
            let _ = writer.write_all(&packet(PUBLISH_QOS_1, &body)).await;
        }
        Token(token)
    }

    /// The same; false: the connection was closed without PUBACK.
    pub(crate) async fn try_publish(&self, topic: &str, payload: impl AsRef<[u8]>) -> bool {
        let token = self.send(topic, payload).await;
        within("a PUBACK or the end", token).await.is_ok()
    }

    /// Waits until the connection is lost.
    pub(crate) async fn lost(&mut self) {
        // An error says that the reader has ended.
        let _ = self.lost.wait_for(|lost| *lost).await;
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Waiting {
    /// `None` where the connection is lost: the token then resolves at once.
    fn register(&self, acknowledged: oneshot::Sender<()>) -> Option<u16> {
        let mut state = self.0.lock().unwrap();
        if state.is_lost {
            return None;
        }
        state.last_id = state.last_id % u16::MAX + 1;
        let id = state.last_id;
        assert!(state.tokens.insert(id, acknowledged).is_none(), "65,535 messages without PUBACK");
        Some(id)
    }

    fn acknowledge(&self, id: u16) {
        let token = self.0.lock().unwrap().tokens.remove(&id);
        // Nobody may wait for it any more.
        let _ = token.unwrap_or_else(|| panic!("PUBACK of {id}, which was not sent")).send(());
    }

    fn lose(&self) {
        let mut state = self.0.lock().unwrap();
        state.is_lost = true;
        state.tokens.clear();
    }
}

async fn read(mut reader: OwnedReadHalf, waiting: Arc<Waiting>, lost: watch::Sender<bool>) {
    // Section 3.4: a PUBACK has four bytes, and nothing else comes to who subscribes to nothing.
    let mut puback = [0; 4];
    while reader.read_exact(&mut puback).await.is_ok() && puback[0] == PUBACK {
        waiting.acknowledge(u16::from_be_bytes([puback[2], puback[3]]));
    }
    waiting.lose();
    lost.send_replace(true);
}

fn push_text(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
    body.extend_from_slice(text.as_bytes());
}

/// Section 2.2.3: the remaining length, seven bits a byte.
fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut length = body.len();
    loop {
        let more = length >= 128;
        packet.push((length % 128) as u8 | if more { 0x80 } else { 0 });
        length /= 128;
        if !more {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}
