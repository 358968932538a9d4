//! Kafka to Redis: the daemon beside a consumer in Python.

use std::time::Duration;

use anyhow::Context;
use orinoco_testkit::Program;
use tempfile::TempDir;

use super::{
    backlog::{fill, work_off},
    device::flood_size,
    figure::Figure,
    peer::{self, Comparison, in_turn},
    world::{Mode, Services, World},
};

pub(crate) const ABOUT: &str = "The daemon works off a backlog of 200,000 records as in `backlog` (services mode), and so does a consumer in Python \
    (benches/peers/python: confluent-kafka, redis-py with its parser in C), of the same topics into the same Redis: an HSET of the \
    axis and a PUBLISH of the frame for each record. One by one it waits for the answer to each command; pipelined, a round trip carries \
    the commands of what `consume()` yields, 500 records at most. Both commit their offsets after. The daemon does more with a record: it joins \
    the axes, keeps a history, and applies all that and the offset at once, by a script that refuses a former owner. From the start of each \
    process until all is applied, in turn, and who is first changes with each round.";

const MESSAGES: usize = 200_000;
const WARM_UP_MESSAGES: usize = 20_000;
/// One by one, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    Ours,
    OneByOne,
    Pipelined,
}

const ALL: [Contender; 3] = [Contender::Ours, Contender::OneByOne, Contender::Pipelined];

/// Processor seconds a million of the client, and of Redis.
type Cost = [f64; 2];

pub(crate) async fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let (mut figures, mode) = (Vec::new(), Mode::Services.name());
    let world = World::new(Mode::Services).await?;
    // Each consumer group then begins where the daemon does.
    pass(&world, WARM_UP_MESSAGES, 0).await?;
    for round in 0..rounds {
        let [ours, one_by_one, pipelined] = pass(&world, MESSAGES, round).await?;
        let comparison = |what, ours| Comparison { what, mode, unit: "CPU s / million", ours };
        let client = comparison("Kafka -> Redis, client", ours[0]);
        client.push_ours(&mut figures);
        client.push_peer(&mut figures, "Python one by one", one_by_one[0], Some(0.1));
        client.push_peer(&mut figures, "Python pipelined", pipelined[0], Some(0.4));
        let redis = comparison("Kafka -> Redis, Redis", ours[1]);
        redis.push_ours(&mut figures);
        redis.push_peer(&mut figures, "Python one by one", one_by_one[1], None);
        redis.push_peer(&mut figures, "Python pipelined", pipelined[1], Some(2.0));
    }
    Ok(figures)
}

/// Costs in the order of [`ALL`].
async fn pass(world: &World, messages: usize, round: usize) -> anyhow::Result<[Cost; 3]> {
    fill(world, messages).await?;
    let services = world.services.as_ref().context("it needs services")?;
    let mut costs = [Cost::default(); 3];
    for contender in in_turn(ALL, round) {
        costs[contender as usize] = match contender {
            Contender::Ours => {
                let pass = work_off(world, flood_size(messages)).await?;
                [pass.per_million("daemon"), pass.per_million("Redis")]
            }
            Contender::OneByOne => consume(services, "one-by-one", flood_size(messages)).await?,
            Contender::Pipelined => consume(services, "pipelined", flood_size(messages)).await?,
        };
    }
    Ok(costs)
}

async fn consume(services: &Services, manner: &str, count: usize) -> anyhow::Result<Cost> {
    let folder = TempDir::new()?;
    let (script, records) = (peer::source("python/consumer.py"), count.to_string());
    let script = script.to_str().context("a path that is not UTF-8")?;
    let redis_before = services.redis_ws.usage()?.cpu_seconds;
    // A group for each manner: both read all.
    let arguments = [script, services.kafka.url(), services.redis_ws.url(), manner, &records, manner];
    let consumer = Program::spawn(&peer::PYTHON.program()?, &arguments, &[], folder.path())?;
    let applied = consumer.wait_for_output("applied ", DEADLINE).await?;
    anyhow::ensure!(applied == records, "it applied {applied} records in place of {records}");
    let seconds = [consumer.usage()?.cpu_seconds, services.redis_ws.usage()?.cpu_seconds - redis_before];
    consumer.terminate().await?;
    Ok(seconds.map(|seconds| seconds * 1e6 / count as f64))
}
