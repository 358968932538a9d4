//! What goes out.

use std::time::Duration;

use super::client::{FIN, PING, PONG, Port, TEXT, frame};
use crate::http::tests::world::PUBLIC;

#[tokio::test]
async fn a_socket_gets_the_snapshot_then_what_follows() {
    let port = Port::open(PUBLIC).await;
    port.world.store.publish("d1", 1.0);
    let latest = [port.world.store.publish("d1", 2.0), port.world.store.publish("d2", 1.0)];
    let mut client = port.connect("/ws").await;
    let mut missing: Vec<&String> = latest.iter().collect();
    while !missing.is_empty() {
        // The hub may still be on its way to the latest value.
        let text = client.text().await;
        missing.retain(|latest| **latest != text);
    }
    for x in 3..100 {
        let published = port.world.store.publish("d1", f64::from(x));
        assert_eq!(client.text().await, published);
    }
}

#[tokio::test]
async fn a_socket_of_one_device_gets_no_other() {
    let port = Port::open(PUBLIC).await;
    let mut client = port.connect("/ws?device=d1").await;
    port.world.store.publish("d2", 1.0);
    let own = port.world.store.publish("d1", 1.0);
    assert_eq!(client.text().await, own);
}

#[tokio::test]
async fn a_position_is_resumed_or_a_snapshot_is_said_to_come() {
    let port = Port::open(PUBLIC).await;
    let published: Vec<String> = (1..=60).map(|x| port.world.store.publish("d1", f64::from(x))).collect();
    let mut resumed = port.connect("/ws?device=d1&offset=55&epoch=e1").await;
    for expected in &published[55..] {
        assert_eq!(&resumed.text().await, expected);
    }
    // Fifty are kept; the epoch is another one.
    for query in ["offset=5&epoch=e1", "offset=55&epoch=e0"] {
        let mut lost = port.connect(&format!("/ws?device=d1&{query}")).await;
        assert_eq!(lost.text().await, r#"{"recovered":false}"#);
        assert_eq!(&lost.text().await, published.last().unwrap());
    }
}

#[tokio::test]
async fn pings_are_answered_in_order_between_the_frames() {
    let port = Port::open(PUBLIC).await;
    let mut client = port.connect_bare("/ws").await;
    let pings: Vec<u8> = (0..10_u8).flat_map(|number| frame(FIN | PING, &[number])).collect();
    client.send(&pings).await;
    for number in 0..10 {
        assert_eq!(client.frame().await, Some((FIN | PONG, vec![number])));
    }
    let published = port.world.store.publish("d1", 1.0);
    assert_eq!(client.frame().await, Some((FIN | TEXT, published.into_bytes())));
}

#[tokio::test]
async fn what_a_client_says_changes_nothing() {
    let port = Port::open(PUBLIC).await;
    let mut client = port.connect_bare("/ws").await;
    client
        .send(&[frame(TEXT, b"hel"), frame(FIN, b"lo"), frame(FIN | 0x2, b"\xff"), frame(FIN | PONG, b"")].concat())
        .await;
    client.send(&frame(FIN | PING, b"!")).await;
    assert_eq!(client.frame().await, Some((FIN | PONG, b"!".to_vec())));
}

#[tokio::test]
async fn a_slow_client_is_closed_with_3008_and_others_feel_nothing() {
    let port = Port::open_with(PUBLIC, 10, 16 * 1024).await;
    let mut slow = port.connect_with_receive_buffer("/ws", 4096).await;
    let mut quick = port.connect("/ws").await;
    // Each a device's newest frame: they can't be conflated. More than the kernel holds between the two.
    for device in 0..6000 {
        let published = port.world.store.publish(&format!("device-{device}"), 1.0);
        assert_eq!(quick.text().await, published);
    }
    assert_eq!(slow.closed().await, (3008, "slow".to_owned()));
    let published = port.world.store.publish("device-0", 0.25);
    assert_eq!(quick.text().await, published);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_pings_stays() {
    let port = Port::open(PUBLIC).await;
    let mut client = port.connect_bare("/ws").await;
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(600) {
        assert_eq!(client.frame().await, Some((FIN | PING, Vec::new())));
        client.send(&frame(FIN | PONG, b"")).await;
    }
    assert_eq!(port.connections.len(), 1);
}
