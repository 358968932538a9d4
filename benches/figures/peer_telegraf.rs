//! MQTT to Kafka: the daemon beside Telegraf.

use std::time::Duration;

use anyhow::{Context, ensure};
use orinoco_testkit::{Kafka, Mosquitto, Program, poll_until};
use tempfile::TempDir;

use super::{
    backlog::fill,
    device::{flood, flood_size},
    figure::Figure,
    peer::{self, Comparison, in_turn},
    world::{DEADLINE, Mode, World},
};

pub(crate) const ABOUT: &str = "400,000 messages at QoS 1 through mosquitto to Kafka as in `backlog` (services mode), by the daemon and by Telegraf \
    (benches/peers/telegraf: inputs.mqtt_consumer with a persistent session, which acknowledges what Kafka has; outputs.kafka, \
    acks of all; the payload is passed on as it is, keyed by device). Each has a mosquitto and a Kafka of its own; both are warm, and Telegraf runs \
    on over the rounds. In turn, and who is first changes with each round. The daemon writes each message to its journal before it acknowledges it.";

const MESSAGES: usize = 400_000;
const WARM_UP_MESSAGES: usize = 40_000;
const TOPICS: [&str; 2] = ["coordX", "coordY"];
/// As many as the daemon makes.
const PARTITIONS: i32 = 4;
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Telegraf with servers of its own.
struct Bridge {
    mosquitto: Mosquitto,
    kafka: Kafka,
    telegraf: Program,
    // Last: the process is gone when its files go.
    _folder: TempDir,
}

/// Processor seconds a million of the bridge, of mosquitto and of Kafka.
type Cost = [f64; 3];

pub(crate) async fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let (mut figures, mode) = (Vec::new(), Mode::Services.name());
    let world = World::new(Mode::Services).await?;
    let bridge = Bridge::start().await?;
    carry(&world, WARM_UP_MESSAGES).await?;
    bridge.carry(WARM_UP_MESSAGES).await?;
    for round in 0..rounds {
        let mut costs = [Cost::default(); 2];
        for contender in in_turn([0, 1], round) {
            costs[contender] = match contender {
                0 => carry(&world, MESSAGES).await?,
                _ => bridge.carry(MESSAGES).await?,
            };
        }
        let [ours, theirs] = costs;
        for (index, (process, reach)) in
            [("bridge", Some(0.4)), ("mosquitto", None), ("Kafka", None)].into_iter().enumerate()
        {
            let what = format!("MQTT -> Kafka, {process}");
            let comparison = Comparison { what: &what, mode, unit: "CPU s / million", ours: ours[index] };
            comparison.push_ours(&mut figures);
            comparison.push_peer(&mut figures, peer::TELEGRAF.name, theirs[index], reach);
        }
    }
    Ok(figures)
}

/// By the daemon.
async fn carry(world: &World, messages: usize) -> anyhow::Result<Cost> {
    let (pass, _) = fill(world, messages).await?;
    Ok(["daemon", "mosquitto", "Kafka"].map(|process| pass.per_million(process)))
}

impl Bridge {
    async fn start() -> anyhow::Result<Self> {
        let (mosquitto, kafka) = (Mosquitto::start().await?, Kafka::start().await?);
        for topic in TOPICS {
            kafka.address().create_topic(topic, PARTITIONS).await?;
        }
        let topics = TOPICS.map(str::to_owned);
        poll_until(DEADLINE, "leaders of the topics", async || {
            kafka.address().has_leaders(&topics).await.is_ok_and(|known| known).then_some(())
        })
        .await?;
        let folder = TempDir::new()?;
        let configuration = peer::source("telegraf/telegraf.conf");
        let configuration = configuration.to_str().context("a path that is not UTF-8")?;
        let environment =
            [("MQTT_ADDRESS", mosquitto.address().host_and_port()), ("KAFKA_BROKERS", kafka.address().brokers())];
        let program = peer::TELEGRAF.program()?;
        let telegraf = Program::spawn(&program, &["--config", configuration], &environment, folder.path())?;
        telegraf.wait_for_output("[inputs.mqtt_consumer] Connected", DEADLINE).await?;
        Ok(Self { mosquitto, kafka, telegraf, _folder: folder })
    }

    async fn carry(&self, messages: usize) -> anyhow::Result<Cost> {
        let (before, records) = (self.seconds()?, self.records().await?);
        flood(self.mosquitto.address().host_and_port(), messages).await?;
        let count = flood_size(messages);
        let wanted = records + i64::try_from(count)?;
        let what = format!("{count} records");
        let come = self.telegraf.wait_for(&what, DEADLINE, async || {
            // Each look costs Kafka eight requests.
            tokio::time::sleep(LOOK_EVERY).await;
            self.records().await.ok().filter(|records| *records >= wanted)
        });
        let come = come.await.with_context(|| format!("{count} messages were published"))?;
        ensure!(come == wanted, "Telegraf made {} records of {count} messages", come - records);
        let after = self.seconds()?;
        Ok([0, 1, 2].map(|index| (after[index] - before[index]) * 1e6 / count as f64))
    }

    /// Processor seconds so far.
    fn seconds(&self) -> anyhow::Result<Cost> {
        let usages = [self.telegraf.usage()?, self.mosquitto.usage()?, self.kafka.usage()?];
        Ok(usages.map(|usage| usage.cpu_seconds))
    }

    async fn records(&self) -> anyhow::Result<i64> {
        let mut records = 0;
        for topic in TOPICS {
            for partition in 0..PARTITIONS {
                records += self.kafka.address().end_offset(topic, partition).await?;
            }
        }
        Ok(records)
    }
}
