//! Commands.

use std::{net::TcpListener, process::Stdio};

use orinoco_testkit::unique_name;

use crate::support::{Mode, World, command, folder, prepared, until};

for_both_modes! {
    simulated_devices_are_seen
    the_doctor_finds_all_backends_well
    the_tree_of_a_running_daemon_is_shown
}

#[test]
fn wrong_usage_ends_with_2() {
    let folder = folder();
    let data_dir = folder.path().join("data");
    for arguments in
        [&["nonsense"][..], &["serve", "--nonsense"], &["serve", "--mode", "both"], &["dlq"], &["check", "x"]]
    {
        let output = command(&[], &data_dir, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"], &["simulate", "--help"]] {
        assert_eq!(command(&[], &data_dir, arguments).status.code(), Some(0), "{arguments:?}");
    }
    assert!(!data_dir.exists(), "nothing was started, and yet something was made");
}

#[test]
fn a_check_prints_the_tree_and_binds_and_makes_nothing() {
    let folder = folder();
    let data_dir = folder.path().join("data");
    let busy = ["HTTP", "WS", "MQTT"].map(|key| (key, TcpListener::bind("127.0.0.1:0").unwrap()));
    let environment: Vec<_> = busy
        .iter()
        .map(|(key, busy)| (format!("ORINOCO__{key}__LISTEN"), busy.local_addr().unwrap().to_string()))
        .collect();
    let output = command(&environment, &data_dir, &["check"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["root", "stream", "one_for_one", "ws_sessions", "simple_one_for_one", "KafkaProducer", "WsSession"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let output = command(&environment, &data_dir, &["check", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(value.is_object());
    assert!(!data_dir.exists());
}

async fn the_tree_of_a_running_daemon_is_shown(mode: Mode) {
    let world = World::shared(mode).await;
    let text = String::from_utf8(world.command(&["tree"]).stdout).unwrap();
    for part in ["root", "ingest", "producer", "leases", "ws_sessions", "http"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(world.json(&["tree", "--json"])[0].is_object());
    assert_eq!(text.contains("broker"), mode == Mode::Embedded, "{text}");
    // Without permission in supervision.toml nothing is killed.
    assert_eq!(world.command(&["tree", "--kill", "root/stream/producer"]).status.code(), Some(1));
    // Whose daemon it is: the control socket is for its owner alone.
    let output = command(&[], &folder().path().join("data"), &["tree"]);
    assert_eq!(output.status.code(), Some(1), "no daemon runs there");
}

async fn the_doctor_finds_all_backends_well(mode: Mode) {
    let world = World::shared(mode).await;
    let output = world.command(&["doctor"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    if mode == Mode::Services {
        for part in ["redis", "kafka", "mqtt", "postgres"] {
            assert!(text.to_lowercase().contains(part), "{part} is not in\n{text}");
        }
    }
    for object in world.json(&["doctor", "--json"]) {
        assert!(object.is_object());
    }
}

async fn simulated_devices_are_seen(mode: Mode) {
    let world = World::shared(mode).await;
    let mut socket = world.watch("").await;
    let devices = async {
        let output = world.command_beside(&["simulate", "--devices", "3", "--rate", "20", "--duration", "2"]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).chars().any(|character| character.is_ascii_digit()));
    };
    let frames = async {
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 3 {
            let frame = socket.frame().await;
            if frame.device.starts_with("sim-") {
                seen.insert(frame.device);
            }
        }
    };
    tokio::join!(devices, frames);
}

#[test]
fn a_replay_that_is_none_names_file_and_line() {
    let folder = folder();
    let file = folder.path().join("tracks.csv");
    std::fs::write(&file, "device,timestamp,coordX,coordY\nd,2026-01-02T03:04:05Z,1,2\nd,2026-01-02T03:04:06Z,x,2\n")
        .unwrap();
    let environment = [("ORINOCO__MQTT__URL".to_owned(), "mqtt://127.0.0.1:9".to_owned())];
    let output = command(&environment, &folder.path().join("data"), &["simulate", "--replay", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("tracks.csv:3"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_has_seen_enough_ends_a_command_quietly() {
    let world = World::shared(Mode::Embedded).await;
    let name = unique_name("d");
    world.device().await.publish(&format!("devices/{name}/coordX"), "x").await;
    until("a dead letter", async || (!world.json(&["dlq", "list", "--json"]).is_empty()).then_some(())).await;
    let mut child = prepared(&[], &world.data_dir, &["dlq", "list", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
}
