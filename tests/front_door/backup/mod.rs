//! Backup and restore of the data directory: under load, beside a daemon and without one; and what is refused.

mod logins;
mod refusals;

use std::path::{Path, PathBuf};

use orinoco_testkit::unique_name;

use crate::support::{
    Device, Frame, Load, LoadPlan, Mode, Setup, World, campaign, command, history, latest, turn, until,
};

const NOT_RECOVERED: &str = r#"{"recovered":false}"#;
/// Backups of one daemon under load, each of which is restored.
const ROUNDS: usize = 2;
/// Messages of one device that are acknowledged just before a backup begins.
const MARKS: usize = 200;

/// A daemon whose keys are in its data directory.
async fn start() -> World {
    World::start(Mode::Embedded, Setup::default().set("auth.key_file", "").set("stream.history_max", 1_000_000)).await
}

/// Where a test keeps archives: beside the data directory.
fn archive(world: &World, name: &str) -> PathBuf {
    world.data_dir.with_file_name(name)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn back_up(world: &World, archive: &Path) {
    let output = world.command(&["backup", text(archive)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A daemon on what is restored from the archive.
async fn restored(world: &World, archive: &Path) -> World {
    let environment = world.environment();
    world
        .another_on(Setup::default(), |data_dir| {
            let output = command(&environment, data_dir, &["restore", text(archive)]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        })
        .await
}

/// One device's values of coordX after a first coordY: each of them yields one frame.
async fn publish_marks(world: &World) -> String {
    let (name, device) = (unique_name("marked"), world.device().await);
    device.publish(&format!("devices/{name}/coordY"), "0").await;
    let mut tokens = Vec::new();
    for value in 0..MARKS {
        tokens.push(device.send(&format!("devices/{name}/coordX"), value.to_string()).await);
    }
    for token in tokens {
        token.await.unwrap();
    }
    name
}

async fn wait_for_head(world: &World, device: &str, head: u64) -> Frame {
    let what = format!("offset {head} of {device}");
    until(&what, async || latest(world, device).await.filter(|frame| frame.offset >= head)).await
}

/// What history holds of a device of a load: an unbroken beginning of what it sent, each once.
async fn assert_beginning(world: &World, device: &str, head_min: u64) {
    wait_for_head(world, device, head_min).await;
    let frames = history(world, device).await;
    assert!(frames.iter().map(|frame| frame.offset).eq(1..=frames.len() as u64), "offsets of {device}");
    assert!(frames.iter().all(|frame| frame.epoch == frames[0].epoch), "epochs of {device}");
    for axis in ["coordX", "coordY"] {
        let values: Vec<f64> = frames.iter().filter(|frame| frame.source == axis).map(Frame::moved).collect();
        let first = values.first().copied().unwrap_or_default();
        // The very first message of a device finds no partner.
        assert!(first <= 1.0, "{device} {axis} begins with {first}");
        let expected = (0..values.len()).map(|index| first + index as f64);
        assert!(values.iter().copied().eq(expected), "{device} {axis}: {values:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_backup_under_load_is_served_once_and_it_goes_on() {
    let _turn = turn().await;
    let world = start().await;
    let load = Load::start(&world, LoadPlan { connections: 2, devices: 4, messages_per_second: 2_000 }).await;
    let devices = load.devices().to_vec();
    let mut saved = Vec::new();
    for round in 0..campaign("BACKUPS", ROUNDS) {
        let heads_before = heads(&world, &devices).await;
        let marked = publish_marks(&world).await;
        let archive = archive(&world, &format!("saved-{round}.tar"));
        let output = world.command_beside(&["backup", text(&archive), "--json"]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(summary["running"], true, "{summary}");
        assert_eq!(summary["bytes"], std::fs::metadata(&archive).unwrap().len());
        println!("{summary}");
        // What devices send meanwhile and afterwards is none of the backup's business.
        let device = world.device().await;
        device.publish(&format!("devices/{marked}/coordY"), "1").await;
        let seen = wait_for_head(&world, &marked, MARKS as u64 + 1).await;
        saved.push((archive, heads_before, marked, seen));
    }
    load.stop().await;
    world.daemon.kill().unwrap();
    for (archive, heads_before, marked, seen) in saved {
        let world = restored(&world, &archive).await;
        wait_for_head(&world, &marked, MARKS as u64).await;
        let frames = history(&world, &marked).await;
        assert!(frames.iter().map(|frame| frame.x).eq((0..MARKS).map(|value| value as f64)), "{frames:?}");
        assert!(frames.iter().all(|frame| frame.epoch != seen.epoch), "a client would take one stream for another");
        for (device, head) in devices.iter().zip(heads_before) {
            assert_beginning(&world, device, head).await;
        }
        goes_on(&world, &marked, &seen).await;
    }
}

async fn heads(world: &World, devices: &[String]) -> Vec<u64> {
    let mut heads = Vec::new();
    for device in devices {
        heads.push(latest(world, device).await.map_or(0, |frame| frame.offset));
    }
    heads
}

/// New messages take effect, and whoever saw more than was restored is told to begin anew.
async fn goes_on(world: &World, marked: &str, seen: &Frame) {
    let device = world.device().await;
    for value in 0..5 {
        device.publish(&format!("devices/{marked}/coordX"), (1_000 + value).to_string()).await;
    }
    let head = wait_for_head(world, marked, MARKS as u64 + 5).await;
    assert_eq!((head.offset, head.x), (MARKS as u64 + 5, 1_004.0));
    let mut socket = world.watch(&format!("?device={marked}&offset={}&epoch={}", seen.offset, seen.epoch)).await;
    assert_eq!(socket.text().await, NOT_RECOVERED);
    assert_eq!(socket.frame().await, head);
    let mut socket = world.watch(&format!("?device={marked}&offset={}&epoch={}", head.offset - 3, head.epoch)).await;
    assert_eq!(socket.frame().await.offset, head.offset - 2, "within its own time it resumes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_does_not_run_is_saved_as_it_was_left() {
    let world = start().await;
    let name = publish_marks(&world).await;
    let secret = world.json(&["device", "add", "owned", "--json"])[0]["secret"].as_str().unwrap().to_owned();
    world.device().await.publish("odd/topic", "1").await;
    until("a dead letter", async || (!world.json(&["dlq", "list", "--json"]).is_empty()).then_some(())).await;
    let letters = world.json(&["dlq", "list", "--json"]);
    world.daemon.kill().unwrap();
    let archive = archive(&world, "saved.tar");
    back_up(&world, &archive);
    // Anybody's tar shows what is in it.
    let listed = std::process::Command::new("tar").arg("tvf").arg(&archive).output().unwrap();
    assert!(listed.status.success() && listed.stderr.is_empty(), "{listed:?}");
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("accounts.sqlite") && listed.contains("manifest.json") && !listed.contains("lock"));
    // To the standard output it is the same but for its time.
    let output = world.command(&["backup", "-"]);
    assert_eq!(output.stdout.len() as u64, std::fs::metadata(&archive).unwrap().len());
    std::fs::write(&archive, output.stdout).unwrap();

    let again = restored(&world, &archive).await;
    wait_for_head(&again, &name, MARKS as u64).await;
    assert_eq!(history(&again, &name).await.len(), MARKS);
    assert_eq!(again.json(&["dlq", "list", "--json"]), letters);
    Device::connect_as(&again.mqtt_url(), "owned", &secret).await.unwrap().move_to("owned", 1.0, 2.0).await;
    wait_for_head(&again, "owned", 1).await;
    let strange = Device::connect_as(&again.mqtt_url(), "owned", "wrong").await;
    assert!(strange.is_err());
    // A restored one is saved and restored like any other, and the first one goes on too.
    back_up(&again, &archive);
    let third = restored(&again, &archive).await;
    wait_for_head(&third, &name, MARKS as u64).await;
    world.daemon.restart().await.unwrap();
    assert_eq!(history(&world, &name).await.len(), MARKS);
}
