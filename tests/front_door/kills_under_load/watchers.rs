//! Clients that watch devices over the ends of their connections: plain WebSockets, and the Centrifuge protocol. Each must get every
//! frame of its device, in order and once.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use orinoco_testkit::unique_name;
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::watch, task::JoinHandle};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, Utf8Bytes},
};

use crate::support::{Frame, Said, Socket, World, within};

const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(10);
/// Sockets that come and go, so that some are always in their handshake.
const VISIT_EVERY: Duration = Duration::from_millis(25);

/// What a watcher went through.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) frames: u64,
    /// From the end of a connection to the first frame of the next.
    pub(super) gaps: Vec<Duration>,
}

/// Watches `device` until it has the frame at the end.
pub(super) fn plain(world: &World, device: &str, end: watch::Receiver<Option<u64>>) -> JoinHandle<Watched> {
    tokio::spawn(watch_plain(world.daemon.ws_address().to_owned(), device.to_owned(), end))
}

/// The same by the Centrifuge protocol.
pub(super) fn centrifuge(world: &World, device: &str, end: watch::Receiver<Option<u64>>) -> JoinHandle<Watched> {
    tokio::spawn(watch_centrifuge(world.daemon.ws_address().to_owned(), device.to_owned(), end))
}

/// A browser that comes, and goes at once, again and again.
pub(super) async fn visit(address: String) {
    let nobody = format!("?device={}", unique_name("nobody"));
    loop {
        if let Ok(socket) = Socket::open(&address, &nobody).await {
            socket.close().await;
        }
        tokio::time::sleep(VISIT_EVERY).await;
    }
}

/// Where a watcher is, over its connections.
struct Position {
    device: String,
    /// Offset and epoch.
    last: Option<(u64, String)>,
    lost_at: Option<Instant>,
    watched: Watched,
}

impl Position {
    fn new(device: String) -> Self {
        Self { device, last: None, lost_at: None, watched: Watched::default() }
    }

    fn saw(&mut self, frame: Frame) {
        assert_eq!(frame.device, self.device);
        if let Some((offset, epoch)) = &self.last {
            assert_eq!((frame.offset, &frame.epoch), (offset + 1, epoch), "{}", self.device);
        }
        self.last = Some((frame.offset, frame.epoch));
        self.watched.frames += 1;
        self.watched.gaps.extend(self.lost_at.take().map(|at| at.elapsed()));
    }

    fn lost(&mut self) {
        self.lost_at.get_or_insert_with(Instant::now);
    }

    fn is_at(&self, end: Option<u64>) -> bool {
        end.is_some_and(|end| self.last.as_ref().is_some_and(|(offset, _)| *offset >= end))
    }
}

async fn watch_plain(address: String, device: String, mut end: watch::Receiver<Option<u64>>) -> Watched {
    let mut position = Position::new(device);
    loop {
        let query = match &position.last {
            None => format!("?device={}", position.device),
            Some((offset, epoch)) => format!("?device={}&offset={offset}&epoch={epoch}", position.device),
        };
        let Ok(mut socket) = Socket::open(&address, &query).await else {
            tokio::time::sleep(CONNECT_AGAIN_AFTER).await;
            continue;
        };
        loop {
            if position.is_at(*end.borrow_and_update()) {
                socket.close().await;
                return position.watched;
            }
            tokio::select! {
                changed = end.changed() => changed.unwrap(),
                said = socket.next() => match said {
                    Said::Text(text) => position.saw(Frame::parse(&text)),
                    Said::Closed(code) => {
                        assert_closed(code, &[1012, 1001]);
                        break position.lost();
                    }
                },
            }
        }
    }
}

/// A connection may break off without a word, where its supervisor was killed.
fn assert_closed(code: Option<u16>, codes: &[u16]) {
    assert!(code.is_none_or(|code| codes.contains(&code)), "closed with {code:?}");
}

async fn watch_centrifuge(address: String, device: String, mut end: watch::Receiver<Option<u64>>) -> Watched {
    let mut position = Position::new(device);
    loop {
        let Some(mut client) = Centrifuge::connect(&address, &mut position).await else {
            position.lost();
            tokio::time::sleep(CONNECT_AGAIN_AFTER).await;
            continue;
        };
        loop {
            if position.is_at(*end.borrow_and_update()) {
                // It may be closed already.
                let _ = client.socket.close(None).await;
                return position.watched;
            }
            tokio::select! {
                changed = end.changed() => changed.unwrap(),
                text = client.receive() => match text {
                    Some(text) if client.hear(&text, &mut position).await => {}
                    _ => break position.lost(),
                },
            }
        }
    }
}

struct Centrifuge {
    socket: WebSocketStream<TcpStream>,
}

impl Centrifuge {
    /// Connects and subscribes, and recovers what was missed. `None` where the daemon can't yet, or the connection ends.
    async fn connect(address: &str, position: &mut Position) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        let url = format!("ws://{address}/connection/websocket");
        let (socket, _) = within("a handshake", client_async(url, stream)).await.ok()?;
        let mut client = Self { socket };
        let channel = format!("device:{}", position.device);
        let subscribe = match &position.last {
            None => json!({"channel": channel}),
            Some((offset, epoch)) => json!({"channel": channel, "recover": true, "offset": offset, "epoch": epoch}),
        };
        for command in [json!({"id": 1, "connect": {}}), json!({"id": 2, "subscribe": subscribe})] {
            client.socket.send(Message::text(command.to_string())).await.ok()?;
        }
        loop {
            let text = client.receive().await?;
            for reply in client.replies(&text).await {
                if reply["id"] == 2 {
                    let subscribed = &reply["subscribe"];
                    // Temporary errors: it tries again.
                    if !subscribed.is_object() {
                        assert!(reply["error"]["temporary"] == true || reply["error"]["code"] == 100, "{reply}");
                        return None;
                    }
                    client.subscribed(subscribed, position);
                    return Some(client);
                }
            }
        }
    }

    fn subscribed(&self, subscribed: &Value, position: &mut Position) {
        if position.last.is_none() {
            let epoch = subscribed["epoch"].as_str().unwrap().to_owned();
            position.last = Some((subscribed["offset"].as_u64().unwrap(), epoch));
            return;
        }
        assert_eq!(subscribed["recovered"], true, "{subscribed}");
        for publication in subscribed["publications"].as_array().into_iter().flatten() {
            position.saw(serde_json::from_value(publication["data"].clone()).unwrap());
        }
    }

    /// Whether the subscription is still there.
    async fn hear(&mut self, text: &str, position: &mut Position) -> bool {
        for reply in self.replies(text).await {
            let push = &reply["push"];
            if push["pub"].is_object() {
                let frame: Frame = serde_json::from_value(push["pub"]["data"].clone()).unwrap();
                assert_eq!(push["pub"]["offset"], frame.offset);
                position.saw(frame);
            } else if push["unsubscribe"].is_object() {
                assert_eq!(push["unsubscribe"]["code"], 2500, "{reply}");
                return false;
            }
        }
        true
    }

    /// What one message holds; a ping is answered.
    async fn replies(&mut self, text: &str) -> Vec<Value> {
        let replies: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if replies.contains(&json!({})) {
            // Lost: the next read shows it.
            let _ = self.socket.send(Message::text("{}")).await;
        }
        replies
    }

    /// The next message; `None` at the end. Cancel safe.
    async fn receive(&mut self) -> Option<Utf8Bytes> {
        within("a message", async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => return Some(text),
                    Some(Ok(Message::Close(close))) => {
                        assert_closed(close.map(|close| close.code.into()), &[3001, 3004, 1013, 1012]);
                        return None;
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return None,
                }
            }
        })
        .await
    }
}
