//! What was lost outside of the daemon: it is noticed, said aloud, and followed by what is configured.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use orinoco_testkit::unique_name;

use crate::support::{Frame, Load, LoadPlan, Mode, Repeats, Setup, World, history, latest, turn, until};

const PARTITIONS: i32 = 4;
const LAST_SECOND: Duration = Duration::from_secs(1);
const DEFAULT_DEVICE: &str = "default";

/// The file that Redis appends to.
fn append_only_file(world: &World) -> PathBuf {
    let folder = world.services.as_ref().unwrap().redis.folder().join("appendonlydir");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = paths.filter(|path| path.to_str().unwrap().ends_with(".incr.aof")).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// Values of a device's axis in Kafka, oldest first, each once: by kcat.
fn in_kafka(world: &World, axis: &str, device: &str) -> Vec<f64> {
    let mut kcat = Command::new("kcat");
    kcat.args(["-C", "-b", world.kafka(), "-t", &world.topic(axis), "-o", "beginning", "-e", "-q", "-f", "%k|%s\n"]);
    let output = kcat.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut values: Vec<f64> = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let Some(value) = line.strip_prefix(&format!("{device}|")) else { continue };
        let value = match serde_json::from_str::<serde_json::Value>(value).unwrap() {
            serde_json::Value::Object(object) => object["message"].as_str().unwrap().parse().unwrap(),
            number => number.as_f64().unwrap(),
        };
        if values.last().is_none_or(|last| value > *last) {
            values.push(value);
        }
    }
    values
}

fn moved(frames: &[Frame], axis: &str) -> Vec<f64> {
    frames.iter().filter(|frame| frame.source == axis).map(Frame::moved).collect()
}

/// What `/readyz` says of alarms, by name.
async fn alarms(world: &World) -> BTreeMap<String, String> {
    let answer = world.get("/readyz").await.json();
    serde_json::from_value(answer["alarms"].clone()).unwrap()
}

/// Waits for an alarm of lost records of that axis; its name.
async fn data_loss(world: &World, axis: &str) -> String {
    let prefix = format!("data-loss/{}/", world.topic(axis));
    let name = until("an alarm", async || alarms(world).await.into_keys().find(|name| name.starts_with(&prefix))).await;
    let counted = world.metric(&format!("orinoco_alarms_total{{alarm=\"{name}\"}}")).await;
    assert!(counted.is_some_and(|count| count >= 1.0), "{counted:?}");
    let log = world.daemon.stderr().unwrap();
    assert!(log.contains(&name) && log.contains("were never applied"), "{log}");
    name
}

/// AOF everysec, and a failover to a replica that is late, lose the last second of what Redis had answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_lost_its_last_second_begins_another_epoch_and_agrees_with_kafka_again() {
    let _turn = turn().await;
    let world = World::start(Mode::Services, Setup::default().set("stream.history_max", 1_000_000)).await;
    let redis = &world.services.as_ref().unwrap().redis;
    let load = Load::start(&world, LoadPlan { connections: 2, devices: 5, messages_per_second: 1_000 }).await;
    let device = load.devices()[0].clone();
    let mut live = world.watch(&format!("?device={device}")).await;
    let before = live.frames_until(&device, 50).await.pop().unwrap();
    let (file, second) = (append_only_file(&world), Instant::now());
    let length = fs::metadata(&file).unwrap().len();
    let seen = until("what is to be lost", async || {
        let latest = latest(&world, &device).await?;
        (latest.offset > before.offset + 50 && second.elapsed() > LAST_SECOND).then_some(latest)
    })
    .await;
    redis.kill().await.unwrap();
    let lost_bytes = fs::metadata(&file).unwrap().len() - length;
    assert!(lost_bytes > 0);
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length).unwrap();
    redis.restart().await.unwrap();
    let back = Instant::now();
    until("another epoch", async || latest(&world, &device).await.filter(|latest| latest.epoch != before.epoch)).await;
    println!("{lost_bytes} bytes lost, another epoch after {:?}", back.elapsed());
    assert!(world.daemon.stderr().unwrap().contains("redis lost acknowledged writes"));
    // Who was there is told, and gets a snapshot.
    let snapshot = loop {
        let text = live.text().await;
        if text == r#"{"recovered":false}"# {
            break live.frame().await;
        }
        assert_eq!(Frame::parse(&text).epoch, before.epoch);
    };
    assert_ne!(snapshot.epoch, before.epoch);
    let ledger = load.stop().await;
    ledger.assert_all_came_out(&world, Repeats::Never).await;
    let head = latest(&world, &device).await.unwrap();
    assert_eq!(head.epoch, snapshot.epoch);
    if head.offset > snapshot.offset {
        let frames = live.frames_until(&device, head.offset).await;
        assert!(
            frames.iter().map(|frame| frame.offset).eq(snapshot.offset + 1..=head.offset),
            "the watcher missed some"
        );
    }
    // Who comes back with what was lost is told as well.
    let mut back = world.watch(&format!("?device={device}&offset={}&epoch={}", seen.offset, seen.epoch)).await;
    assert_eq!(back.text().await, r#"{"recovered":false}"#);
    assert_eq!(back.frame().await, head);
    for device in ledger.devices() {
        let frames = history(&world, device).await;
        for axis in ["coordX", "coordY"] {
            let mut kept = in_kafka(&world, axis, device);
            // The very first message found no partner.
            kept.drain(..kept.len() - moved(&frames, axis).len());
            assert_eq!(moved(&frames, axis), kept, "{device} {axis}");
        }
    }
}

/// Whoever is not in `X` does not count: one of so many values that the daemon had accepted.
async fn truncated(world: &World, name: &str) {
    let services = world.services.as_ref().unwrap();
    let device = world.device().await;
    device.move_to(name, 1.0, 2.0).await;
    until("a value", async || latest(world, name).await).await;
    let produced = async || world.metric("orinoco_records_produced_total").await;
    let before = until("what is produced", &produced).await;
    services.redis.stop().await.unwrap();
    for value in 10..20 {
        device.publish(&format!("devices/{name}/coordX"), value.to_string()).await;
    }
    until("the records in Kafka", async || produced().await.filter(|now| *now >= before + 10.0)).await;
    for partition in 0..PARTITIONS {
        // Up to its end.
        services.kafka.delete_records(&world.topic("coordX"), partition, -1).await.unwrap();
    }
    services.redis.restart().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_truncated_below_the_position_raises_an_alarm_and_goes_on_with_what_is_left() {
    let world = World::start(Mode::Services, Setup::default()).await;
    let name = unique_name("d");
    truncated(&world, &name).await;
    data_loss(&world, "coordX").await;
    world.device().await.publish(&format!("devices/{name}/coordX"), "99").await;
    let after = until("what came after", async || latest(&world, &name).await.filter(|latest| latest.x == 99.0)).await;
    assert_eq!((after.y, after.offset), (2.0, 2), "{after:?}");
    until("/readyz to be green", async || (world.get("/readyz").await.status == 200).then_some(())).await;
    assert_eq!(alarms(&world).await.len(), 1, "it stays until somebody has looked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_truncated_below_the_position_stops_its_partition_where_that_is_configured() {
    let world = World::start(Mode::Services, Setup::default().set("kafka.on_data_loss", "halt")).await;
    let name = unique_name("d");
    truncated(&world, &name).await;
    let alarm = data_loss(&world, "coordX").await;
    let partition = alarm.rsplit('/').next().unwrap();
    let device = world.device().await;
    device.publish(&format!("devices/{name}/coordX"), "99").await;
    let halted = format!("consumer/{partition}");
    // The others come back from the outage of Redis meanwhile.
    until("/readyz to say that this one alone is halted", async || {
        let answer = world.get("/readyz").await;
        let components = answer.json()["components"].as_array().unwrap().clone();
        let waits = components.iter().filter(|component| component["state"] != "up");
        let alone = waits.map(|component| component["name"].as_str().unwrap()).eq([halted.as_str()]);
        (alone && answer.status == 503 && answer.body.contains("halted by kafka.on_data_loss")).then_some(())
    })
    .await;
    // The other partitions go on.
    let others: Vec<String> = (0..20).map(|_| unique_name("other")).collect();
    for other in &others {
        device.move_to(other, 1.0, 1.0).await;
    }
    until("a device of another partition", async || {
        for other in &others {
            if latest(&world, other).await.is_some() {
                return Some(());
            }
        }
        None
    })
    .await;
    let stands = latest(&world, &name).await.unwrap();
    assert_eq!((stands.x, stands.offset), (1.0, 1), "nothing was skipped: {stands:?}");
    let log = world.daemon.stderr().unwrap();
    assert_eq!(log.matches(&alarm).count(), 1, "said once: {log}");
}

/// One record without key or header, from somebody else.
fn produce(world: &World, partition: i32, value: i32) {
    let text = format!("echo {value} | kcat -P -b {} -t {} -p {partition}", world.kafka(), world.topic("coordX"));
    assert!(Command::new("sh").args(["-c", &text]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_made_anew_raises_an_alarm_and_all_of_it_takes_effect() {
    let world = World::start(Mode::Services, Setup::default()).await;
    let services = world.services.as_ref().unwrap();
    let device = world.device().await;
    device.publish("coordX", "1").await;
    device.publish("coordY", "2").await;
    let shows = async |value: i32| {
        until("the value", async || latest(&world, DEFAULT_DEVICE).await.filter(|latest| latest.x == f64::from(value)))
            .await
    };
    shows(1).await;
    // Into each partition: all but one are foreign to the device.
    for value in 10..18 {
        produce(&world, value % PARTITIONS, value);
        shows(value).await;
    }
    services.kafka.delete_topic(&world.topic("coordX")).await.unwrap();
    until("the topic to be made anew", async || {
        services.kafka.create_topic(&world.topic("coordX"), PARTITIONS).await.ok()
    })
    .await;
    data_loss(&world, "coordX").await;
    for value in 20..24 {
        produce(&world, value % PARTITIONS, value);
        shows(value).await;
    }
    device.publish("coordX", "30").await;
    let last = shows(30).await;
    assert_eq!(last.offset, 14, "each once: {last:?}");
}
