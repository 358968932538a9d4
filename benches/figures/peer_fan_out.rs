//! A delivery and an idle socket: the daemon beside other servers of WebSockets.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

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
    world::{DEADLINE, Mode, World, wait_for_counter},
};

macro_rules! about {
    ($peer:literal) => {
        concat!(
            "The daemon in embedded mode as in `idle-sockets` and `fan-out`: from the publication of a device to 1,000 or 10,000 plain WebSockets, as \
            many as make 20,000 deliveries a second, for ten seconds after five of warming up; and beside it, in turn, a server that is given \
            each frame by a line on a TCP connection, and so has no part in MQTT, log, joining of axes, history and order. Both are started \
            anew in each round, and who is first changes. Each frame reached each socket. Resident bytes of a socket: those three seconds \
            after the last was opened, less those before the first, by their number. The peer: ",
            $peer
        )
    };
}

pub(crate) const ABOUT_FLOOR: &str = about!(
    "a tokio task a socket, which writes from one broadcast channel a frame that was encoded once (benches/figures/floor.rs)."
);
pub(crate) const ABOUT_CENTRIFUGE: &str = about!(
    "the Go library (benches/peers/centrifuge) with one channel, to which the server subscribes each connection; JSON protocol, pool of write \
    buffers, no pings."
);
pub(crate) const ABOUT_SPRING: &str = about!(
    "Spring Boot (benches/peers/spring) with its embedded Tomcat; a map of sessions, each behind the decorator that its manual advises, heap of \
    1 GiB at most."
);

const SOCKETS: [usize; 2] = [1_000, 10_000];
const WARM_UP_S: usize = 5;
const SETTLE: Duration = Duration::from_secs(3);
const KIB: f64 = 1_024.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    Ours,
    Floor,
    Centrifuge,
    Spring,
}

/// Of a delivery, microseconds of processor time; of an idle socket, KiB.
type Cost = [f64; 2];

pub(crate) async fn run(peer: Contender, rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let (mut figures, mode) = (Vec::new(), Mode::Embedded.name());
    for sockets in SOCKETS {
        for round in 0..rounds {
            let (mut ours, mut theirs) = (Cost::default(), Cost::default());
            for contender in in_turn([Contender::Ours, peer], round) {
                let mut server = Server::start(contender).await.with_context(|| contender.name())?;
                let cost = server.serve(sockets).await.with_context(|| contender.name())?;
                *(if contender == Contender::Ours { &mut ours } else { &mut theirs }) = cost;
                server.end().await?;
            }
            let delivery = format!("a delivery, {sockets} sockets");
            let comparison = Comparison { what: &delivery, mode, unit: "CPU µs", ours: ours[0] };
            comparison.push_ours(&mut figures);
            comparison.push_peer(&mut figures, peer.name(), theirs[0], peer.reach());
            let resident = format!("resident, each of {sockets} sockets");
            let comparison = Comparison { what: &resident, mode, unit: "KiB", ours: ours[1] };
            comparison.push_ours(&mut figures);
            comparison.push_peer(&mut figures, peer.name(), theirs[1], None);
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
            Self::Spring => peer::SPRING.name,
        }
    }

    /// Of the issue: what a delivery by the daemon may cost of this one's.
    fn reach(self) -> Option<f64> {
        match self {
            Self::Ours => None,
            Self::Floor => Some(1.2),
            Self::Centrifuge | Self::Spring => Some(1.0),
        }
    }

    /// Started so, it takes sockets and lines at two ports of the loopback address.
    fn spawn(self, sockets: u16, lines: u16, folder: &Path) -> anyhow::Result<Program> {
        let [sockets_at, lines_at] = [sockets, lines].map(|port| format!("127.0.0.1:{port}"));
        let (program, arguments) = match self {
            Self::Centrifuge => (peer::CENTRIFUGE.program()?, vec![sockets_at, lines_at]),
            Self::Ours | Self::Floor => (std::env::current_exe()?, vec!["--floor".to_owned(), sockets_at, lines_at]),
            Self::Spring => {
                let jar = peer::SPRING.program()?.display().to_string();
                // Tomcat's default is 8,192 connections.
                let settings = [
                    "--server.address=127.0.0.1",
                    &format!("--server.port={sockets}"),
                    &format!("--lines.port={lines}"),
                    "--server.tomcat.max-connections=20000",
                    "--spring.main.banner-mode=off",
                ];
                let arguments = ["-Xmx1g", "-jar", &jar].into_iter().chain(settings).map(str::to_owned).collect();
                (PathBuf::from("java"), arguments)
            }
        };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Program::spawn(&program, &arguments, &[], folder)
    }

    fn protocol(self) -> Protocol {
        if self == Self::Centrifuge { Protocol::Centrifuge } else { Protocol::Plain }
    }

    /// What a socket receives before anything is published.
    fn texts_at_first(self) -> usize {
        match self {
            Self::Ours => DEVICES,
            Self::Floor | Self::Spring => 0,
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
    Ours(Box<Ours>),
    Peer { program: Box<Program>, address: String, lines: TcpStream, _folder: TempDir },
}

struct Ours {
    daemon: Daemon,
    mover: Mover,
    // Last: the daemon is gone when its files go.
    _world: World,
}

impl Server {
    async fn start(contender: Contender) -> anyhow::Result<Self> {
        let running = match contender {
            Contender::Ours => {
                let world = World::new(Mode::Embedded).await?;
                let daemon = world.spawn_ready(&NO_PINGS).await?;
                let mover = Mover::begin(&world.broker_address(&daemon)).await?;
                wait_for_counter(&daemon, "orinoco_frames_total", DEVICES).await?;
                Running::Ours(Box::new(Ours { daemon, mover, _world: world }))
            }
            Contender::Floor | Contender::Centrifuge | Contender::Spring => {
                let folder = TempDir::new()?;
                let (port, lines_port) = (free_port()?, free_port()?);
                let (address, lines) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{lines_port}"));
                let program = contender.spawn(port, lines_port, folder.path())?;
                let is_open = async || TcpStream::connect(&address).await.ok().map(drop);
                program.wait_for("an open port", DEADLINE, is_open).await?;
                let connect = async || TcpStream::connect(&lines).await.ok();
                let lines = program.wait_for("a port for lines", DEADLINE, connect).await?;
                lines.set_nodelay(true)?;
                Running::Peer { program: Box::new(program), address, lines, _folder: folder }
            }
        };
        Ok(Self { contender, running, published: 0 })
    }

    async fn serve(&mut self, sockets: usize) -> anyhow::Result<Cost> {
        // What its start left to do is done.
        tokio::time::sleep(SETTLE).await;
        let before = self.usage()?;
        let crowd = Crowd::open_with(self.contender.protocol(), self.address(), sockets).await?;
        let (mut each_us, mut texts) = (0.0, sockets * self.contender.texts_at_first());
        crowd.wait_for_texts(texts, DEADLINE).await?;
        tokio::time::sleep(SETTLE).await;
        let idle = self.usage()?;
        for (seconds, is_measured) in [(WARM_UP_S, false), (ROUND_S, true)] {
            let begun = self.usage()?.cpu_seconds;
            let deliveries = self.publish_steadily(seconds, sockets).await?;
            texts += deliveries;
            crowd.wait_for_texts(texts, DEADLINE).await?;
            if is_measured {
                each_us = (self.usage()?.cpu_seconds - begun) * 1e6 / deliveries as f64;
            }
        }
        if let Running::Ours(ours) = &self.running {
            let conflated = ours.daemon.counter("orinoco_frames_conflated_total").await?;
            ensure!(conflated == 0.0, "{conflated} frames were conflated");
        }
        Ok([each_us, (idle.rss_bytes as f64 - before.rss_bytes as f64) / sockets as f64 / KIB])
    }

    /// How many deliveries that makes.
    async fn publish_steadily(&mut self, seconds: usize, sockets: usize) -> anyhow::Result<usize> {
        let messages_per_second = DELIVERIES_PER_SECOND / sockets;
        let mut ticks = interval(Duration::from_secs(1) / u32::try_from(messages_per_second)?);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let messages = messages_per_second * seconds;
        for _ in 0..messages {
            ticks.tick().await;
            self.publish().await?;
        }
        Ok(messages * sockets)
    }

    fn address(&self) -> &str {
        match &self.running {
            Running::Ours(ours) => ours.daemon.ws_address(),
            Running::Peer { address, .. } => address,
        }
    }

    fn usage(&self) -> anyhow::Result<ProcessUsage> {
        match &self.running {
            Running::Ours(ours) => ours.daemon.usage(),
            Running::Peer { program, .. } => program.usage(),
        }
    }

    async fn publish(&mut self) -> anyhow::Result<()> {
        self.published += 1;
        match &mut self.running {
            Running::Ours(ours) => ours.mover.step().await,
            Running::Peer { lines, .. } => {
                lines.write_all(frame(self.published).as_bytes()).await.context("the peer is gone")
            }
        }
    }

    async fn end(self) -> anyhow::Result<()> {
        match self.running {
            Running::Ours(ours) => ours.daemon.terminate().await.map(drop),
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
