//! The description of MQTT, Kafka and WebSocket, checked by a parser of AsyncAPI, and held against what really goes through them.

use std::process::Stdio;

use orinoco_testkit::unique_name;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{
    kafka_clients::consume,
    support::{Mode, World, until, within},
};

/// What `scripts/install test` made.
const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.stack/clients");
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/asyncapi.mjs");

/// What the parser has against the document, or against a message.
async fn complaints(document: &str, samples: Value) -> Vec<String> {
    let mut node = Command::new("node");
    node.args([PROGRAM, CLIENTS]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut node = node.spawn().unwrap_or_else(|error| panic!("node: {error}; scripts/install test installs it"));
    let asked = json!({"document": document, "samples": samples}).to_string();
    node.stdin.take().unwrap().write_all(asked.as_bytes()).await.unwrap();
    let output = within("the parser", node.wait_with_output()).await.unwrap();
    assert!(output.status.success(), "its error is above");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(said["complaints"].clone()).unwrap()
}

/// The value of a record that has this in it.
async fn record(world: &World, topic: &str, part: &str) -> Value {
    let record = until("the record", async || consume(world, topic).into_iter().find(|line| line.contains(part))).await;
    serde_json::from_str(record.split('|').nth(1).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parser_finds_nothing_and_real_messages_are_as_described() {
    let world = World::shared(Mode::Services).await;
    let name = unique_name("d");
    let device = world.device().await;
    let mut socket = world.watch(&format!("?device={name}")).await;
    let forms = [json!(1.5), json!({"message": "2.5"}), json!({"message": 3, "timestamp": 1_767_323_045_000_u64})];
    device.publish(&format!("devices/{name}/coordY"), "1").await;
    for form in &forms {
        device.publish(&format!("devices/{name}/coordX"), form.to_string()).await;
    }
    let frame: Value = serde_json::from_str(&socket.text().await).unwrap();
    device.publish(&format!("devices/{name}/coordX"), "no number").await;
    let mut resumed = world.watch(&format!("?device={name}&offset=1&epoch=gone")).await;
    let unrecovered: Value = serde_json::from_str(&resumed.text().await).unwrap();

    let mut samples: Vec<Value> = forms.iter().map(|form| json!({"message": "coordinate", "payload": form})).collect();
    let mut sample = |message: &str, payload: Value| samples.push(json!({"message": message, "payload": payload}));
    sample("coordinateData", frame);
    sample("unrecovered", unrecovered);
    sample("coordinateRecord", record(world, "coordX", &name).await);
    sample("deadLetter", record(world, "coord.dlq", &name).await);
    sample("centrifugeCommand", json!({"id": 1, "connect": {}}));
    sample("centrifugeReply", json!({"push": {"channel": "devices", "pub": {"data": {}}}}));

    let document = world.get("/asyncapi.json").await;
    assert_eq!((document.status, document.header("content-type")), (200, Some("application/json")));
    assert_eq!(complaints(&document.body, json!(samples)).await, [""; 0]);
    assert!(world.get("/docs").await.body.contains("href=\"/asyncapi.json\""));
    // It would say so.
    let broken = document.body.replacen("\"asyncapi\":\"3.0.0\"", "\"asyncapi\":\"3.0.0\",\"x\":1", 1);
    assert!(!complaints(&broken, json!([])).await.is_empty());
    let wrong = json!([{"message": "coordinateData", "payload": {"coordX": "1"}}]);
    assert_eq!(complaints(&document.body, wrong).await.len(), 1);
}
