//! Devices: MQTT 3.1.1 clients that publish at QoS 1, cheap enough not to be what is measured.

use std::fmt::Write as _;

use anyhow::{Context, ensure};
use orinoco_testkit::unique_name;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp::OwnedWriteHalf},
    task::{JoinHandle, JoinSet},
};

/// MQTT 3.1.1, section 2.2.1: packet types with their flags.
const CONNECT: u8 = 0x10;
const PUBLISH_QOS_1: u8 = 0x32;
const PUBACK: u8 = 0x40;
/// Section 3.1: protocol name and level, clean session, no keep-alive.
const CONNECT_HEADER: [u8; 10] = [0, 4, b'M', b'Q', b'T', b'T', 4, 0x02, 0, 0];
/// Section 3.2: no session present, accepted.
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
/// Section 3.4: a PUBACK has four bytes.
const PUBACK_SIZE: usize = 4;

const FLOOD_CONNECTIONS: usize = 4;
/// Messages in flight of one connection of a flood.
const FLOOD_WINDOW: usize = 200;
const AXES: [&str; 2] = ["coordX", "coordY"];

/// Who publishes in a flood: four connections of five devices each.
pub(crate) const FLOOD_DEVICES: usize = 20;

/// A device that publishes when told to, and does not wait for PUBACKs (but reads them).
pub(crate) struct Device {
    writer: OwnedWriteHalf,
    packet: Vec<u8>,
    last_id: u16,
    reader: JoinHandle<()>,
}

impl Device {
    /// # Errors
    /// The broker is away, or refuses.
    pub(crate) async fn connect(address: &str) -> anyhow::Result<Self> {
        let (mut reader, writer) = connect(address).await?.into_split();
        let reader = tokio::spawn(async move {
            let mut acknowledgements = [0; 4_096];
            while reader.read(&mut acknowledgements).await.is_ok_and(|bytes| bytes > 0) {}
        });
        Ok(Self { writer, packet: Vec::new(), last_id: 0, reader })
    }

    /// # Errors
    /// The connection is lost.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &str) -> anyhow::Result<()> {
        self.last_id = self.last_id % u16::MAX + 1;
        self.packet.clear();
        push_publish(&mut self.packet, topic, self.last_id, payload)?;
        self.writer.write_all(&self.packet).await.context("the broker is gone")
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Publishes `messages` of 20 devices, axis after axis, as fast as PUBACKs come.
///
/// # Errors
/// A connection is lost.
pub(crate) async fn flood(address: &str, messages: usize) -> anyhow::Result<()> {
    let mut connections = JoinSet::new();
    for connection in 0..FLOOD_CONNECTIONS {
        let stream = connect(address).await?;
        connections.spawn(publish_all(stream, connection, messages / FLOOD_CONNECTIONS));
    }
    while let Some(ended) = connections.join_next().await {
        ended.context("a device panicked")??;
    }
    Ok(())
}

/// How many a flood of so many really publishes.
pub(crate) fn flood_size(messages: usize) -> usize {
    messages / FLOOD_CONNECTIONS / FLOOD_WINDOW * FLOOD_WINDOW * FLOOD_CONNECTIONS
}

async fn publish_all(mut stream: TcpStream, connection: usize, messages: usize) -> anyhow::Result<()> {
    let (mut burst, mut payload, mut topic) = (Vec::new(), String::new(), String::new());
    let mut acknowledgements = vec![0; PUBACK_SIZE * FLOOD_WINDOW];
    for start in 0..messages / FLOOD_WINDOW {
        burst.clear();
        for id in 1..=FLOOD_WINDOW {
            let number = start * FLOOD_WINDOW + id;
            let device = connection + FLOOD_CONNECTIONS * (number / 2 % (FLOOD_DEVICES / FLOOD_CONNECTIONS));
            topic.clear();
            payload.clear();
            write!(topic, "devices/flood-{device:02}/{}", AXES[number % 2])?;
            write!(payload, r#"{{"message":"{number}.25","timestamp":"2026-01-02T03:04:05.678Z"}}"#)?;
            push_publish(&mut burst, &topic, u16::try_from(id)?, &payload)?;
        }
        stream.write_all(&burst).await.context("the broker is gone")?;
        stream.read_exact(&mut acknowledgements).await.context("the broker is gone")?;
        let all_pubacks = acknowledgements.chunks(PUBACK_SIZE).all(|packet| packet[0] == PUBACK);
        ensure!(all_pubacks, "the broker said something else than PUBACK");
    }
    Ok(())
}

async fn connect(address: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("MQTT broker {address}"))?;
    stream.set_nodelay(true)?;
    let mut body = CONNECT_HEADER.to_vec();
    push_text(&mut body, &unique_name("device"))?;
    let mut packet = Vec::new();
    push_packet(&mut packet, CONNECT, &body);
    stream.write_all(&packet).await?;
    let mut answer = [0; CONNACK.len()];
    stream.read_exact(&mut answer).await?;
    ensure!(answer == CONNACK, "MQTT broker {address} answered {answer:?} to CONNECT");
    Ok(stream)
}

fn push_publish(packets: &mut Vec<u8>, topic: &str, id: u16, payload: &str) -> anyhow::Result<()> {
    let mut body = Vec::with_capacity(4 + topic.len() + payload.len());
    push_text(&mut body, topic)?;
    body.extend_from_slice(&id.to_be_bytes());
    body.extend_from_slice(payload.as_bytes());
    push_packet(packets, PUBLISH_QOS_1, &body);
    Ok(())
}

fn push_text(body: &mut Vec<u8>, text: &str) -> anyhow::Result<()> {
    body.extend_from_slice(&u16::try_from(text.len())?.to_be_bytes());
    body.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Section 2.2.3: the remaining length, seven bits a byte.
fn push_packet(packets: &mut Vec<u8>, kind: u8, body: &[u8]) {
    packets.push(kind);
    let mut length = body.len();
    while length >= 128 {
        packets.push((length % 128) as u8 | 0x80);
        length /= 128;
    }
    packets.push(length as u8);
    packets.extend_from_slice(body);
}
