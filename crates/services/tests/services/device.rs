//! A device that speaks MQTT 5.0 over a socket of its own: not through paho, whose one thread is under test, and free to send what
//! a well-behaved client library would not.

use std::time::Duration;

use async_trait::async_trait;
use orinoco_ports::conformance::mqtt::{PublishedMessage, Publisher};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
/// QoS 1.
const PUBLISH: u8 = 0x32;
const PUBACK: u8 = 0x40;
/// RETAIN, a bit of PUBLISH.
const RETAIN: u8 = 0x01;
const USER_PROPERTY: u8 = 0x26;
const ANSWER_WAIT: Duration = Duration::from_secs(10);

pub(crate) struct Device {
    address: String,
    stream: Option<TcpStream>,
    packet_id: u16,
}

impl Device {
    /// Of the broker at `host:port`.
    pub(crate) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), stream: None, packet_id: 0 }
    }

    /// Connects with clean start, under a name that the broker gives.
    pub(crate) async fn connect(&mut self) -> Result<&mut TcpStream, String> {
        let mut stream = TcpStream::connect(&self.address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        // Protocol name and version, clean start, no keep-alive, no properties, empty client id.
        let body = [0, 4, b'M', b'Q', b'T', b'T', 5, 0x02, 0, 0, 0, 0, 0];
        send(&mut stream, CONNECT, &body).await?;
        match receive(&mut stream).await? {
            (CONNACK, answer) if answer.get(1) == Some(&0) => Ok(self.stream.insert(stream)),
            other => Err(format!("{other:?} to CONNECT")),
        }
    }

    /// PUBLISH at QoS 1 with the topic's raw bytes; `Ok` with the reason code of the PUBACK.
    pub(crate) async fn publish_raw(
        &mut self,
        topic: &[u8],
        payload: &[u8],
        traceparent: Option<&str>,
        retain: bool,
    ) -> Result<u8, String> {
        self.packet_id = self.packet_id % u16::MAX + 1;
        let packet_id = self.packet_id.to_be_bytes();
        let mut properties = Vec::new();
        if let Some(value) = traceparent {
            properties.push(USER_PROPERTY);
            for text in ["traceparent", value] {
                properties.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
                properties.extend_from_slice(text.as_bytes());
            }
        }
        let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
        body.extend_from_slice(topic);
        body.extend_from_slice(&packet_id);
        body.extend_from_slice(&length(properties.len()));
        body.extend_from_slice(&properties);
        body.extend_from_slice(payload);
        let outcome = self.exchange(PUBLISH | if retain { RETAIN } else { 0 }, &body).await;
        if outcome.is_err() {
            self.stream = None;
        }
        match outcome? {
            (PUBACK, answer) if answer.starts_with(&packet_id) => Ok(answer.get(2).copied().unwrap_or(0)),
            other => {
                self.stream = None;
                Err(format!("{other:?} to PUBLISH"))
            }
        }
    }

    async fn exchange(&mut self, kind: u8, body: &[u8]) -> Result<(u8, Vec<u8>), String> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        send(stream, kind, body).await?;
        receive(stream).await
    }
}

#[async_trait]
impl Publisher for Device {
    async fn publish(&mut self, message: &PublishedMessage) -> Result<(), String> {
        let PublishedMessage { topic, payload, traceparent } = message;
        let code = self.publish_raw(topic.as_bytes(), payload, traceparent.as_deref(), false).await?;
        if code < 0x80 { Ok(()) } else { Err(format!("reason code {code}")) }
    }
}

async fn send(stream: &mut TcpStream, kind: u8, body: &[u8]) -> Result<(), String> {
    let packet = [&[kind][..], &length(body.len()), body].concat();
    stream.write_all(&packet).await.map_err(|error| error.to_string())
}

/// Type (without flags) and the rest of the next packet.
async fn receive(stream: &mut TcpStream) -> Result<(u8, Vec<u8>), String> {
    let reading = async {
        let kind = stream.read_u8().await?;
        let (mut remaining, mut shift) = (0_usize, 0);
        loop {
            let byte = stream.read_u8().await?;
            remaining |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; remaining];
        stream.read_exact(&mut body).await?;
        Ok::<_, std::io::Error>((kind & 0xf0, body))
    };
    let packet = timeout(ANSWER_WAIT, reading).await.map_err(|_| "no answer".to_owned())?;
    packet.map_err(|error| error.to_string())
}

/// MQTT 5.0, section 1.5.5.
fn length(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value % 128).unwrap();
        value /= 128;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}
