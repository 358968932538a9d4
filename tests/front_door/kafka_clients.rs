//! Other people's Kafka clients, and ours side by side: kcat, `confluent-kafka` for Python (the consumer of the old chain), and Kafka's own
//! console consumer.

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use orinoco_testkit::unique_name;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::{Mode, World, until, within};

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
async fn the_consumer_of_the_old_chain_reads_on() {
    let world = World::shared(Mode::Services).await;
    let name = unique_name("d");
    world.device().await.move_to(&name, 12.5, 3.25).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = tokio::process::Command::new(root.join(".stack/clients/python/bin/python"));
    python.arg(root.join("tests/clients/kafka_confluent.py")).args([world.kafka(), &name]);
    python.args([world.topic("coordX"), world.topic("coordY")]).kill_on_drop(true);
    let output = within("the records", python.output()).await.expect("python; scripts/install test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let messages: BTreeMap<&str, &Value> =
        records.iter().map(|record| (record["topic"].as_str().unwrap(), &record["value"]["message"])).collect();
    let (x, y) = (world.topic("coordX"), world.topic("coordY"));
    assert_eq!(messages, BTreeMap::from([(x.as_str(), &json!("12.5")), (y.as_str(), &json!("3.25"))]));
    for record in &records {
        assert!(record["value"]["timestamp"].is_string() && record["headers"]["orinoco-id"].is_string(), "{record}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_s_console_consumer_reads_the_records() {
    let world = World::shared(Mode::Services).await;
    let name = unique_name("d");
    let payload = r#"{"message":"12.50","timestamp":"2026-01-02T03:04:05.678Z"}"#;
    world.device().await.publish(&format!("devices/{name}/coordX"), payload).await;
    let classes = Path::new(env!("CARGO_MANIFEST_DIR")).join(".stack/kafka/libs/*");
    let mut java = tokio::process::Command::new("java");
    java.args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    java.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"]).arg(classes);
    java.args(["org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", world.kafka()]);
    java.args(["--topic", &world.topic("coordX"), "--from-beginning"]);
    java.args(["--property", "print.key=true", "--property", "print.headers=true", "--property", "key.separator=|"]);
    java.args(["--property", "headers.separator=,"]);
    let mut java = java.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("java (scripts/install services)");
    let mut lines = BufReader::new(java.stdout.take().unwrap()).lines();
    let line = within("the record", async {
        loop {
            let line = lines.next_line().await.unwrap().expect("it ended; its error is above");
            if line.contains(&name) {
                return line;
            }
        }
    })
    .await;
    assert!(line.starts_with("orinoco-id:") && line.ends_with(&format!("|{name}|{payload}")), "{line}");
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
