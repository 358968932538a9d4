//! Joining, and the join of snapshot and stream.

use std::collections::BTreeMap;

use orinoco_testkit::unique_name;
use tokio::sync::watch;

use crate::support::{Device, Load, LoadPlan, Mode, Setup, Socket, World, turn, until, within};

for_both_modes! {
    a_message_of_either_axis_yields_a_frame_once_both_are_known
    every_form_of_payload_is_understood
    a_snapshot_is_followed_without_gap_and_repeat_under_load
    a_device_filter_shows_that_device_alone
    halves_are_joined_by_timestamp_in_any_order
    a_half_without_its_partner_is_yielded_by_the_clock
    halves_wait_for_their_partner_across_a_restart
}

async fn a_message_of_either_axis_yields_a_frame_once_both_are_known(mode: Mode) {
    let world = World::shared(mode).await;
    let name = unique_name("d");
    let mut socket = world.watch(&format!("?device={name}")).await;
    let device = world.device().await;
    device.publish(&format!("devices/{name}/coordX"), "2.50").await;
    device.publish(&format!("devices/{name}/coordY"), "-3e-1").await;
    let first = socket.frame().await;
    assert_eq!((first.x, first.y, first.offset), (2.5, -0.3, 1));
    // From Kafka, the axes may have been fetched apart.
    if mode == Mode::Embedded {
        assert_eq!(first.source, "coordY");
    }
    device.publish(&format!("devices/{name}/coordX"), "4").await;
    let second = socket.frame().await;
    assert_eq!((second.x, second.y, second.source.as_str(), second.offset), (4.0, -0.3, "coordX", 2));
    assert_eq!((&second.device, &second.epoch), (&name, &first.epoch));
    assert!(second.timestamp >= first.timestamp, "without a time of its own, a message has that of its arrival");
}

async fn every_form_of_payload_is_understood(mode: Mode) {
    let world = World::shared(mode).await;
    let name = unique_name("d");
    let device = world.device().await;
    let mut socket = world.watch(&format!("?device={name}")).await;
    device.move_to(&name, 0.0, 0.0).await;
    socket.frame().await;
    let forms = [
        (r#"{"message":"12.5","timestamp":"2026-01-02T03:04:05.678Z"}"#, 12.5, "2026-01-02T03:04:05.678Z"),
        (r#"{"message":12.75,"timestamp":"2026-01-02T03:04:05.678+09:00"}"#, 12.75, "2026-01-02T03:04:05.678+09:00"),
        (r#"{"timestamp":1767323045678,"message":"-1E2"}"#, -100.0, "2026-01-02T03:04:05.678Z"),
        (r#" { "message" : 7 } "#, 7.0, ""),
        (" 8.25\n", 8.25, ""),
    ];
    for (payload, value, timestamp) in forms {
        device.publish(&format!("devices/{name}/coordX"), payload).await;
        let frame = socket.frame().await;
        assert_eq!(frame.x, value, "{payload}");
        if !timestamp.is_empty() {
            assert_eq!(frame.timestamp, timestamp, "{payload}");
        }
    }
}

async fn a_snapshot_is_followed_without_gap_and_repeat_under_load(mode: Mode) {
    const SOCKETS: usize = 12;
    let _turn = turn().await;
    let world = World::shared(mode).await;
    let plan = LoadPlan { connections: 2, devices: 10, messages_per_second: 1_000 };
    let load = Load::start(world, plan).await;
    let devices = load.devices().to_vec();
    let (end, _) = watch::channel(None::<BTreeMap<String, u64>>);
    let mut readers = Vec::new();
    for index in 0..SOCKETS {
        // Each begins in the middle of the stream, some devices further on than at the one before.
        until("the stream to move", async || {
            let frame = crate::support::latest(world, &devices[index % devices.len()]).await?;
            (frame.offset > 20 * index as u64).then_some(())
        })
        .await;
        readers.push(tokio::spawn(read_on(world.watch("").await, devices.clone(), end.subscribe())));
    }
    let ledger = load.stop().await;
    ledger.assert_all_came_out(world, crate::support::Repeats::Never).await;
    let mut heads = BTreeMap::new();
    for device in &devices {
        heads.insert(device.clone(), crate::support::latest(world, device).await.unwrap().offset);
    }
    end.send_replace(Some(heads));
    for reader in readers {
        within("the last frames", reader).await.unwrap();
    }
}

/// Reads, comparing offsets, until all devices are at their heads, which come when they are known.
async fn read_on(mut socket: Socket, devices: Vec<String>, mut heads: watch::Receiver<Option<BTreeMap<String, u64>>>) {
    let mut offsets: BTreeMap<String, u64> = BTreeMap::new();
    while heads.borrow_and_update().as_ref() != Some(&offsets) {
        tokio::select! {
            changed = heads.changed() => changed.unwrap(),
            frame = socket.frame() => {
                if devices.contains(&frame.device)
                    && let Some(before) = offsets.insert(frame.device.clone(), frame.offset)
                {
                    assert_eq!(frame.offset, before + 1, "{}", frame.device);
                }
            }
        }
    }
}

async fn a_device_filter_shows_that_device_alone(mode: Mode) {
    let world = World::shared(mode).await;
    let (one, two) = (unique_name("d"), unique_name("d"));
    let device = world.device().await;
    device.move_to(&one, 1.0, 1.0).await;
    let mut socket = world.watch(&format!("?device={two}")).await;
    device.move_to(&one, 2.0, 2.0).await;
    device.move_to(&two, 3.0, 3.0).await;
    let first = socket.frame().await;
    assert_eq!((&first.device, first.offset), (&two, 1));
    device.move_to(&one, 4.0, 4.0).await;
    device.move_to(&two, 5.0, 5.0).await;
    let offsets = [socket.frame().await, socket.frame().await].map(|frame| (frame.device, frame.offset));
    assert_eq!(offsets, [(two.clone(), 2), (two.clone(), 3)]);
    let mut socket = world.watch(&format!("?device={one}")).await;
    assert_eq!(socket.frame().await.device, one);
}

fn by_timestamp(grace_ms: u64) -> Setup {
    Setup::default().set("stream.pairing", "timestamp").set("stream.pairing_grace_ms", grace_ms)
}

async fn half(device: &Device, name: &str, axis: &str, value: f64, timestamp: &str) {
    let payload = format!(r#"{{"message":{value},"timestamp":"{timestamp}"}}"#);
    device.publish(&format!("devices/{name}/{axis}"), payload).await;
}

async fn halves_are_joined_by_timestamp_in_any_order(mode: Mode) {
    let world = World::start(mode, by_timestamp(600_000)).await;
    let name = unique_name("d");
    let device = world.device().await;
    let mut socket = world.watch(&format!("?device={name}")).await;
    // Two rows at once, Y before X; one instant written in two ways.
    half(&device, &name, "coordY", 1.5, "2026-01-02T03:00:01Z").await;
    half(&device, &name, "coordY", 2.5, "2026-01-02T03:00:02Z").await;
    half(&device, &name, "coordX", 1.0, "2026-01-02T04:00:01.000+01:00").await;
    half(&device, &name, "coordX", 2.0, "2026-01-02T03:00:02.000Z").await;
    for (offset, (x, y)) in [(1.0, 1.5), (2.0, 2.5)].into_iter().enumerate() {
        let frame = socket.frame().await;
        assert_eq!((frame.x, frame.y, frame.offset, frame.unpaired), (x, y, offset as u64 + 1, false));
    }
    // A late pair is yielded, and does not take the latest value back.
    half(&device, &name, "coordX", 0.0, "2026-01-02T02:00:00Z").await;
    half(&device, &name, "coordY", 0.5, "2026-01-02T02:00:00Z").await;
    let old = socket.frame().await;
    assert_eq!((old.x, old.y, old.offset), (0.0, 0.5, 3));
    let latest = crate::support::latest(&world, &name).await.unwrap();
    assert_eq!((latest.x, latest.y, latest.offset), (2.0, 2.5, 2));
}

async fn a_half_without_its_partner_is_yielded_by_the_clock(mode: Mode) {
    let world = World::start(mode, by_timestamp(500)).await;
    let name = unique_name("d");
    let device = world.device().await;
    let mut socket = world.watch(&format!("?device={name}")).await;
    half(&device, &name, "coordX", 1.0, "2026-01-02T03:00:01Z").await;
    half(&device, &name, "coordY", 1.5, "2026-01-02T03:00:01Z").await;
    let pair = socket.frame().await;
    assert_eq!((pair.x, pair.y, pair.unpaired), (1.0, 1.5, false));
    half(&device, &name, "coordX", 2.0, "2026-01-02T03:00:02Z").await;
    // Nothing more is sent.
    let frame = socket.frame().await;
    assert_eq!((frame.x, frame.y, frame.source.as_str(), frame.offset), (2.0, 1.5, "coordX", 2));
    assert!(frame.unpaired);
    assert_eq!(frame.timestamp, "2026-01-02T03:00:02Z");
}

async fn halves_wait_for_their_partner_across_a_restart(mode: Mode) {
    let world = World::start(mode, by_timestamp(3_600_000)).await;
    let name = unique_name("d");
    let device = world.device().await;
    half(&device, &name, "coordX", 1.0, "2026-01-02T03:00:01Z").await;
    half(&device, &name, "coordY", 1.5, "2026-01-02T03:00:01Z").await;
    until("the first pair", async || crate::support::latest(&world, &name).await).await;
    half(&device, &name, "coordX", 2.0, "2026-01-02T03:00:02Z").await;
    world.daemon.kill().unwrap();
    world.daemon.restart().await.unwrap();
    let mut socket = world.watch(&format!("?device={name}")).await;
    assert_eq!(socket.frame().await.offset, 1);
    let device = world.device().await;
    half(&device, &name, "coordY", 2.5, "2026-01-02T03:00:02Z").await;
    let frame = socket.frame().await;
    assert_eq!((frame.x, frame.y, frame.offset, frame.unpaired), (2.0, 2.5, 2, false));
}
