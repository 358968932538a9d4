//! `orinoco simulate`: devices that move, through a real MQTT client (MQTT 5.0, QoS 1).
//!
//! Either a recorded CSV file is replayed, or smooth tracks are made up from a seed. A device's messages always take the same
//! connection, so that their order is kept; what is unacknowledged when a connection breaks is sent again on the next.

mod fleet;
mod generate;
mod link;
mod plan;
mod progress;
mod replay;

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use orinoco_services::TlsOptions;
use serde::Serialize;

use super::Output;
use fleet::{Fleet, Tally};
use plan::{Pace, Planned};
use progress::Progress;

/// Flags of `orinoco simulate`.
#[derive(Debug, Clone, Args)]
pub struct SimulateArgs {
    /// Made-up devices, sim-0001 and so on; a replay has those of its file.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=DEVICES_MAX))]
    devices: u32,
    /// Messages a second, of all devices together [default: as recorded, or two a device].
    #[arg(long, value_name = "R")]
    rate: Option<NonZeroU32>,
    /// Seconds after which no more is sent [default: the end of the file, or Ctrl-C].
    #[arg(long, value_name = "S")]
    duration: Option<NonZeroU64>,
    /// A recording, with a header and the columns device,timestamp,coordX,coordY. All its devices start at once.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// How many times as fast as recorded.
    #[arg(long, value_name = "F", default_value_t = 1.0, requires = "replay", conflicts_with = "rate", value_parser = speed)]
    speed: f64,
    /// Where made-up tracks come from: the same seed, the same tracks.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// The broker [default: mqtt.url, or the embedded broker].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// For a broker at mqtts://: the PEM file of the authorities that may sign its certificate [default: mqtt.tls_ca, or those of the system].
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// One JSON object at the end: sent, acknowledged, devices, reconnections, elapsedMs.
    #[arg(long)]
    json: bool,
}

impl SimulateArgs {
    /// The devices of `orinoco serve --demo`: three, each axis once a second, until the daemon ends.
    #[must_use]
    pub(crate) fn demo() -> Self {
        let (devices, rate) = (3, NonZeroU32::new(6));
        Self { devices, rate, duration: None, replay: None, speed: 1.0, seed: 1, url: None, ca: None, json: false }
    }
}

/// Device names have four digits or more; a broker has other limits.
const DEVICES_MAX: i64 = 1_000_000;

/// What the configuration says about the broker.
#[derive(Debug, Clone)]
pub struct SimulateDefaults {
    /// `mqtt://host:port`, or `mqtts://`.
    pub url: String,
    /// For `mqtts://`.
    pub tls: TlsOptions,
    pub username: Option<String>,
    pub password: Option<String>,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    sent: u64,
    acknowledged: u64,
    devices: u64,
    reconnections: u64,
    elapsed_ms: u64,
}

/// Sends until the end of the file, the end of the duration, or Ctrl-C, and then waits for the last PUBACK.
///
/// Exit code 1 if not all was acknowledged.
///
/// # Errors
/// The file can't be used, the broker can't be reached or refused a message, or the output is closed.
pub async fn run(args: &SimulateArgs, defaults: SimulateDefaults, output: &mut Output) -> anyhow::Result<ExitCode> {
    let (planned, count, devices) = planned(args)?;
    let broker = link::Broker {
        url: args.url.clone().unwrap_or(defaults.url),
        tls: TlsOptions { ca: args.ca.clone().or(defaults.tls.ca), identity: defaults.tls.identity },
        username: defaults.username,
        password: defaults.password,
    };
    let started = Instant::now();
    let fleet = Fleet::connect(&broker, devices).await?;
    let progress = Progress::new(count, fleet.tally());
    let outcome = send(planned, &fleet, args.duration.map(|seconds| Duration::from_secs(seconds.get()))).await;
    let (tally, delivered) = fleet.finish().await;
    progress.end();
    let summary = summary(&tally, devices, started.elapsed());
    print(&summary, args.json, output)?;
    delivered.and(outcome)?;
    Ok(if summary.acknowledged == summary.sent { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

type Plan = Box<dyn Iterator<Item = Planned> + Send>;

/// What is to be sent, how much that is if it ends, and from how many devices.
fn planned(args: &SimulateArgs) -> anyhow::Result<(Plan, Option<u64>, u64)> {
    let duration = args.duration.map(|seconds| Duration::from_secs(seconds.get()));
    if let Some(path) = &args.replay {
        let pace = args.rate.map_or(Pace::Recorded { speed: args.speed }, |per_second| Pace::Even { per_second });
        let recording = replay::read(path)?;
        let (count, devices) = (recording.message_count(), recording.device_count());
        let sent = if duration.is_some() { None } else { Some(count) };
        return Ok((Box::new(recording.plan(pace)), sent, devices));
    }
    let per_second = args.rate.or(NonZeroU32::new(2 * args.devices)).context("no devices")?;
    let began = time::OffsetDateTime::now_utc();
    let count = duration.map(|duration| duration.as_secs() * u64::from(per_second.get()));
    Ok((Box::new(generate::plan(args.devices, per_second, args.seed, began)), count, u64::from(args.devices)))
}

/// Hands each message over when its time has come.
async fn send(planned: Plan, fleet: &Fleet, duration: Option<Duration>) -> anyhow::Result<()> {
    let started = tokio::time::Instant::now();
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    for message in planned {
        if duration.is_some_and(|duration| message.at >= duration) {
            break;
        }
        let hand_over = async {
            tokio::time::sleep_until(started + message.at).await;
            fleet.send(message).await
        };
        tokio::select! {
            biased;
            _ = &mut interrupted => break,
            sent = hand_over => sent?,
        }
    }
    Ok(())
}

fn summary(tally: &Tally, devices: u64, elapsed: Duration) -> Summary {
    Summary {
        sent: tally.sent(),
        acknowledged: tally.acknowledged(),
        devices,
        reconnections: tally.reconnections(),
        elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
    }
}

fn print(summary: &Summary, json: bool, output: &mut Output) -> anyhow::Result<()> {
    if json {
        return output.json(summary);
    }
    let Summary { sent, acknowledged, devices, reconnections, elapsed_ms } = summary;
    let seconds = Duration::from_millis(*elapsed_ms).as_secs_f64();
    output.line(format_args!(
        "sent {sent}, acknowledged {acknowledged}; devices {devices}, reconnections {reconnections}, {seconds:.1} s"
    ))
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed > 0.0 => Ok(speed),
        _ => Err("a speed is a number greater than 0".to_owned()),
    }
}

#[cfg(test)]
mod tests;
