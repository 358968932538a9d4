//! The list of what is measured.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::{backlog, challenges, fan_out, figure::Figure, idle, latency, start, tree};

/// For one experiment; all together take some ten minutes on two cores.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(900);

pub(crate) struct Experiment {
    pub(crate) name: &'static str,
    /// What it shows, in a line.
    pub(crate) title: &'static str,
    /// How it is measured, for docs/performance.md.
    pub(crate) about: &'static str,
    /// By the number of rounds.
    pub(crate) run: fn(usize) -> LocalBoxFuture<'static, anyhow::Result<Vec<Figure>>>,
}

pub(crate) const EXPERIMENTS: [Experiment; 7] = [
    Experiment {
        name: "start",
        title: "start to ready, and an idle daemon",
        about: start::ABOUT,
        run: |rounds| Box::pin(start::run(rounds)),
    },
    Experiment {
        name: "idle-sockets",
        title: "memory of an idle WebSocket",
        about: idle::ABOUT,
        run: |rounds| Box::pin(idle::run(rounds)),
    },
    Experiment {
        name: "fan-out",
        title: "processor time of a delivery",
        about: fan_out::ABOUT,
        run: |rounds| Box::pin(fan_out::run(rounds)),
    },
    Experiment {
        name: "latency",
        title: "device to browser at 1,000 messages/s",
        about: latency::ABOUT,
        run: |rounds| Box::pin(latency::run(rounds)),
    },
    Experiment {
        name: "challenges",
        title: "100,000 live QR challenges",
        about: challenges::ABOUT,
        run: |rounds| Box::pin(challenges::run(rounds)),
    },
    Experiment {
        name: "tree",
        title: "looking at 20,000 actors",
        about: tree::ABOUT,
        run: |rounds| Box::pin(tree::run(rounds)),
    },
    Experiment {
        name: "backlog",
        title: "MQTT to Kafka, and Kafka to Redis, at full speed",
        about: backlog::ABOUT,
        run: |rounds| Box::pin(backlog::run(rounds)),
    },
];
