//! Other people's Kafka clients (kcat), and ours side by side.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use orinoco_testkit::unique_name;

use crate::support::{Mode, World, until};

const DEFAULT_DEVICE: &str = "default";

/// Produces one record with kcat.
pub(crate) fn produce(world: &World, topic: &str, arguments: &[&str], value: &str) {
    let mut kcat = Command::new("kcat")
        .args(["-P", "-b", world.kafka(), "-t", &world.topic(topic)])
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    kcat.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    assert!(kcat.wait().unwrap().success());
}

/// All records of a topic, as `key|value|headers`.
pub(crate) fn consume(world: &World, topic: &str) -> Vec<String> {
    let output = Command::new("kcat")
        .args(["-C", "-b", world.kafka(), "-t", &world.topic(topic), "-o", "beginning", "-e", "-q", "-f", "%k|%s|%h\n"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_readable_by_others() {
    let world = World::shared(Mode::Services).await;
    let name = unique_name("d");
    let device = world.device().await;
    let payload = r#"{"message":"12.50","timestamp":"2026-01-02T03:04:05.678Z"}"#;
    device.publish(&format!("devices/{name}/coordX"), payload).await;
    device.publish(&format!("devices/{name}/coordY"), "3.25").await;
    until("the values", async || crate::support::latest(world, &name).await).await;
    let of_device = |topic: &str| -> Vec<String> {
        let prefix = format!("{name}|");
        consume(world, topic).into_iter().filter(|record| record.starts_with(&prefix)).collect()
    };
    let x = of_device("coordX");
    assert_eq!(x.len(), 1, "{x:?}");
    let fields: Vec<&str> = x[0].splitn(3, '|').collect();
    assert_eq!(fields[1], payload);
    assert!(fields[2].contains("orinoco-id="), "{x:?}");
    let y = of_device("coordY");
    let value: serde_json::Value = serde_json::from_str(y[0].split('|').nth(1).unwrap()).unwrap();
    assert_eq!(value["message"], "3.25");
    assert!(value["timestamp"].is_string(), "{value}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_another_producer_reaches_the_browser() {
    let world = World::shared(Mode::Services).await;
    let mut socket = world.watch(&format!("?device={DEFAULT_DEVICE}")).await;
    let value = f64::from(std::process::id());
    // No key, no headers; a bare number, and Telegraf's form. Any partition.
    produce(world, "coordX", &[], &format!("{value}"));
    produce(world, "coordY", &[], &format!(r#"{{"message":"{value}.5","timestamp":"2026-01-02T03:04:05Z"}}"#));
    loop {
        let frame = socket.frame().await;
        assert_eq!(frame.device, DEFAULT_DEVICE);
        if (frame.x, frame.y) == (value, value + 0.5) {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_in_a_foreign_partition_takes_effect_once() {
    let world = World::shared(Mode::Services).await;
    let name = unique_name("d");
    world.device().await.move_to(&name, 0.0, 0.0).await;
    let mut socket = world.watch(&format!("?device={name}")).await;
    assert_eq!(socket.frame().await.offset, 1);
    let partitions = 4;
    for partition in 0..partitions {
        // With the key of the device, in every partition but one not the one it belongs to.
        let partition_text = partition.to_string();
        let value = (partition + 1).to_string();
        produce(world, "coordX", &["-k", &name, "-p", &partition_text], &value);
        let frame = socket.frame().await;
        assert_eq!((frame.x, frame.offset), (f64::from(partition + 1), partition as u64 + 2));
    }
    let again = world.device().await;
    again.publish(&format!("devices/{name}/coordX"), "99").await;
    let frame = socket.frame().await;
    assert_eq!((frame.x, frame.offset), (99.0, partitions as u64 + 2), "a record took effect twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_of_another_producer_is_a_dead_letter() {
    let world = World::shared(Mode::Services).await;
    let name = unique_name("rubbish");
    let key = format!("no device {name}");
    produce(world, "coordX", &["-k", &key, "-p", "1"], "1");
    produce(world, "coordY", &["-p", "0"], &name);
    until("both dead letters", async || {
        let letters = world.json(&["dlq", "list", "--json"]);
        let of_kafka = letters.iter().filter(|letter| letter["topic"].as_str().unwrap().starts_with("kafka:coord"));
        (of_kafka.count() >= 2).then_some(())
    })
    .await;
    let name = unique_name("d");
    world.device().await.move_to(&name, 1.0, 2.0).await;
    until("the stream goes on", async || crate::support::latest(world, &name).await).await;
}
