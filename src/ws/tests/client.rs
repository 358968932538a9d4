//! A port over a world in memory, and clients: the bare protocol, byte by byte, or tungstenite.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use orinoco_actors::WsLimits;
use orinoco_ports::{CoordinateStore, Running};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, protocol::CloseFrame},
};

use crate::{
    http::{
        Access,
        tests::world::{Answer, PARTITIONS, World, address},
    },
    live::Live,
    tls::ListenerTls,
    ws::{CentrifugeDeps, WsConnections, WsDeps, WsPolicy, WsServer, WsTiming},
};

pub(super) const FIN: u8 = 0x80;
pub(super) const TEXT: u8 = 0x1;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xA;

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Port {
    pub(super) world: World,
    pub(super) connections: Arc<WsConnections>,
    pub(super) running: Box<dyn Running>,
}

impl Port {
    pub(super) async fn open(access: impl Access) -> Self {
        Self::open_with(access, 1000, 256 * 1024).await
    }

    pub(super) async fn open_with(access: impl Access, connections_max: usize, queue_bytes_max: usize) -> Self {
        Self::open_by(None, access, connections_max, queue_bytes_max).await
    }

    pub(super) async fn open_by(
        tls: Option<Arc<ListenerTls>>,
        access: impl Access,
        connections_max: usize,
        queue_bytes_max: usize,
    ) -> Self {
        let world = World::start().await;
        let connections = WsConnections::new(connections_max);
        let server = WsServer::new(WsDeps {
            listen: "127.0.0.1:0".to_owned(),
            tls,
            connections: Arc::clone(&connections),
            access: Arc::new(access),
            sessions: world.sessions.clone(),
            centrifuge: CentrifugeDeps { sessions: world.centrifuge_sessions.clone(), presence: Arc::default() },
            hubs: world.hubs.clone(),
            partitions: PARTITIONS,
            store: Arc::clone(&world.store) as Arc<dyn CoordinateStore>,
            policy: Live::new(WsPolicy {
                limits: WsLimits { queue_bytes_max, stall_max: Duration::from_secs(5) },
                timing: WsTiming { ping_interval: Duration::from_secs(25), idle_timeout: Duration::from_secs(60) },
            }),
        });
        Self { running: server.start().await.unwrap(), connections, world }
    }

    pub(super) fn place(&self) -> &str {
        self.running.place()
    }

    pub(super) async fn connect(&self, path: &str) -> Client {
        self.upgrade(path, TcpStream::connect(address(self.place())).await.unwrap()).await
    }

    pub(super) async fn connect_with_receive_buffer(&self, path: &str, bytes: u32) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(bytes).unwrap();
        self.upgrade(path, socket.connect(address(self.place()).parse().unwrap()).await.unwrap()).await
    }

    async fn upgrade(&self, path: &str, stream: TcpStream) -> Client {
        let url = format!("ws://{}{path}", address(self.place()));
        Client(client_async(url, stream).await.unwrap().0)
    }

    pub(super) async fn connect_bare(&self, path: &str) -> Bare {
        let mut stream = TcpStream::connect(address(self.place())).await.unwrap();
        stream.write_all(handshake(path).as_bytes()).await.unwrap();
        Bare::opened(stream).await
    }
}

pub(super) fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A frame as clients send it: masked.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    let mask = [1, 2, 3, 4];
    bytes.extend(mask);
    bytes.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
    bytes
}

/// tungstenite's client, which answers pings while it is read.
pub(super) struct Client(pub(super) WebSocketStream<TcpStream>);

impl Client {
    pub(super) async fn message(&mut self) -> Message {
        tokio::time::timeout(PATIENCE, self.0.next()).await.unwrap().unwrap().unwrap()
    }

    pub(super) async fn text(&mut self) -> String {
        match self.message().await {
            Message::Text(text) => text.to_string(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// The code and reason of the close message, after any texts.
    pub(super) async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(Some(CloseFrame { code, reason })) = self.message().await {
                return (code.into(), reason.to_string());
            }
        }
    }
}

/// A client that does what it is told, byte by byte.
pub(super) struct Bare(pub(super) TcpStream);

impl Bare {
    /// Reads the answer to the handshake, which must be a yes.
    pub(super) async fn opened(mut stream: TcpStream) -> Self {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer = Answer::parse(&head);
        assert_eq!(answer.status, 101, "{answer:?}");
        assert_eq!((answer.header("upgrade"), answer.header("connection")), (Some("websocket"), Some("Upgrade")));
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        Self(stream)
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The next frame's first byte and payload; `None` at the end of the stream.
    pub(super) async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.0.read_u8().await.ok()?;
        let length = match self.0.read_u8().await.unwrap() {
            126 => usize::from(self.0.read_u16().await.unwrap()),
            127 => panic!("no frame of ours is so long"),
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await.unwrap();
        Some((first, payload))
    }

    /// The close code, after any other frames, and then the end of the stream.
    pub(super) async fn closed(&mut self) -> u16 {
        loop {
            let (first, payload) = self.frame().await.expect("a close message comes before the end");
            if first == FIN | CLOSE {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    }

    pub(super) async fn ended(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 64]).await, Ok(0) | Err(_))
    }
}
