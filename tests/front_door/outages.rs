//! Backends that are away for a while.

use std::time::{Duration, Instant};

use crate::support::{Load, LoadPlan, Mode, Repeats, Services, Setup, World, campaign, turn, until};

/// 30 s in a campaign.
const OUTAGE_S: u64 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    Redis,
    Kafka,
    Mqtt,
    Postgres,
}

impl Backend {
    async fn stop(self, services: &Services) {
        let stopped = match self {
            Self::Redis => services.redis.stop().await,
            Self::Kafka => services.own_kafka.as_ref().unwrap().stop().await,
            Self::Mqtt => services.mosquitto.stop().await,
            Self::Postgres => services.postgres.as_ref().unwrap().stop().await,
        };
        stopped.unwrap();
    }

    async fn kill(self, services: &Services) {
        let killed = match self {
            Self::Redis => services.redis.kill().await,
            Self::Kafka => services.own_kafka.as_ref().unwrap().kill().await,
            Self::Mqtt => services.mosquitto.kill().await,
            Self::Postgres => services.postgres.as_ref().unwrap().kill().await,
        };
        killed.unwrap();
    }

    async fn start(self, services: &Services) {
        let started = match self {
            Self::Redis => services.redis.restart().await,
            Self::Kafka => services.own_kafka.as_ref().unwrap().restart().await,
            Self::Mqtt => services.mosquitto.restart().await,
            Self::Postgres => services.postgres.as_ref().unwrap().restart().await,
        };
        started.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_away_under_load_costs_nothing_and_comes_back_by_itself() {
    let _turn = turn().await;
    let setup = Setup::default().set("stream.history_max", 1_000_000).own_kafka();
    let world = World::start(Mode::Services, setup).await;
    let services = world.services.as_ref().unwrap();
    let plan = LoadPlan { connections: 2, devices: 5, messages_per_second: 1_000 };
    let load = Load::start(&world, plan).await;
    let device = load.devices()[0].clone();
    let head = async || crate::support::latest(&world, &device).await.map(|latest| latest.offset);
    for backend in [Backend::Redis, Backend::Kafka, Backend::Mqtt, Backend::Postgres] {
        let before = until("the stream to move", &head).await;
        until("the stream to move on", async || head().await.filter(|now| *now > before + 20)).await;
        backend.stop(services).await;
        until(&format!("/readyz to say that {backend:?} is away"), async || {
            let answer = world.daemon.get("/readyz").await.ok()?;
            (answer.status == 503).then_some(())
        })
        .await;
        assert_eq!(world.get("/healthz").await.status, 200);
        tokio::time::sleep(Duration::from_secs(campaign("OUTAGE_S", OUTAGE_S))).await;
        backend.start(services).await;
        world.daemon.wait_until_ready(Duration::from_secs(60)).await.unwrap_or_else(|error| {
            panic!("{backend:?} is back, and the daemon did not notice: {error:#}");
        });
    }
    let ledger = load.stop().await;
    // Devices sent again what mosquitto had not acknowledged when it stopped.
    ledger.assert_all_came_out(&world, Repeats::OfWhatWasSentAgain).await;
}

/// What mosquitto acknowledged and had not saved when it is killed is lost with it: devices publish to the daemon's own broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_killed_under_load_costs_nothing() {
    let _turn = turn().await;
    let setup = Setup::default().set("stream.history_max", 1_000_000).own_kafka().embedded_broker();
    let world = World::start(Mode::Services, setup).await;
    let services = world.services.as_ref().unwrap();
    let load = Load::start(&world, LoadPlan { connections: 2, devices: 5, messages_per_second: 1_000 }).await;
    let device = load.devices()[0].clone();
    let head = async || crate::support::latest(&world, &device).await.map(|latest| latest.offset);
    for backend in [Backend::Redis, Backend::Kafka, Backend::Postgres] {
        let before = until("the stream to move", &head).await;
        until("the stream to move on", async || head().await.filter(|now| *now > before + 20)).await;
        backend.kill(services).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        backend.start(services).await;
        let back = Instant::now();
        let before = until("the stream to move again", &head).await;
        until("the stream to move on", async || head().await.filter(|now| *now > before + 20)).await;
        println!("{backend:?}: silent for {:?} after it was back", back.elapsed());
        world.daemon.wait_until_ready(Duration::from_secs(60)).await.unwrap();
    }
    let ledger = load.stop().await;
    ledger.assert_all_came_out(&world, Repeats::OfWhatWasSentAgain).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_journal_holds_acknowledgements_back_until_the_log_is_there_again() {
    let _turn = turn().await;
    let setup = Setup::default().set("stream.history_max", 1_000_000).set("journal.bytes_max", 1 << 20);
    let setup = setup.set("mqtt.packet_size_max", 1 << 16);
    let world = World::start(Mode::Services, setup.own_kafka().embedded_broker()).await;
    let services = world.services.as_ref().unwrap();
    let load = Load::start(&world, LoadPlan { connections: 2, devices: 5, messages_per_second: 2_000 }).await;
    let is_full = async |full: f64| (world.metric("orinoco_journal_full").await? == full).then_some(());
    let accepted = async || world.metric("orinoco_messages_accepted_total").await;
    Backend::Kafka.stop(services).await;
    until("a full journal", async || is_full(1.0).await).await;
    let acknowledged = until("the number of acknowledged messages", &accepted).await;
    assert_eq!(world.get("/readyz").await.status, 503);
    tokio::time::sleep(Duration::from_secs(campaign("OUTAGE_S", OUTAGE_S))).await;
    assert_eq!(until("the number of acknowledged messages", &accepted).await, acknowledged);
    assert!(world.metric("orinoco_journal_bytes").await.unwrap() <= f64::from(1 << 20));
    Backend::Kafka.start(services).await;
    until("room in the journal", async || is_full(0.0).await).await;
    until("more messages", async || accepted().await.filter(|now| *now > acknowledged)).await;
    world.daemon.wait_until_ready(Duration::from_secs(60)).await.unwrap();
    let ledger = load.stop().await;
    ledger.assert_all_came_out(&world, Repeats::OfWhatWasSentAgain).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_was_emptied_begins_another_epoch_and_is_filled_from_kafka() {
    let world = World::start(Mode::Services, Setup::default()).await;
    let name = orinoco_testkit::unique_name("d");
    world.device().await.move_to(&name, 1.0, 2.0).await;
    let before = until("a value", async || crate::support::latest(&world, &name).await).await;
    world.services.as_ref().unwrap().redis.address().command(0, &["FLUSHALL"]).await.unwrap();
    // The writer finds out with its next batch.
    let device = world.device().await;
    device.publish(&format!("devices/{name}/coordX"), "3").await;
    let after = until("the value, in another epoch", async || {
        crate::support::latest(&world, &name).await.filter(|latest| latest.epoch != before.epoch && latest.x == 3.0)
    })
    .await;
    // Two frames, or one where the axes were fetched apart: both values of X before that of Y.
    assert!(after.y == 2.0 && after.offset <= 2, "{after:?}");
    let mut socket = world.watch(&format!("?device={name}&offset={}&epoch={}", before.offset, before.epoch)).await;
    assert_eq!(socket.text().await, r#"{"recovered":false}"#);
    assert_eq!(socket.frame().await, after);
}
