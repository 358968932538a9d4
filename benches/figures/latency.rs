//! From a device's PUBLISH to the frame at a browser.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, Utf8Bytes},
};

use super::{
    device::Device,
    figure::{Figure, percentile},
    usage::{Stretch, push, push_per_million},
    world::{DEADLINE, Mode, World, wait_for_counter},
};

pub(crate) const ABOUT: &str = "One device connection publishes at QoS 1 the movements of ten devices, 1,000 messages a second, each with a \
    number of its own as its coordinate; one WebSocket receives a frame for each. Time from just before the write of the PUBLISH to \
    the frame parsed, both ends in the measuring process, ten seconds a round after ten of warming up. Processor time of daemon and \
    servers over the same ten seconds.";

const MESSAGES_PER_SECOND: usize = 1_000;
const ROUND_S: usize = 10;
/// Kafka's compiler takes its time.
const WARM_UP_S: usize = 10;
const DEVICES: usize = 10;
const FRAME_WAIT_MAX: Duration = Duration::from_secs(20);

pub(crate) async fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for mode in Mode::BOTH {
        let world = World::new(mode).await?;
        let daemon = world.spawn_ready(&[]).await?;
        let mut sender = Sender::new(Device::connect(&world.broker_address(&daemon)).await?, rounds);
        let devices = sender.begin().await?;
        wait_for_counter(&daemon, "orinoco_frames_total", devices).await?;
        let mut receiver = Receiver::open(daemon.ws_address(), sender.times()).await?;
        receiver.take(devices).await?;
        pass(&mut sender, &mut receiver, WARM_UP_S).await?;
        for _ in 0..rounds {
            let stretch = Stretch::begin(&world, &daemon)?;
            let mut waits = pass(&mut sender, &mut receiver, ROUND_S).await?;
            let spent = stretch.end(&world, &daemon)?;
            waits.sort_by(f64::total_cmp);
            for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
                let what = format!("device to browser at 1,000/s, {name}");
                push(&mut figures, Figure::new(what, mode.name(), "ms"), percentile(&waits, share));
            }
            push_per_million(&mut figures, "everything at 1,000/s", mode.name(), &spent, (waits.len(), &[]));
        }
    }
    Ok(figures)
}

/// Sends for so long and receives all of it; the waits in milliseconds.
pub(crate) async fn pass(sender: &mut Sender, receiver: &mut Receiver, seconds: usize) -> anyhow::Result<Vec<f64>> {
    let messages = MESSAGES_PER_SECOND * seconds;
    let (sent, received) = tokio::join!(sender.send(messages), receiver.take(messages));
    sent?;
    received
}

pub(crate) struct Sender {
    device: Device,
    next: usize,
    sent: Arc<Sent>,
}

/// When each message was sent, nanoseconds after the beginning; 0: not yet.
pub(crate) struct Sent {
    begun: Instant,
    at_ns: Vec<AtomicU64>,
}

impl Sender {
    pub(crate) fn new(device: Device, rounds: usize) -> Self {
        let messages = 2 * DEVICES + MESSAGES_PER_SECOND * (WARM_UP_S + ROUND_S * rounds);
        let at_ns = (0..messages).map(|_| AtomicU64::new(0)).collect();
        Self { device, next: 0, sent: Arc::new(Sent { begun: Instant::now(), at_ns }) }
    }

    /// Both axes of each device; of how many there are.
    pub(crate) async fn begin(&mut self) -> anyhow::Result<usize> {
        self.send(2 * DEVICES).await?;
        Ok(DEVICES)
    }

    pub(crate) fn times(&self) -> Arc<Sent> {
        Arc::clone(&self.sent)
    }

    /// Sends the next messages at the steady rate.
    async fn send(&mut self, messages: usize) -> anyhow::Result<()> {
        let mut ticks = interval(Duration::from_secs(1) / u32::try_from(MESSAGES_PER_SECOND)?);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for number in self.next..self.next + messages {
            ticks.tick().await;
            let axis = ["coordX", "coordY"][number % 2];
            let topic = format!("devices/track-{}/{axis}", number / 2 % DEVICES);
            self.sent.at_ns[number].store(self.sent.elapsed_ns(), Ordering::Release);
            self.device.publish(&topic, &number.to_string()).await?;
        }
        self.next += messages;
        Ok(())
    }
}

impl Sent {
    fn elapsed_ns(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

pub(crate) struct Receiver {
    socket: WebSocketStream<TcpStream>,
    sent: Arc<Sent>,
}

#[derive(Deserialize)]
struct Frame {
    #[serde(rename = "coordX")]
    x: f64,
    #[serde(rename = "coordY")]
    y: f64,
    source: String,
}

impl Receiver {
    pub(crate) async fn open(address: &str, sent: Arc<Sent>) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let opened = tokio::time::timeout(DEADLINE, client_async(format!("ws://{address}/ws"), stream)).await;
        let (socket, _) = opened.context("no handshake")??;
        Ok(Self { socket, sent })
    }

    async fn text(&mut self) -> anyhow::Result<Utf8Bytes> {
        loop {
            match self.socket.next().await.context("broken off")?? {
                Message::Text(text) => return Ok(text),
                Message::Close(close) => bail!("closed: {close:?}"),
                _ => {}
            }
        }
    }

    /// Takes so many frames; how long each was on its way, milliseconds.
    pub(crate) async fn take(&mut self, frames: usize) -> anyhow::Result<Vec<f64>> {
        let mut waits = Vec::with_capacity(frames);
        while waits.len() < frames {
            let text = tokio::time::timeout(FRAME_WAIT_MAX, self.text()).await;
            let text = text.with_context(|| format!("{} of {frames} frames came", waits.len()))??;
            let frame: Frame = serde_json::from_str(&text)?;
            let moved = if frame.source == "coordX" { frame.x } else { frame.y };
            let at_ns = self.sent.at_ns.get(moved as usize).map_or(0, |at_ns| at_ns.load(Ordering::Acquire));
            ensure!(at_ns > 0, "a frame of a message that was not sent: {text}");
            waits.push(self.sent.elapsed_ns().saturating_sub(at_ns) as f64 / 1e6);
        }
        Ok(waits)
    }
}
