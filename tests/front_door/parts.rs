//! Parts that are switched off: what others do that were there before, or another daemon.

use orinoco_testkit::unique_name;
use serde_json::Value;

use crate::{
    kafka_clients::{consume, produce},
    support::{Mode, Setup, World, until},
};

/// Names of what `/readyz` waits for.
async fn components(world: &World) -> Vec<String> {
    let ready = world.get("/readyz").await.json();
    let name = |component: &Value| component["name"].as_str().unwrap().to_owned();
    ready["components"].as_array().unwrap().iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_daemon_ingests_and_another_one_consumes() {
    let ingests = World::start(Mode::Services, Setup::default().set("parts.consumer", false)).await;
    let setup = Setup::default().set("parts.ingest", false).set("parts.consumer", true);
    let consumes = ingests.another_with(setup).await;
    let admin = ingests.administrator().await.tokens.access;
    let stream = until("all leases are held", async || {
        let stream = consumes.call("GET", "admin/stream", &admin, None).await.json();
        let owned = stream["partitions"].as_array()?.iter().all(|partition| !partition["owner"].is_null());
        (owned && !stream["ingest"]["owner"].is_null()).then_some(stream)
    })
    .await;
    assert_ne!(stream["ingest"]["owner"], stream["daemon"]);
    for partition in stream["partitions"].as_array().unwrap() {
        assert_eq!(partition["owner"], stream["daemon"], "{stream}");
    }
    let name = unique_name("d");
    let mut socket = consumes.watch(&format!("?device={name}")).await;
    ingests.device().await.move_to(&name, 1.0, 2.0).await;
    assert_eq!(socket.frame().await.offset, 1);
    assert!(!components(&ingests).await.iter().any(|name| name.starts_with("consumer/")));
    assert!(!components(&consumes).await.contains(&"mqtt".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_bridge_may_stay_in_front_of_kafka() {
    // Nobody is there for it: it must not ask.
    let setup = Setup::default().set("parts.ingest", false).set("mqtt.url", "mqtt://127.0.0.1:1");
    let world = World::start(Mode::Services, setup).await;
    let mut socket = world.watch("?device=default").await;
    // As Telegraf writes.
    produce(&world, "coordX", &[], r#"{"message":"1.5","timestamp":"2026-01-02T03:04:05Z"}"#);
    produce(&world, "coordY", &[], r#"{"message":"2.5","timestamp":"2026-01-02T03:04:05Z"}"#);
    let frame = socket.frame().await;
    assert_eq!((frame.x, frame.y, frame.offset), (1.5, 2.5, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_consumers_may_stay_behind_kafka_and_ingest_alone_needs_neither_redis_nor_postgresql() {
    let setup = ["redis_ws", "redis_qr", "postgres"]
        .into_iter()
        .fold(Setup::default().set("parts.consumer", false), |setup, name| {
            setup.set(&format!("{name}.backend"), "embedded")
        });
    let world = World::start(Mode::Services, setup).await;
    let name = unique_name("d");
    world.device().await.move_to(&name, 1.0, 2.0).await;
    let records = until("the record in Kafka", async || {
        let records = consume(&world, "coordX");
        records.iter().any(|record| record.starts_with(&format!("{name}|"))).then_some(records)
    })
    .await;
    assert_eq!(records.len(), 1);
    assert!(records[0].contains(r#""message":"1""#), "{records:?}");
    // Nobody here reads it.
    assert_eq!(world.get("/api/v1/devices").await.json()["devices"], serde_json::json!([]));
}
