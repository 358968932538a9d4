//! The list of what is measured.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::{
    backlog, challenges, fan_out,
    figure::Figure,
    idle, latency,
    peer::{self, Peer},
    peer_fan_out::{self, Contender},
    peer_python, peer_telegraf, start, tree,
};

/// For one experiment; all together take some ten minutes on two cores.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(900);

pub(crate) struct Experiment {
    pub(crate) name: &'static str,
    /// What it shows, in a line.
    pub(crate) title: &'static str,
    /// How it is measured, for docs/performance.md.
    pub(crate) about: &'static str,
    /// Which other programs take part; it fails where one of them is not installed.
    pub(crate) peers: &'static [&'static Peer],
    /// By the number of rounds.
    pub(crate) run: fn(usize) -> LocalBoxFuture<'static, anyhow::Result<Vec<Figure>>>,
}

pub(crate) const EXPERIMENTS: [Experiment; 12] = [
    Experiment {
        name: "start",
        title: "start to ready, and an idle daemon",
        about: start::ABOUT,
        peers: &[],
        run: |rounds| Box::pin(start::run(rounds)),
    },
    Experiment {
        name: "idle-sockets",
        title: "memory of an idle WebSocket",
        about: idle::ABOUT,
        peers: &[],
        run: |rounds| Box::pin(idle::run(rounds)),
    },
    Experiment {
        name: "fan-out",
        title: "processor time of a delivery",
        about: fan_out::ABOUT,
        peers: &[],
        run: |rounds| Box::pin(fan_out::run(rounds)),
    },
    Experiment {
        name: "latency",
        title: "device to browser at 1,000 messages/s",
        about: latency::ABOUT,
        peers: &[],
        run: |rounds| Box::pin(latency::run(rounds)),
    },
    Experiment {
        name: "challenges",
        title: "100,000 live QR challenges",
        about: challenges::ABOUT,
        peers: &[],
        run: |rounds| Box::pin(challenges::run(rounds)),
    },
    Experiment {
        name: "tree",
        title: "looking at 20,000 actors",
        about: tree::ABOUT,
        peers: &[],
        run: |rounds| Box::pin(tree::run(rounds)),
    },
    Experiment {
        name: "backlog",
        title: "MQTT to Kafka, and Kafka to Redis, at full speed",
        about: backlog::ABOUT,
        peers: &[],
        run: |rounds| Box::pin(backlog::run(rounds)),
    },
    Experiment {
        name: "peer-python",
        title: "Kafka to Redis, beside a consumer in Python",
        about: peer_python::ABOUT,
        peers: &[&peer::PYTHON],
        run: |rounds| Box::pin(peer_python::run(rounds)),
    },
    Experiment {
        name: "peer-telegraf",
        title: "MQTT to Kafka, beside Telegraf",
        about: peer_telegraf::ABOUT,
        peers: &[&peer::TELEGRAF],
        run: |rounds| Box::pin(peer_telegraf::run(rounds)),
    },
    Experiment {
        name: "peer-floor",
        title: "a delivery and an idle socket, beside a bare server",
        about: peer_fan_out::ABOUT_FLOOR,
        peers: &[],
        run: |rounds| Box::pin(peer_fan_out::run(Contender::Floor, rounds)),
    },
    Experiment {
        name: "peer-centrifuge",
        title: "a delivery and an idle socket, beside the centrifuge library",
        about: peer_fan_out::ABOUT_CENTRIFUGE,
        peers: &[&peer::CENTRIFUGE],
        run: |rounds| Box::pin(peer_fan_out::run(Contender::Centrifuge, rounds)),
    },
    Experiment {
        name: "peer-spring",
        title: "a delivery and an idle socket, beside Spring Boot",
        about: peer_fan_out::ABOUT_SPRING,
        peers: &[&peer::SPRING],
        run: |rounds| Box::pin(peer_fan_out::run(Contender::Spring, rounds)),
    },
];
