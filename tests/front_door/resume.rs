//! Resuming at an offset of an epoch.

use orinoco_testkit::unique_name;

use crate::support::{Mode, Setup, World, until};

const NOT_RECOVERED: &str = r#"{"recovered":false}"#;

for_both_modes! {
    a_client_that_resumes_gets_exactly_what_it_missed
    a_client_that_missed_nothing_gets_what_comes_next
    an_unknown_epoch_and_an_offset_that_never_was_begin_with_a_snapshot
    where_history_is_gone_a_snapshot_says_so
    a_client_resumes_across_a_restart_of_the_daemon
}

async fn a_client_that_resumes_gets_exactly_what_it_missed(mode: Mode) {
    let world = World::shared(mode).await;
    let name = unique_name("d");
    let device = world.device().await;
    device.move_to(&name, 0.0, 0.0).await;
    let mut socket = world.watch(&format!("?device={name}")).await;
    let first = socket.frame().await;
    assert_eq!(first.offset, 1);
    socket.close().await;
    for value in 1..=20 {
        device.publish(&format!("devices/{name}/coordX"), value.to_string()).await;
    }
    for from in [1, 1, 7, 20] {
        // Some of them may still be on their way when it connects.
        let mut socket = world.watch(&format!("?device={name}&offset={from}&epoch={}", first.epoch)).await;
        let frames = socket.frames_until(&name, 21).await;
        assert!(frames.iter().map(|frame| frame.offset).eq(from + 1..=21), "from {from}: {frames:?}");
        assert!(frames.iter().all(|frame| frame.x == (frame.offset - 1) as f64));
        socket.close().await;
    }
}

async fn a_client_that_missed_nothing_gets_what_comes_next(mode: Mode) {
    let world = World::shared(mode).await;
    let name = unique_name("d");
    let device = world.device().await;
    device.move_to(&name, 0.0, 0.0).await;
    let head = until("a value", async || crate::support::latest(world, &name).await).await;
    let mut socket = world.watch(&format!("?device={name}&offset={}&epoch={}", head.offset, head.epoch)).await;
    device.publish(&format!("devices/{name}/coordY"), "5").await;
    let frame = socket.frame().await;
    assert_eq!((frame.offset, frame.y), (head.offset + 1, 5.0));
}

async fn an_unknown_epoch_and_an_offset_that_never_was_begin_with_a_snapshot(mode: Mode) {
    let world = World::shared(mode).await;
    let name = unique_name("d");
    let device = world.device().await;
    device.move_to(&name, 1.0, 2.0).await;
    let head = until("a value", async || crate::support::latest(world, &name).await).await;
    for (offset, epoch) in [(head.offset, "unknown"), (0, "x"), (head.offset + 1, &head.epoch), (99_999, &head.epoch)] {
        let mut socket = world.watch(&format!("?device={name}&offset={offset}&epoch={epoch}")).await;
        assert_eq!(socket.text().await, NOT_RECOVERED, "{offset} {epoch}");
        assert_eq!(socket.frame().await, head);
        socket.close().await;
    }
    // It goes on from there.
    let mut socket = world.watch(&format!("?device={name}&offset=7&epoch=unknown")).await;
    assert_eq!(socket.text().await, NOT_RECOVERED);
    assert_eq!(socket.frame().await, head);
    device.publish(&format!("devices/{name}/coordY"), "5").await;
    assert_eq!(socket.frame().await.offset, head.offset + 1);
}

async fn where_history_is_gone_a_snapshot_says_so(mode: Mode) {
    let world = World::start(mode, Setup::default().set("stream.history_max", 10)).await;
    let name = unique_name("d");
    let device = world.device().await;
    for value in 0..15 {
        device.move_to(&name, f64::from(value), f64::from(value)).await;
    }
    let head = until("the last value", async || {
        crate::support::latest(&world, &name).await.filter(|latest| (latest.x, latest.y) == (14.0, 14.0))
    })
    .await;
    // Held: the last ten.
    let oldest = head.offset - 10;
    let mut socket = world.watch(&format!("?device={name}&offset={oldest}&epoch={}", head.epoch)).await;
    let frames = socket.frames_until(&name, head.offset).await;
    assert!(frames.iter().map(|frame| frame.offset).eq(oldest + 1..=head.offset));
    for gone in [oldest - 1, 1, 0] {
        let mut socket = world.watch(&format!("?device={name}&offset={gone}&epoch={}", head.epoch)).await;
        assert_eq!(socket.text().await, NOT_RECOVERED, "{gone}");
        assert_eq!(socket.frame().await, head);
    }
}

async fn a_client_resumes_across_a_restart_of_the_daemon(mode: Mode) {
    let world = World::start(mode, Setup::default()).await;
    let name = unique_name("d");
    let device = world.device().await;
    device.move_to(&name, 1.0, 2.0).await;
    let mut socket = world.watch(&format!("?device={name}")).await;
    let first = socket.frame().await;
    device.publish(&format!("devices/{name}/coordX"), "3").await;
    assert_eq!(socket.frame().await.offset, first.offset + 1);
    world.daemon.terminate().await.unwrap();
    world.daemon.restart().await.unwrap();
    world.device().await.publish(&format!("devices/{name}/coordX"), "4").await;
    let mut socket = world.watch(&format!("?device={name}&offset={}&epoch={}", first.offset, first.epoch)).await;
    let frames = socket.frames_until(&name, first.offset + 2).await;
    assert!(frames.iter().map(|frame| frame.x).eq([3.0, 4.0]), "{frames:?}");
    assert!(frames.iter().all(|frame| frame.epoch == first.epoch));
}
