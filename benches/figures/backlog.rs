//! What each half costs at its full speed: MQTT to Kafka, and Kafka to Redis.

use std::time::Instant;

use orinoco_testkit::{Daemon, free_port};

use super::{
    device::{flood, flood_size},
    figure::Figure,
    usage::{Stretch, push, push_per_million},
    world::{Mode, World, wait_for_components, wait_for_counter},
};

pub(crate) const ABOUT: &str = "MQTT -> Kafka (embedded: the broker inside -> the embedded log): the daemon's Redis is away (it is given a \
    port where nobody listens), so that nothing is consumed; four connections with 200 messages in flight each publish 400,000 at \
    QoS 1, and the time counts until Kafka has acknowledged all. What its tries to reach Redis cost is in it; it is measured before, \
    without load, and shown. Kafka -> Redis (embedded: log -> embedded store): a new daemon on the same data directory, with its Redis, \
    works off those 400,000; from its start until all are applied, its start included. Nobody watches.";

const MESSAGES: usize = 400_000;
/// Kafka's compiler and the file cache are warm then.
const WARM_UP_MESSAGES: usize = 40_000;

/// One half of the way, taken by a backlog.
pub(crate) struct Pass {
    /// Processor seconds, by process.
    pub(crate) spent: Vec<(&'static str, f64)>,
    /// Messages.
    pub(crate) count: usize,
    /// Messages a second, by the wall clock.
    rate: f64,
}

impl Pass {
    /// What a process spent.
    pub(crate) fn per_million(&self, process: &str) -> f64 {
        let seconds: f64 = self.spent.iter().filter(|(name, _)| *name == process).map(|(_, seconds)| seconds).sum();
        seconds * 1e6 / self.count as f64
    }
}

pub(crate) async fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for mode in Mode::BOTH {
        let world = World::new(mode).await?;
        fill(&world, WARM_UP_MESSAGES).await?;
        work_off(&world, flood_size(WARM_UP_MESSAGES)).await?;
        for _ in 0..rounds {
            let [in_what, out_what] = match mode {
                Mode::Embedded => ["MQTT -> log", "log -> store"],
                Mode::Services => ["MQTT -> Kafka", "Kafka -> Redis"],
            };
            let (pass, idle_ms_per_second) = fill(&world, MESSAGES).await?;
            push_per_million(&mut figures, in_what, mode.name(), &pass.spent, (pass.count, &["Redis"]));
            let rate = |what: &str| Figure::new(format!("{what}, rate"), mode.name(), "messages/s (wall)");
            push(&mut figures, rate(in_what), pass.rate);
            push(&mut figures, Figure::new("idle, Redis away", mode.name(), "CPU ms/s"), idle_ms_per_second);
            let pass = work_off(&world, pass.count).await?;
            push_per_million(&mut figures, out_what, mode.name(), &pass.spent, (pass.count, &["mosquitto"]));
            push(&mut figures, rate(out_what), pass.rate);
        }
    }
    Ok(figures)
}

/// MQTT to Kafka; and what the daemon spends without load, CPU ms/s.
pub(crate) async fn fill(world: &World, messages: usize) -> anyhow::Result<(Pass, f64)> {
    let nobody = format!("redis://127.0.0.1:{}", free_port()?);
    let daemon = world.spawn(&[("redis_ws.backend", "service"), ("redis_ws.url", &nobody)])?;
    let broker: &[&str] = if world.services.is_none() { &["broker"] } else { &[] };
    wait_for_components(&daemon, &[&["leases", "journal", "mqtt", "producer", "http"], broker].concat()).await?;
    let idle_ms_per_second = idle(&daemon).await?;
    let (stretch, started) = (Stretch::begin(world, &daemon)?, Instant::now());
    flood(&world.broker_address(&daemon), messages).await?;
    let count = flood_size(messages);
    wait_for_counter(&daemon, "orinoco_records_produced_total", count).await?;
    let rate = count as f64 / started.elapsed().as_secs_f64();
    let spent = stretch.end(world, &daemon)?;
    daemon.terminate().await?;
    Ok((Pass { spent, count, rate }, idle_ms_per_second))
}

/// Kafka to Redis.
pub(crate) async fn work_off(world: &World, count: usize) -> anyhow::Result<Pass> {
    let started = Instant::now();
    let daemon = world.spawn(&[])?;
    let stretch = Stretch::since_start(world, &daemon)?;
    wait_for_counter(&daemon, "orinoco_records_applied_total", count).await?;
    let rate = count as f64 / started.elapsed().as_secs_f64();
    let spent = stretch.end(world, &daemon)?;
    daemon.terminate().await?;
    Ok(Pass { spent, count, rate })
}

/// Processor milliseconds a second without load.
async fn idle(daemon: &Daemon) -> anyhow::Result<f64> {
    let (before, started) = (daemon.cpu_seconds()?, Instant::now());
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    Ok((daemon.cpu_seconds()? - before) * 1e3 / started.elapsed().as_secs_f64())
}
