//! What clients do to connections.

use std::time::Duration;

use orinoco_ports::{Running, ServerError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::world::{Answer, PUBLIC, World, address, exchange, get};
use crate::http::{HttpDeps, HttpServer};

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

async fn serve(deps: HttpDeps) -> Box<dyn Running> {
    HttpServer::new(deps).start().await.unwrap()
}

/// Reads one answer and leaves the connection open.
async fn answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 1024];
        let length = stream.read(&mut buffer).await.unwrap();
        assert!(length > 0, "closed: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let announced = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= announced.parse().unwrap() {
                return Answer::parse(&bytes);
            }
        }
    }
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 1024]).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_its_key() {
    let world = World::start().await;
    let port = serve(world.http_deps(PUBLIC)).await;
    let listen = address(port.place()).to_owned();
    let refused = HttpServer::new(HttpDeps { listen: listen.clone(), ..world.http_deps(PUBLIC) }).start().await;
    let Err(error @ ServerError::Bind { .. }) = refused else { panic!("bound twice") };
    assert!(error.to_string().starts_with(&format!("http.listen = {listen} can't be bound:")), "{error}");
}

#[tokio::test]
async fn a_dropped_port_is_free_again() {
    let world = World::start().await;
    let port = serve(world.http_deps(PUBLIC)).await;
    let listen = address(port.place()).to_owned();
    drop(port);
    loop {
        let again = HttpServer::new(HttpDeps { listen: listen.clone(), ..world.http_deps(PUBLIC) }).start().await;
        if let Ok(port) = again {
            return assert_eq!(get(port.place(), "/healthz").await.status, 200);
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_413_also_for_who_sends_it_first() {
    let world = World::start().await;
    let port = serve(world.http_deps(PUBLIC)).await;
    let head = |length: usize, more: &str| {
        format!(
            "POST /api/v1/devices HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n"
        )
    };
    let sent = [head(3_000_000, "").into_bytes(), vec![b'x'; 3_000_000]].concat();
    for request in [sent, head(1025, "Expect: 100-continue\r\n").into_bytes()] {
        let answer = exchange(port.place(), &request).await;
        assert_eq!(answer.status, 413);
        assert!(answer.detail().contains("longer than 1024 bytes"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
}

#[tokio::test]
async fn a_request_without_a_host_is_400() {
    let world = World::start().await;
    let port = serve(world.http_deps(PUBLIC)).await;
    for hosts in ["", "Host: a\r\nHost: b\r\n"] {
        let request = format!("GET /healthz HTTP/1.1\r\nConnection: close\r\n{hosts}\r\n");
        let answer = exchange(port.place(), request.as_bytes()).await;
        assert_eq!((answer.status, answer.detail().as_str()), (400, "send one header `Host`"));
    }
    assert_eq!(exchange(port.place(), b"GET /healthz HTTP/1.0\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn what_is_no_http_is_400_and_a_long_head_431() {
    let world = World::start().await;
    let port = serve(world.http_deps(PUBLIC)).await;
    assert_eq!(exchange(port.place(), b"nonsense\r\n\r\n").await.status, 400);
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nCookie: {}\r\n\r\n", "x".repeat(100_000));
    let mut stream = TcpStream::connect(address(port.place())).await.unwrap();
    // The server may break off before it has read all.
    let _ = stream.write_all(long.as_bytes()).await;
    assert_eq!(answer(&mut stream).await.status, 431);
}

#[tokio::test]
async fn beyond_the_bound_a_connection_waits_until_one_ends() {
    let world = World::start().await;
    let port = serve(HttpDeps { connections_max: 1, ..world.http_deps(PUBLIC) }).await;
    let mut first = TcpStream::connect(address(port.place())).await.unwrap();
    first.write_all(REQUEST).await.unwrap();
    assert_eq!(answer(&mut first).await.status, 200);
    let mut second = TcpStream::connect(address(port.place())).await.unwrap();
    second.write_all(REQUEST).await.unwrap();
    // The first is served on, the second waits.
    for _ in 0..20 {
        first.write_all(REQUEST).await.unwrap();
        assert_eq!(answer(&mut first).await.status, 200);
    }
    assert_eq!(second.try_read(&mut [0; 1]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(first);
    assert_eq!(answer(&mut second).await.status, 200);
}

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_closes_what_is_idle() {
    let world = World::start().await;
    let port = serve(world.http_deps(PUBLIC)).await;
    let place = port.place().to_owned();
    let mut idle = TcpStream::connect(address(&place)).await.unwrap();
    idle.write_all(REQUEST).await.unwrap();
    assert_eq!(answer(&mut idle).await.status, 200);
    let mut busy = TcpStream::connect(address(&place)).await.unwrap();
    busy.write_all(&REQUEST[..20]).await.unwrap();
    // Served after it, so that the half request has been read.
    assert_eq!(get(&place, "/healthz").await.status, 200);

    let draining = tokio::spawn(port.drain());
    assert!(is_closed(&mut idle).await);
    assert!(TcpStream::connect(address(&place)).await.is_err(), "the port is closed");
    assert!(!draining.is_finished());
    busy.write_all(&REQUEST[20..]).await.unwrap();
    assert_eq!(answer(&mut busy).await.status, 200);
    assert!(is_closed(&mut busy).await);
    draining.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_ends_the_connection() {
    let world = World::start().await;
    let port = serve(world.http_deps(PUBLIC)).await;
    let mut slow = TcpStream::connect(address(port.place())).await.unwrap();
    slow.write_all(b"GET /healthz HT").await.unwrap();
    let begun = tokio::time::Instant::now();
    assert!(is_closed(&mut slow).await);
    assert!(begun.elapsed() >= Duration::from_secs(30), "{:?}", begun.elapsed());
}
