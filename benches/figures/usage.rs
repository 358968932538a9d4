//! Processor time of the daemon and of each server apart, over a stretch of work.

use anyhow::Context;
use orinoco_testkit::Daemon;

use super::{figure::Figure, world::World};

/// Processor seconds since each process was started: the daemon first.
pub(crate) struct Stretch {
    before: Vec<(&'static str, f64)>,
}

impl Stretch {
    pub(crate) fn begin(world: &World, daemon: &Daemon) -> anyhow::Result<Self> {
        Ok(Self { before: processor_seconds(world, daemon)? })
    }

    /// From the daemon's very start.
    pub(crate) fn since_start(world: &World, daemon: &Daemon) -> anyhow::Result<Self> {
        let mut stretch = Self::begin(world, daemon)?;
        stretch.before[0].1 = 0.0;
        Ok(stretch)
    }

    /// Seconds spent since, by process.
    pub(crate) fn end(self, world: &World, daemon: &Daemon) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let after = processor_seconds(world, daemon)?;
        let pairs = self.before.into_iter().zip(after);
        Ok(pairs.map(|((name, before), (_, after))| (name, after - before)).collect())
    }
}

fn processor_seconds(world: &World, daemon: &Daemon) -> anyhow::Result<Vec<(&'static str, f64)>> {
    let mut seconds = vec![("daemon", daemon.cpu_seconds().context("the daemon")?)];
    if let Some(services) = &world.services {
        seconds.push(("mosquitto", services.mosquitto.usage().context("mosquitto")?.cpu_seconds));
        seconds.push(("Kafka", services.kafka.usage().context("Kafka")?.cpu_seconds));
        seconds.push(("Redis", services.redis_ws.usage().context("Redis")?.cpu_seconds));
    }
    Ok(seconds)
}

/// Adds a round to the figures `{what}, {process}`, which are made at the first, and their sum. Servers named in `apart` have no part in the work.
pub(crate) fn push_per_million(
    figures: &mut Vec<Figure>,
    what: &str,
    mode: &'static str,
    spent: &[(&'static str, f64)],
    (count, apart): (usize, &[&str]),
) {
    let parts: Vec<_> = spent.iter().filter(|(process, _)| !apart.contains(process)).collect();
    let mut add = |process: &str, seconds: f64| {
        let name = format!("{what}, {process}");
        push(figures, Figure::new(name, mode, "CPU s / million"), seconds * 1e6 / count as f64);
    };
    for (process, seconds) in &parts {
        add(process, *seconds);
    }
    if parts.len() > 1 {
        add("all together", parts.iter().map(|(_, seconds)| seconds).sum());
    }
}

/// Adds a round to the figure of the same name and mode, or the figure where it is new.
pub(crate) fn push(figures: &mut Vec<Figure>, figure: Figure, value: f64) {
    let known = figures.iter_mut().find(|known| known.what == figure.what && known.mode == figure.mode);
    match known {
        Some(known) => known.push(value),
        None => {
            let mut figure = figure;
            figure.push(value);
            figures.push(figure);
        }
    }
}
