//! The opening handshake.

use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::client::{Bare, FIN, PING, PONG, Port, frame, handshake};
use crate::http::tests::world::{PUBLIC, address, eventually, exchange, get, request};

#[tokio::test]
async fn a_request_that_is_no_handshake_is_426_with_the_version() {
    let port = Port::open(PUBLIC).await;
    let plain = get(port.place(), "/ws").await;
    assert_eq!((plain.status, plain.header("sec-websocket-version")), (426, Some("13")));
    assert_eq!(plain.header("upgrade"), Some("websocket"));
    plain.detail();
    let old = handshake("/ws").replace("Version: 13", "Version: 8");
    assert_eq!(exchange(port.place(), old.as_bytes()).await.status, 426);
    let without_key = handshake("/ws").replace("Sec-WebSocket-Key", "X-Key");
    assert_eq!(exchange(port.place(), without_key.as_bytes()).await.status, 400);
    assert_eq!(exchange(port.place(), handshake("/ws").replace("HTTP/1.1", "HTTP/1.0").as_bytes()).await.status, 426);
}

#[tokio::test]
async fn another_path_is_404_and_another_method_405() {
    let port = Port::open(PUBLIC).await;
    for path in ["/", "/wss", "/ws/x"] {
        let answer = exchange(port.place(), handshake(path).as_bytes()).await;
        assert_eq!(answer.status, 404, "{path}");
        answer.detail();
    }
    let post = request(port.place(), "POST", "/ws", "").await;
    assert_eq!((post.status, post.header("allow")), (405, Some("GET")));
}

#[tokio::test]
async fn a_wrong_parameter_is_named_before_the_handshake() {
    let port = Port::open(PUBLIC).await;
    let cases =
        [("device=a%20b", "device"), ("offset=1&epoch=e", "device"), ("device=a&offset=1", "epoch"), ("x=1", "x")];
    for (query, parameter) in cases {
        for answer in [
            exchange(port.place(), handshake(&format!("/ws?{query}")).as_bytes()).await,
            get(port.place(), &format!("/ws?{query}")).await,
        ] {
            assert_eq!(answer.status, 400, "{query}");
            assert_eq!(answer.json()["parameter"], parameter, "{query}");
        }
    }
}

#[tokio::test]
async fn beyond_the_bound_a_socket_gets_503_until_one_leaves() {
    let port = Port::open_with(PUBLIC, 2, 4096).await;
    let first = port.connect("/ws").await;
    let _second = port.connect("/ws").await;
    let full = exchange(port.place(), handshake("/ws").as_bytes()).await;
    assert_eq!((full.status, full.header("retry-after")), (503, Some("2")));
    full.detail();
    assert_eq!(port.connections.len(), 2);
    drop(first);
    eventually("the first has left", || port.connections.len() == 1).await;
    port.connect("/ws").await;
}

#[tokio::test]
async fn open_sockets_are_listed_with_their_address() {
    let port = Port::open(PUBLIC).await;
    let _client = port.connect("/ws").await;
    let list = port.connections.list(0, 10);
    assert_eq!(list.len(), 1);
    assert!(list[0].client_ip.is_loopback() && list[0].connected_at_ms > 1_600_000_000_000);
}

#[tokio::test]
async fn frames_right_behind_the_handshake_are_not_lost() {
    let port = Port::open(PUBLIC).await;
    let mut stream = TcpStream::connect(address(port.place())).await.unwrap();
    let bytes = [handshake("/ws").into_bytes(), frame(FIN | PING, b"early")].concat();
    stream.write_all(&bytes).await.unwrap();
    let mut client = Bare::opened(stream).await;
    assert_eq!(client.frame().await, Some((FIN | PONG, b"early".to_vec())));
}

#[tokio::test]
async fn a_client_that_sends_byte_by_byte_is_served() {
    let port = Port::open(PUBLIC).await;
    let mut stream = TcpStream::connect(address(port.place())).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in handshake("/ws").into_bytes() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut client = Bare::opened(stream).await;
    for byte in frame(FIN | PING, b"slowly") {
        client.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.frame().await, Some((FIN | PONG, b"slowly".to_vec())));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_come_ends_the_connection() {
    let port = Port::open(PUBLIC).await;
    let stream = TcpStream::connect(address(port.place())).await.unwrap();
    let mut slow = Bare(stream);
    slow.send(b"GET /ws HT").await;
    assert!(slow.ended().await);
    assert!(port.connections.is_empty());
}

#[tokio::test]
async fn a_stopped_tree_is_503() {
    let port = Port::open(PUBLIC).await;
    port.world.tree.shutdown().await;
    let answer = exchange(port.place(), handshake("/ws").as_bytes()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")));
}
