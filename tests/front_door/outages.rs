//! Backends that are away for a while.

use std::time::Duration;

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
