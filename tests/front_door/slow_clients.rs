//! Clients that don't keep up, and too many of them.

use std::collections::{BTreeMap, VecDeque};

use orinoco_testkit::unique_name;

use crate::support::{Device, Mode, Said, Setup, Socket, World, turn, within};

for_both_modes! {
    a_slow_client_misses_older_frames_and_nobody_else_does
    a_client_that_is_too_slow_is_closed_with_3008
}

/// Messages without PUBACK at a time.
const WINDOW_MAX: usize = 80;

/// Publishes a number on X of each device, once a round.
async fn flood(device: &Device, names: &[String], rounds: std::ops::Range<usize>) {
    for round in rounds {
        publish_all(device, names.iter().map(|name| format!("devices/{name}/coordX")), round).await;
    }
}

async fn publish_all(device: &Device, topics: impl Iterator<Item = String>, value: usize) {
    let mut tokens = VecDeque::new();
    for topic in topics {
        tokens.push_back(device.send(&topic, value.to_string()).await);
        if tokens.len() == WINDOW_MAX {
            within("a PUBACK", tokens.pop_front().unwrap()).await.unwrap();
        }
    }
    for token in tokens {
        within("a PUBACK", token).await.unwrap();
    }
}

/// Devices with a first value on both axes.
async fn start(device: &Device, count: usize) -> Vec<String> {
    let prefix = unique_name("flood");
    let names: Vec<String> = (0..count).map(|number| format!("{prefix}-{number}")).collect();
    for axis in ["coordX", "coordY"] {
        publish_all(device, names.iter().map(|name| format!("devices/{name}/{axis}")), 0).await;
    }
    names
}

async fn a_slow_client_misses_older_frames_and_nobody_else_does(mode: Mode) {
    const ROUNDS: usize = 2_500;
    let _turn = turn().await;
    let world = World::start(mode, Setup::default().set("ws.stall_max_s", 300)).await;
    let device = world.device().await;
    let names = start(&device, 8).await;
    let mut slow = Socket::open_narrow(world.daemon.ws_address(), "").await;
    let mut fast = world.watch("").await;
    let last = (ROUNDS - 1) as f64;
    let read_all = async {
        let mut offsets: BTreeMap<String, u64> = BTreeMap::new();
        let mut done = 0;
        while done < names.len() {
            let frame = fast.frame().await;
            if let Some(before) = offsets.insert(frame.device.clone(), frame.offset) {
                assert_eq!(frame.offset, before + 1, "the fast client missed a frame");
            }
            done += usize::from(frame.x == last);
        }
    };
    tokio::join!(flood(&device, &names, 1..ROUNDS), read_all);
    let mut offsets: BTreeMap<String, u64> = BTreeMap::new();
    let (mut jumps, mut done) = (0, 0);
    while done < names.len() {
        let frame = slow.frame().await;
        if let Some(before) = offsets.insert(frame.device.clone(), frame.offset) {
            assert!(frame.offset > before, "{} went back", frame.device);
            jumps += usize::from(frame.offset > before + 1);
        }
        done += usize::from(frame.x == last);
    }
    assert!(jumps > 0, "20,000 frames fitted into buffers; the client was not slow");
}

async fn a_client_that_is_too_slow_is_closed_with_3008(mode: Mode) {
    const DEVICES: usize = 400;
    let _turn = turn().await;
    // Even the newest frame of each device is more than the queue holds.
    let setup = Setup::default().set("ws.queue_bytes_max", 32_768).set("ws.stall_max_s", 300);
    let world = World::start(mode, setup).await;
    let device = world.device().await;
    let names = start(&device, DEVICES).await;
    let mut slow = Socket::open_narrow(world.daemon.ws_address(), "").await;
    // All frames of one device fit.
    let mut fast = world.watch(&format!("?device={}", names[0])).await;
    let rounds = 60;
    let read_all = async {
        let mut offset = fast.frame().await.offset;
        loop {
            let frame = fast.frame().await;
            assert_eq!(frame.offset, offset + 1, "the fast client missed a frame");
            offset = frame.offset;
            if frame.x == f64::from(rounds - 1) {
                break;
            }
        }
    };
    tokio::join!(flood(&device, &names, 1..rounds as usize), read_all);
    let code = loop {
        if let Said::Closed(code) = slow.next().await {
            break code;
        }
    };
    assert_eq!(code, Some(3008));
    // It may come back.
    assert_eq!(world.watch(&format!("?device={}", names[0])).await.frame().await.x, f64::from(rounds - 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_socket_too_many_gets_503_until_another_has_gone() {
    let world = World::start(Mode::Embedded, Setup::default().set("ws.connections_max", 3)).await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(world.watch("").await);
    }
    for _ in 0..2 {
        assert_eq!(Socket::open(world.daemon.ws_address(), "").await.err(), Some(503));
    }
    sockets.pop().unwrap().close().await;
    let again =
        crate::support::until("room for a socket", async || Socket::open(world.daemon.ws_address(), "").await.ok());
    drop(again.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_wish_is_refused_before_the_handshake() {
    let world = World::shared(Mode::Embedded).await;
    for query in ["?device=a%20b", "?device=", "?offset=1&epoch=e", "?device=d&offset=x&epoch=e", "?device=d&offset=1"]
    {
        assert_eq!(Socket::open(world.daemon.ws_address(), query).await.err(), Some(400), "{query}");
    }
}
