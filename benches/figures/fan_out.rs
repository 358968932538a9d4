//! What it costs to deliver a frame to many sockets.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{
    browser::Crowd,
    device::Device,
    figure::Figure,
    usage::push,
    world::{DEADLINE, Mode, World, wait_for_counter},
};

pub(crate) const ABOUT: &str = "1,000 or 10,000 plain WebSockets watch all of 20 devices; one message at a time is published, as many as \
    make 20,000 deliveries a second (20 or 2 a second), for ten seconds a round. Every socket received every frame: the frames are \
    counted, and none was conflated. Processor time of the daemon over the round by frames received: receiving, storing and the idle \
    work of the daemon are in it; pings are put off. The sockets stay over the rounds.";

/// The daemon's pings would cost as much as the deliveries of half a second, at a time of their own.
pub(crate) const NO_PINGS: [(&str, &str); 2] = [("ws.ping_interval_s", "3600"), ("ws.idle_timeout_s", "86400")];

const CELLS: [(Mode, usize); 4] =
    [(Mode::Embedded, 1_000), (Mode::Embedded, 10_000), (Mode::Services, 1_000), (Mode::Services, 10_000)];
pub(crate) const DEVICES: usize = 20;
pub(crate) const DELIVERIES_PER_SECOND: usize = 20_000;
pub(crate) const ROUND_S: usize = 10;

pub(crate) async fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (mode, sockets) in CELLS {
        let world = World::new(mode).await?;
        let daemon = world.spawn_ready(&NO_PINGS).await?;
        let mut mover = Mover::begin(&world.broker_address(&daemon)).await?;
        wait_for_counter(&daemon, "orinoco_frames_total", DEVICES).await?;
        let crowd = Crowd::open(daemon.ws_address(), sockets).await?;
        crowd.wait_for_texts(sockets * DEVICES, DEADLINE).await?;
        let messages_per_second = DELIVERIES_PER_SECOND / sockets;
        for _ in 0..rounds {
            let (texts, cpu_before) = (crowd.texts(), daemon.cpu_seconds()?);
            let mut ticks = interval(Duration::from_secs(1) / u32::try_from(messages_per_second)?);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let messages = messages_per_second * ROUND_S;
            for _ in 0..messages {
                ticks.tick().await;
                mover.step().await?;
            }
            let deliveries = messages * sockets;
            crowd.wait_for_texts(texts + deliveries, DEADLINE).await?;
            let each_us = (daemon.cpu_seconds()? - cpu_before) * 1e6 / deliveries as f64;
            let what = format!("a delivery, {sockets} sockets");
            push(&mut figures, Figure::new(what, mode.name(), "CPU µs"), each_us);
        }
        let conflated = daemon.counter("orinoco_frames_conflated_total").await?;
        anyhow::ensure!(conflated == 0.0, "{conflated} frames were conflated");
    }
    Ok(figures)
}

/// Moves one device after the other, by one axis: first all X, then all Y.
pub(crate) struct Mover {
    device: Device,
    moves: usize,
}

impl Mover {
    /// Both axes of each device have a value then.
    ///
    /// # Errors
    /// The broker is away, or refuses.
    pub(crate) async fn begin(address: &str) -> anyhow::Result<Self> {
        let mut mover = Self { device: Device::connect(address).await?, moves: 0 };
        for _ in 0..2 * DEVICES {
            mover.step().await?;
        }
        Ok(mover)
    }

    pub(crate) async fn step(&mut self) -> anyhow::Result<()> {
        let axis = ["coordX", "coordY"][self.moves / DEVICES % 2];
        let topic = format!("devices/move-{}/{axis}", self.moves % DEVICES);
        let payload = format!("{}.25", self.moves);
        self.moves += 1;
        self.device.publish(&topic, &payload).await
    }
}
