//! An MQTT client that says exactly what it is told to, right or wrong, and sees every packet.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Nothing in these tests takes this long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V3 = 4,
    V5 = 5,
}

pub(crate) const VERSIONS: [Version; 2] = [Version::V3, Version::V5];

/// A packet from the broker: the type with its flags, and what follows the fixed header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) first_byte: u8,
    pub(crate) body: Vec<u8>,
}

pub(crate) const CONNACK: u8 = 0x20;
pub(crate) const PUBLISH: u8 = 0x30;
pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
pub(crate) const PUBCOMP: u8 = 0x70;
pub(crate) const SUBACK: u8 = 0x90;

impl Packet {
    pub(crate) fn kind(&self) -> u8 {
        self.first_byte & 0xf0
    }

    /// Of an acknowledgement.
    pub(crate) fn packet_id(&self) -> u16 {
        u16::from_be_bytes([self.body[0], self.body[1]])
    }

    /// Of a CONNACK.
    pub(crate) fn connect_code(&self) -> u8 {
        assert_eq!(self.kind(), CONNACK);
        self.body[1]
    }

    /// Of a PUBLISH at QoS 0 or 1.
    pub(crate) fn topic(&self) -> &str {
        assert_eq!(self.kind(), PUBLISH);
        let length = usize::from(u16::from_be_bytes([self.body[0], self.body[1]]));
        std::str::from_utf8(&self.body[2..2 + length]).unwrap()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Connect<'a> {
    pub(crate) version: Version,
    pub(crate) client_id: &'a str,
    pub(crate) clean: bool,
    pub(crate) keep_alive_s: u16,
    pub(crate) session_expiry_s: u32,
    pub(crate) will: Option<(&'a str, &'a [u8])>,
    pub(crate) credentials: Option<(&'a str, &'a [u8])>,
}

impl<'a> Connect<'a> {
    pub(crate) fn new(version: Version, client_id: &'a str) -> Self {
        Self { version, client_id, clean: true, keep_alive_s: 60, session_expiry_s: 0, will: None, credentials: None }
    }

    /// A session that outlives its connections.
    pub(crate) fn persistent(self) -> Self {
        Self { clean: false, session_expiry_s: 600, ..self }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut flags = u8::from(self.clean) << 1;
        let mut body = Vec::new();
        string(&mut body, b"MQTT");
        body.push(self.version as u8);
        let flags_at = body.len();
        body.push(0);
        body.extend_from_slice(&self.keep_alive_s.to_be_bytes());
        if self.version == Version::V5 {
            body.extend_from_slice(&[5, 0x11]); // properties: Session Expiry Interval
            body.extend_from_slice(&self.session_expiry_s.to_be_bytes());
        }
        string(&mut body, self.client_id.as_bytes());
        if let Some((topic, payload)) = self.will {
            flags |= 0x04 | 0x08; // will, QoS 1
            if self.version == Version::V5 {
                body.push(0);
            }
            string(&mut body, topic.as_bytes());
            string(&mut body, payload);
        }
        if let Some((username, password)) = self.credentials {
            flags |= 0xc0;
            string(&mut body, username.as_bytes());
            string(&mut body, password);
        }
        body[flags_at] = flags;
        packet(0x10, &body)
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Publish<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
    pub(crate) packet_id: u16,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    /// MQTT 5.0 properties, encoded, without their length.
    pub(crate) properties: &'a [u8],
}

impl<'a> Publish<'a> {
    pub(crate) fn qos1(packet_id: u16, topic: &'a str, payload: &'a [u8]) -> Self {
        Self { topic, payload, qos: 1, packet_id, ..Self::default() }
    }

    pub(crate) fn qos2(packet_id: u16, topic: &'a str, payload: &'a [u8]) -> Self {
        Self { qos: 2, ..Self::qos1(packet_id, topic, payload) }
    }

    pub(crate) fn repeated(self) -> Self {
        Self { dup: true, ..self }
    }

    pub(crate) fn encode(&self, version: Version) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.topic.len() + self.payload.len() + 8);
        string(&mut body, self.topic.as_bytes());
        if self.qos > 0 {
            body.extend_from_slice(&self.packet_id.to_be_bytes());
        }
        if version == Version::V5 {
            length(&mut body, self.properties.len());
            body.extend_from_slice(self.properties);
        }
        body.extend_from_slice(self.payload);
        packet(0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain), &body)
    }
}

/// A user property (MQTT 5.0, section 2.2.2.2, 0x26).
pub(crate) fn user_property(name: &str, value: &str) -> Vec<u8> {
    let mut encoded = vec![0x26];
    string(&mut encoded, name.as_bytes());
    string(&mut encoded, value.as_bytes());
    encoded
}

pub(crate) fn packet(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut encoded = vec![first_byte];
    length(&mut encoded, body.len());
    encoded.extend_from_slice(body);
    encoded
}

fn string(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend_from_slice(&u16::try_from(bytes.len()).unwrap().to_be_bytes());
    into.extend_from_slice(bytes);
}

/// A variable byte integer (section 1.5.5).
fn length(into: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        into.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

pub(crate) struct Client {
    reader: OwnedReadHalf,
    writer: Option<OwnedWriteHalf>,
    version: Version,
}

impl Client {
    /// Connects and expects to be accepted.
    pub(crate) async fn connect(address: SocketAddr, connect: Connect<'_>) -> Self {
        let (client, connack) = Self::try_connect(address, connect).await;
        assert_eq!(connack.expect("a CONNACK").connect_code(), 0);
        client
    }

    /// Connects; the answer is a CONNACK or the end of the connection.
    pub(crate) async fn try_connect(address: SocketAddr, connect: Connect<'_>) -> (Self, Option<Packet>) {
        let mut client = Self::open(address, connect.version).await;
        client.send(&connect.encode()).await;
        let connack = client.receive().await;
        (client, connack)
    }

    /// A connection on which nothing was said yet.
    pub(crate) async fn open(address: SocketAddr, version: Version) -> Self {
        let stream = timeout(DEADLINE, TcpStream::connect(address)).await.unwrap().unwrap();
        stream.set_nodelay(true).unwrap();
        let (reader, writer) = stream.into_split();
        Self { reader, writer: Some(writer), version }
    }

    /// An error means that the broker has closed the connection, which the next `receive` says too.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let writer = self.writer.as_mut().expect("nothing was finished");
        let _ = timeout(DEADLINE, writer.write_all(bytes)).await.unwrap();
    }

    /// Sends in the background, while this client receives.
    pub(crate) fn send_in_background(&mut self, bytes: Vec<u8>) -> JoinHandle<OwnedWriteHalf> {
        let mut writer = self.writer.take().expect("nothing was finished");
        tokio::spawn(async move {
            writer.write_all(&bytes).await.unwrap();
            writer
        })
    }

    /// Half-closes the connection.
    pub(crate) async fn finish_sending(&mut self) {
        let _ = self.writer.take().expect("nothing was finished").shutdown().await;
    }

    pub(crate) async fn publish(&mut self, publish: Publish<'_>) {
        let encoded = publish.encode(self.version);
        self.send(&encoded).await;
    }

    pub(crate) async fn release(&mut self, packet_id: u16) {
        self.send(&packet(0x62, &packet_id.to_be_bytes())).await;
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, qos: u8) -> Packet {
        let mut body = vec![0, 1];
        if self.version == Version::V5 {
            body.push(0);
        }
        string(&mut body, filter.as_bytes());
        body.push(qos);
        self.send(&packet(0x82, &body)).await;
        let suback = self.receive().await.expect("a SUBACK");
        assert_eq!(suback.kind(), SUBACK);
        suback
    }

    /// The next packet; `None`: the connection has ended.
    pub(crate) async fn receive(&mut self) -> Option<Packet> {
        timeout(DEADLINE, self.read()).await.expect("a packet or the end of the connection in time")
    }

    async fn read(&mut self) -> Option<Packet> {
        let first_byte = self.reader.read_u8().await.ok()?;
        let (mut size, mut shift) = (0, 0);
        loop {
            let byte = self.reader.read_u8().await.ok()?;
            size |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; size];
        self.reader.read_exact(&mut body).await.ok()?;
        Some(Packet { first_byte, body })
    }

    /// The acknowledgement of `kind` for that packet.
    pub(crate) async fn acknowledged(&mut self, kind: u8, packet_id: u16) {
        let packet = self.receive().await.unwrap_or_else(|| panic!("{kind:#x} for {packet_id}, not the end"));
        assert_eq!((packet.kind(), packet.packet_id()), (kind, packet_id), "{packet:?}");
    }

    /// The connection ends without another packet.
    pub(crate) async fn ended(&mut self) {
        assert_eq!(self.receive().await, None);
    }

    /// Cuts the connection without a word.
    pub(crate) fn cut(self) {
        if let Some(stream) = self.writer.and_then(|writer| self.reader.reunite(writer).ok()) {
            let _ = stream.set_zero_linger();
        }
    }
}
