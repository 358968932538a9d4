//! A delivery and an idle socket: the daemon beside other servers of WebSockets.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use orinoco_testkit::{Daemon, ProcessUsage, Program, free_port};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{MissedTickBehavior, interval},
};

use super::{
    browser::{Crowd, Protocol},
    fan_out::{DELIVERIES_PER_SECOND, DEVICES, Mover, NO_PINGS, ROUND_S},
    figure::Figure,
    peer::{self, Comparison, in_turn},
    world::{DEADLINE, Mode, World, counter, wait_for_counter},
};

pub(crate) const ABOUT: &str = "The daemon in embedded mode as in `idle-sockets` and `fan-out`: from the publication of a device to 1,000 or 10,000 plain \
    WebSockets, as many as make 20,000 deliveries a second, for ten seconds; and beside it servers that are given each frame by a line on a TCP \
    connection, and so have no part in MQTT, log, joining of axes, history and order. The floor: a tokio task a socket, which writes from one \
    broadcast channel a frame that was encoded once (benches/figures/floor.rs). The Go library centrifuge (benches/peers/centrifuge): one \
    channel, to which the server subscribes each connection, JSON protocol, pool of write buffers, no pings. All are started anew \
    in each round, in turn, and who is first changes. Each frame reached each socket. Resident bytes of a socket: those three seconds after \
    the last was opened, less those before the first, by their number.";

const SOCKETS: [usize; 2] = [1_000, 10_000];
const SETTLE: Duration = Duration::from_secs(3);
const KIB: f64 = 1_024.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    Ours,
    Floor,
    Centrifuge,
}

const ALL: [Contender; 3] = [Contender::Ours, Contender::Floor, Contender::Centrifuge];
/// Of the issue: of a delivery.
const REACH: [f64; 3] = [1.0, 1.2, 1.0];

/// Of a delivery, microseconds of processor time; of an idle socket, KiB.
type Cost = [f64; 2];

pub(crate) async fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let (mut figures, mode) = (Vec::new(), Mode::Embedded.name());
    for sockets in SOCKETS {
        for round in 0..rounds {
            let mut costs = [Cost::default(); 3];
            for contender in in_turn(ALL, round) {
                let mut server = Server::start(contender).await.with_context(|| format!("{contender:?}"))?;
                let cost = server.serve(sockets).await;
                costs[contender as usize] = cost.with_context(|| format!("{contender:?}"))?;
                server.end().await?;
            }
            let what = [format!("a delivery, {sockets} sockets"), format!("resident, each of {sockets} sockets")];
            for (index, (what, unit)) in what.iter().zip(["CPU µs", "KiB"]).enumerate() {
                let comparison = Comparison { what, mode, unit, ours: costs[Contender::Ours as usize][index] };
                comparison.push_ours(&mut figures);
                for peer in [Contender::Floor, Contender::Centrifuge] {
                    let reach = (index == 0).then_some(REACH[peer as usize]);
                    comparison.push_peer(&mut figures, peer.name(), costs[peer as usize][index], reach);
                }
            }
        }
    }
    Ok(figures)
}

impl Contender {
    fn name(self) -> &'static str {
        match self {
            Self::Ours => "orinoco",
            Self::Floor => "floor",
            Self::Centrifuge => peer::CENTRIFUGE.name,
        }
    }

    fn program(self) -> anyhow::Result<PathBuf> {
        match self {
            Self::Centrifuge => peer::CENTRIFUGE.program(),
            Self::Ours | Self::Floor => Ok(std::env::current_exe()?),
        }
    }

    fn protocol(self) -> Protocol {
        if self == Self::Centrifuge { Protocol::Centrifuge } else { Protocol::Plain }
    }

    /// What a socket receives before anything is published.
    fn texts_at_first(self) -> usize {
        match self {
            Self::Ours => DEVICES,
            Self::Floor => 0,
            Self::Centrifuge => 1,
        }
    }
}

struct Server {
    contender: Contender,
    running: Running,
    published: usize,
}

enum Running {
    Ours { daemon: Daemon, mover: Mover, _world: World },
    Peer { program: Program, address: String, lines: TcpStream, _folder: TempDir },
}

impl Server {
    async fn start(contender: Contender) -> anyhow::Result<Self> {
        let running = match contender {
            Contender::Ours => {
                let world = World::new(Mode::Embedded).await?;
                let daemon = world.spawn_ready(&NO_PINGS).await?;
                let mover = Mover::begin(&world.broker_address(&daemon)).await?;
                wait_for_counter(&daemon, "orinoco_frames_total", DEVICES).await?;
                Running::Ours { daemon, mover, _world: world }
            }
            Contender::Floor | Contender::Centrifuge => {
                let folder = TempDir::new()?;
                let address = format!("127.0.0.1:{}", free_port()?);
                let lines = format!("127.0.0.1:{}", free_port()?);
                let flag: &[&str] = if contender == Contender::Floor { &["--floor"] } else { &[] };
                let arguments = [flag, &[&address, &lines]].concat();
                let program = Program::spawn(&contender.program()?, &arguments, &[], folder.path())?;
                let is_open = async || TcpStream::connect(&address).await.ok().map(drop);
                program.wait_for("an open port", DEADLINE, is_open).await?;
                let connect = async || TcpStream::connect(&lines).await.ok();
                let lines = program.wait_for("a port for lines", DEADLINE, connect).await?;
                lines.set_nodelay(true)?;
                Running::Peer { program, address, lines, _folder: folder }
            }
        };
        Ok(Self { contender, running, published: 0 })
    }

    async fn serve(&mut self, sockets: usize) -> anyhow::Result<Cost> {
        // What its start left to do is done.
        tokio::time::sleep(SETTLE).await;
        let before = self.usage()?;
        let crowd = Crowd::open_with(self.contender.protocol(), self.address(), sockets).await?;
        let mut texts = sockets * self.contender.texts_at_first();
        crowd.wait_for_texts(texts, DEADLINE).await?;
        tokio::time::sleep(SETTLE).await;
        let idle = self.usage()?;
        let messages_per_second = DELIVERIES_PER_SECOND / sockets;
        let mut ticks = interval(Duration::from_secs(1) / u32::try_from(messages_per_second)?);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let messages = messages_per_second * ROUND_S;
        for _ in 0..messages {
            ticks.tick().await;
            self.publish().await?;
        }
        let deliveries = messages * sockets;
        texts += deliveries;
        crowd.wait_for_texts(texts, DEADLINE).await?;
        let each_us = (self.usage()?.cpu_seconds - idle.cpu_seconds) * 1e6 / deliveries as f64;
        if let Running::Ours { daemon, .. } = &self.running {
            let conflated = counter(daemon, "orinoco_frames_conflated_total").await?;
            ensure!(conflated == 0.0, "{conflated} frames were conflated");
        }
        Ok([each_us, (idle.rss_bytes as f64 - before.rss_bytes as f64) / sockets as f64 / KIB])
    }

    fn address(&self) -> &str {
        match &self.running {
            Running::Ours { daemon, .. } => daemon.ws_address(),
            Running::Peer { address, .. } => address,
        }
    }

    fn usage(&self) -> anyhow::Result<ProcessUsage> {
        match &self.running {
            Running::Ours { daemon, .. } => daemon.usage(),
            Running::Peer { program, .. } => program.usage(),
        }
    }

    async fn publish(&mut self) -> anyhow::Result<()> {
        self.published += 1;
        match &mut self.running {
            Running::Ours { mover, .. } => mover.step().await,
            Running::Peer { lines, .. } => {
                lines.write_all(frame(self.published).as_bytes()).await.context("the peer is gone")
            }
        }
    }

    async fn end(self) -> anyhow::Result<()> {
        match self.running {
            Running::Ours { daemon, .. } => daemon.terminate().await.map(drop),
            Running::Peer { program, .. } => program.terminate().await.map(drop),
        }
    }
}

/// Of the daemon's form and length.
fn frame(number: usize) -> String {
    let device = number % DEVICES;
    format!(
        r#"{{"coordX":{number}.25,"coordY":{number}.25,"timestamp":"2026-01-02T03:04:05.678Z","source":"coordX","device":"move-{device}","offset":{number},"epoch":"0123456789abcdef"}}"#
    ) + "\n"
}
