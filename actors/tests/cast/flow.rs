//! What a client sees, while nothing fails.

use std::time::Duration;

use orinoco_actors::{Close, Resume, View};
use orinoco_domain::{Axis, CoordinateData, pairing::Pairing};
use orinoco_ports::conformance::mqtt::PublishedMessage;

use crate::{
    sockets::MemorySocket,
    world::{World, device, publish},
};

fn offsets(frames: &[CoordinateData], name: &str) -> Vec<u64> {
    frames.iter().filter(|frame| frame.device.as_str() == name).map(|frame| frame.offset).collect()
}

async fn publish_pairs(world: &World, name: &str, range: std::ops::Range<u32>) {
    let mut publisher = world.publisher().await;
    for n in range {
        publish(&mut publisher, &format!("devices/{name}/coordX"), &format!("{n}")).await;
        publish(&mut publisher, &format!("devices/{name}/coordY"), &format!("{n}.5")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_publishes_once_the_daemon_is_ready_is_heard() {
    let world = World::start(Pairing::Latest).await;
    while !world.health.is_ready() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let message = PublishedMessage { topic: "devices/a/coordX".to_owned(), payload: b"1".to_vec(), traceparent: None };
    world.publisher().await.publish(&message).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_moves_its_axis_and_yields_one_frame() {
    let world = World::start(Pairing::Latest).await;
    let client = world.watch(View::All, None, MemorySocket::fast()).await;
    publish_pairs(&world, "a", 0..2).await;
    let frames = client.socket.until("three frames", |frames| frames.len() == 3).await;
    let summary: Vec<_> =
        frames.iter().map(|frame| (frame.coord_x, frame.coord_y, frame.source, frame.offset)).collect();
    assert_eq!(summary, [(0.0, 0.5, Axis::Y, 1), (1.0, 0.5, Axis::X, 2), (1.0, 1.5, Axis::Y, 3)]);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_and_what_follows_have_no_gap_and_no_repeat() {
    let world = World::start(Pairing::Latest).await;
    let names: Vec<String> = (0..300).map(|n| format!("d{n:03}")).collect();
    for name in &names {
        publish_pairs(&world, name, 0..2).await;
    }
    let first = world.watch(View::All, None, MemorySocket::fast()).await;
    first.socket.until("all devices", |frames| frames.len() >= 300).await;
    // A slow reader joins, and all devices move while it is given its pages.
    let slow = world.watch(View::All, None, MemorySocket::with_room(10)).await;
    for name in &names {
        publish_pairs(&world, name, 2..3).await;
        slow.socket.read(1);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    slow.socket.read(100_000);
    let last = |frames: &[CoordinateData]| names.iter().all(|name| offsets(frames, name).last() == Some(&5));
    let frames = slow.socket.until("the last frame of each device", last).await;
    for name in &names {
        let seen = offsets(&frames, name);
        // Its bound makes room for the newest frames only: offsets may jump, and never go back.
        assert!(seen.is_sorted_by(|a, b| a < b), "{name}: {seen:?}");
    }
    let frames = first.socket.until("the last frame of each device", last).await;
    for name in &names {
        let seen = offsets(&frames, name);
        assert_eq!(seen, (seen[0]..=5).collect::<Vec<_>>(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_resumes_with_exactly_what_it_missed() {
    let world = World::start(Pairing::Latest).await;
    publish_pairs(&world, "a", 0..200).await;
    let view = || View::Device(device("a"));
    let first = world.watch(view(), None, MemorySocket::fast()).await;
    let seen = first.socket.until("the latest value", |frames| offsets(frames, "a").last() == Some(&399)).await;
    let epoch = seen[0].epoch.to_string();
    let resume = Resume { offset: 20, epoch: epoch.clone() };
    let second = world.watch(view(), Some(resume), MemorySocket::with_room(50)).await;
    publish_pairs(&world, "a", 200..250).await;
    second.socket.read(100_000);
    let frames = second.socket.until("the last", |frames| offsets(frames, "a").last() == Some(&499)).await;
    assert_eq!(offsets(&frames, "a"), (21..=499).collect::<Vec<_>>());
    // At the head there is nothing to recover.
    let resume = Resume { offset: 499, epoch };
    let third = world.watch(view(), Some(resume), MemorySocket::fast()).await;
    publish_pairs(&world, "a", 250..251).await;
    let frames = third.socket.until("two frames", |frames| frames.len() == 2).await;
    assert_eq!(offsets(&frames, "a"), [500, 501]);
}

#[tokio::test(start_paused = true)]
async fn a_position_that_means_nothing_is_answered_with_a_snapshot() {
    let world = World::start(Pairing::Latest).await;
    publish_pairs(&world, "a", 0..2).await;
    let first = world.watch(View::Device(device("a")), None, MemorySocket::fast()).await;
    first.socket.until("the head", |frames| offsets(frames, "a").last() == Some(&3)).await;
    for resume in [
        Resume { offset: 1, epoch: "another".to_owned() },
        Resume { offset: 900, epoch: world.store.epoch(0).await.unwrap().to_string() },
    ] {
        let client = world.watch(View::Device(device("a")), Some(resume), MemorySocket::fast()).await;
        let frames = client.socket.until("a snapshot", |frames| offsets(frames, "a").last() == Some(&3)).await;
        assert_eq!(client.socket.texts()[0], r#"{"recovered":false}"#);
        assert_eq!(frames.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_closed_and_others_do_not_feel_it() {
    let world = World::start(Pairing::Latest).await;
    let stalled = world.watch(View::All, None, MemorySocket::with_room(0)).await;
    let fast = world.watch(View::All, None, MemorySocket::fast()).await;
    publish_pairs(&world, "a", 0..100).await;
    fast.socket.until("all", |frames| frames.len() == 199).await;
    // Within its bound, a single device conflates to its newest frame; then the client has had its time.
    let mut done = stalled.done;
    let mut n = 100;
    let close = loop {
        publish_pairs(&world, "a", n..n + 1).await;
        n += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
        match done.try_recv() {
            Ok(close) => break close,
            Err(_) => assert!(n < 200, "not closed"),
        }
    };
    assert_eq!(close, Close::SLOW);
    let expected = u64::from(n) * 2 - 1;
    fast.socket.until("all", |frames| offsets(frames, "a") == (1..=expected).collect::<Vec<_>>()).await;
}

#[tokio::test(start_paused = true)]
async fn in_timestamp_pairing_halves_join_and_a_lonely_one_comes_after_the_grace_period() {
    let world = World::start(Pairing::Timestamp).await;
    let client = world.watch(View::All, None, MemorySocket::fast()).await;
    let mut publisher = world.publisher().await;
    let half = |message: &str, second: u32| {
        format!(r#"{{"message":"{message}","timestamp":"2026-01-02T03:04:{second:02}Z"}}"#)
    };
    publish(&mut publisher, "coordY", &half("2", 1)).await;
    publish(&mut publisher, "coordX", &half("1", 1)).await;
    publish(&mut publisher, "coordX", &half("3", 2)).await;
    let frames = client.socket.until("a pair", |frames| !frames.is_empty()).await;
    assert_eq!((frames[0].coord_x, frames[0].coord_y, frames[0].unpaired), (1.0, 2.0, false));
    client.socket.until("the lonely half", |frames| frames.len() == 2).await;
    let lonely = &client.socket.frames()[1];
    assert_eq!((lonely.coord_x, lonely.coord_y, lonely.unpaired), (3.0, 2.0, true));
}
