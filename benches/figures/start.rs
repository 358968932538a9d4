//! From `orinoco serve` to ready, and what a daemon without clients holds.

use std::time::{Duration, Instant};

use anyhow::ensure;
use orinoco_testkit::Daemon;

use super::{
    figure::Figure,
    usage::push,
    world::{DEADLINE, Mode, World},
};

pub(crate) const ABOUT: &str = "The release binary is started on an empty data directory (services: on running servers, with a migrated \
    database after the first round) and `/readyz` is asked each millisecond until it answers 200. Memory is read two seconds later, \
    without any client.";

const ASK_EVERY: Duration = Duration::from_millis(1);
const SETTLE: Duration = Duration::from_secs(2);
const MIB: f64 = 1_048_576.0;

pub(crate) async fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for mode in Mode::BOTH {
        let world = World::new(mode).await?;
        for _ in 0..rounds {
            world.empty_data_dir()?;
            round(&world, mode, &mut figures).await?;
        }
    }
    Ok(figures)
}

async fn round(world: &World, mode: Mode, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    let started = Instant::now();
    let daemon = world.spawn(&[])?;
    wait_closely(&daemon, started).await?;
    let ready_ms = started.elapsed().as_secs_f64() * 1e3;
    tokio::time::sleep(SETTLE).await;
    let rss_bytes = daemon.rss_bytes()?;
    let start = Figure::new("start to ready", mode.name(), "ms");
    push(figures, if mode == Mode::Embedded { start.reach(1_000.0) } else { start }, ready_ms);
    push(figures, Figure::new("resident, idle", mode.name(), "MiB"), rss_bytes as f64 / MIB);
    daemon.terminate().await?;
    Ok(())
}

async fn wait_closely(daemon: &Daemon, started: Instant) -> anyhow::Result<()> {
    while !daemon.get("/readyz").await.is_ok_and(|answer| answer.status == 200) {
        ensure!(started.elapsed() < DEADLINE, "not ready after {DEADLINE:?}; its output:\n{}", daemon.stderr()?);
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(())
}
