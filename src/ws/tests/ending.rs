//! How sockets end.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::client::{CLOSE, FIN, PING, Port, TEXT, frame};
use crate::http::tests::world::{PUBLIC, eventually};

#[tokio::test]
async fn a_close_is_answered_with_its_code() {
    let port = Port::open(PUBLIC).await;
    for (payload, code) in [(&b"\x03\xe8bye"[..], 1000), (b"\x0f\xa0", 4000), (b"", 1000), (b"\x03\xed", 1002)] {
        let mut client = port.connect_bare("/ws").await;
        client.send(&frame(FIN | CLOSE, payload)).await;
        assert_eq!(client.closed().await, code);
        assert!(client.ended().await);
    }
    eventually("all have left", || port.connections.is_empty()).await;
    eventually("no session is left", || port.world.sessions.live() == 0).await;
}

#[tokio::test]
async fn a_breach_of_the_protocol_is_told_by_its_code() {
    let port = Port::open(PUBLIC).await;
    let unmasked = vec![FIN | TEXT, 2, b'h', b'i'];
    let cases = [
        (unmasked, 1002),
        (frame(FIN | 0x70 | TEXT, b"x"), 1002),
        (frame(FIN | TEXT, b"\xc3\x28"), 1007),
        ([frame(TEXT, b"\xc3"), frame(FIN, b"\x28")].concat(), 1007),
        (frame(FIN | TEXT, &vec![b'x'; 65_537]), 1009),
        (frame(FIN | CLOSE, b"\x03"), 1002),
    ];
    for (bytes, code) in cases {
        let mut client = port.connect_bare("/ws").await;
        client.send(&bytes).await;
        assert_eq!(client.closed().await, code);
        client.send(&frame(FIN | CLOSE, &code.to_be_bytes())).await;
        assert!(client.ended().await, "the server ends first (RFC 6455, section 7.1.1)");
        assert_eq!(
            port.connections.len(),
            1,
            "what the client still sends is read, so that nothing breaks off the close"
        );
        client.0.shutdown().await.unwrap();
        eventually("it has left", || port.connections.is_empty()).await;
    }
    eventually("all have left", || port.connections.is_empty()).await;
}

#[tokio::test]
async fn a_client_that_just_goes_leaves_nothing_behind() {
    let port = Port::open(PUBLIC).await;
    let client = port.connect_bare("/ws").await;
    let mut half = port.connect_bare("/ws").await;
    drop(client);
    half.0.shutdown().await.unwrap();
    eventually("both have left", || port.connections.is_empty() && port.world.sessions.live() == 0).await;
    assert!(half.ended().await);
}

#[tokio::test]
async fn a_killed_session_closes_its_socket_with_1012() {
    let port = Port::open(PUBLIC).await;
    let mut client = port.connect("/ws").await;
    let mut other = port.connect("/ws").await;
    eventually("both sessions run", || port.world.sessions.live() == 2).await;
    let killed = port.connections.list(0, 1)[0].session_id;
    port.world.tree.kill(&format!("root/ws_sessions/{killed}")).unwrap();
    assert_eq!(client.closed().await, (1012, "service restart".to_owned()));
    let published = port.world.store.publish("d1", 1.0);
    assert_eq!(other.text().await, published);
}

#[tokio::test]
async fn a_tree_that_stops_closes_all_with_1012() {
    let port = Port::open(PUBLIC).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(port.connect("/ws").await);
    }
    port.running.drain().await;
    port.world.tree.shutdown().await;
    for client in &mut clients {
        assert_eq!(client.closed().await.0, 1012);
    }
    drop(clients);
    port.connections.all_closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_pinged_then_closed_with_3009() {
    let port = Port::open(PUBLIC).await;
    let mut client = port.connect_bare("/ws").await;
    let begun = tokio::time::Instant::now();
    assert_eq!(client.frame().await, Some((FIN | PING, Vec::new())));
    assert!(begun.elapsed() >= Duration::from_secs(25));
    assert_eq!(client.frame().await, Some((FIN | PING, Vec::new())));
    assert_eq!(client.closed().await, 3009);
    assert!(begun.elapsed() >= Duration::from_secs(60) && begun.elapsed() < Duration::from_secs(62));
    // It does not even answer the close.
    assert!(client.ended().await);
    assert!(begun.elapsed() < Duration::from_secs(70));
    eventually("it has left", || port.connections.is_empty()).await;
}
