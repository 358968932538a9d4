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

pub(crate) async fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for mode in Mode::BOTH {
        let world = World::new(mode).await?;
        let mut warming_up = Vec::new();
        fill(&world, mode, WARM_UP_MESSAGES, &mut warming_up).await?;
        work_off(&world, mode, flood_size(WARM_UP_MESSAGES), &mut warming_up).await?;
        for _ in 0..rounds {
            fill(&world, mode, MESSAGES, &mut figures).await?;
            work_off(&world, mode, flood_size(MESSAGES), &mut figures).await?;
        }
    }
    Ok(figures)
}

/// MQTT to Kafka.
async fn fill(world: &World, mode: Mode, messages: usize, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    let nobody = format!("redis://127.0.0.1:{}", free_port()?);
    let daemon = world.spawn(&[("redis_ws.backend", "service"), ("redis_ws.url", &nobody)])?;
    let broker: &[&str] = if mode == Mode::Embedded { &["broker"] } else { &[] };
    wait_for_components(&daemon, &[&["leases", "journal", "mqtt", "producer", "http"], broker].concat()).await?;
    let idle_ms_per_second = idle(&daemon).await?;
    let (stretch, started) = (Stretch::begin(world, &daemon)?, Instant::now());
    flood(&world.broker_address(&daemon), messages).await?;
    let count = flood_size(messages);
    wait_for_counter(&daemon, "orinoco_records_produced_total", count).await?;
    let rate = count as f64 / started.elapsed().as_secs_f64();
    let (what, log) = match mode {
        Mode::Embedded => ("MQTT -> log", "MQTT -> log, rate"),
        Mode::Services => ("MQTT -> Kafka", "MQTT -> Kafka, rate"),
    };
    push_per_million(figures, what, mode.name(), &stretch.end(world, &daemon)?, (count, &["Redis"]));
    push(figures, Figure::new(log, mode.name(), "messages/s (wall)"), rate);
    push(figures, Figure::new("idle, Redis away", mode.name(), "CPU ms/s"), idle_ms_per_second);
    daemon.terminate().await?;
    Ok(())
}

/// Kafka to Redis.
async fn work_off(world: &World, mode: Mode, count: usize, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    let started = Instant::now();
    let daemon = world.spawn(&[])?;
    let stretch = Stretch::since_start(world, &daemon)?;
    wait_for_counter(&daemon, "orinoco_records_applied_total", count).await?;
    let rate = count as f64 / started.elapsed().as_secs_f64();
    let (what, store) = match mode {
        Mode::Embedded => ("log -> store", "log -> store, rate"),
        Mode::Services => ("Kafka -> Redis", "Kafka -> Redis, rate"),
    };
    push_per_million(figures, what, mode.name(), &stretch.end(world, &daemon)?, (count, &["mosquitto"]));
    push(figures, Figure::new(store, mode.name(), "messages/s (wall)"), rate);
    daemon.terminate().await?;
    Ok(())
}

/// Processor milliseconds a second without load.
async fn idle(daemon: &Daemon) -> anyhow::Result<f64> {
    let (before, started) = (daemon.cpu_seconds()?, Instant::now());
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    Ok((daemon.cpu_seconds()? - before) * 1e3 / started.elapsed().as_secs_f64())
}
