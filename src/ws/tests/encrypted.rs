//! Sockets over TLS: all that a socket does, through records that break anywhere.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use orinoco_ports::ClientSocket;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use super::{
    super::socket::TcpClient,
    client::{CLOSE, FIN, PING, PONG, Port, TEXT, frame, handshake},
};
use crate::{
    http::tests::world::{PUBLIC, address, eventually},
    tls::{ClientStream, tests::SelfSigned},
};

const QUEUE_BYTES_MAX: usize = 16 * 1024;

async fn open() -> (Port, SelfSigned) {
    let signed = SelfSigned::new();
    (Port::open_by(Some(signed.tls.clone()), PUBLIC, 10, QUEUE_BYTES_MAX).await, signed)
}

async fn stream(port: &Port, signed: &SelfSigned) -> TlsStream<TcpStream> {
    signed.connect(TcpStream::connect(address(port.place())).await.unwrap()).await
}

async fn upgrade(port: &Port, stream: TlsStream<TcpStream>) -> WebSocketStream<TlsStream<TcpStream>> {
    client_async(format!("wss://{}/ws", address(port.place())), stream).await.unwrap().0
}

async fn text(socket: &mut WebSocketStream<TlsStream<TcpStream>>) -> String {
    socket.next().await.unwrap().unwrap().into_text().unwrap().to_string()
}

/// The next frame of a server: its first byte and its payload.
async fn read_frame(stream: &mut TlsStream<TcpStream>) -> (u8, Vec<u8>) {
    let first = stream.read_u8().await.unwrap();
    let length = match stream.read_u8().await.unwrap() {
        126 => usize::from(stream.read_u16().await.unwrap()),
        length => usize::from(length),
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.unwrap();
    (first, payload)
}

#[tokio::test]
async fn a_socket_gets_what_is_published_and_its_pings_are_answered() {
    let (port, signed) = open().await;
    assert!(port.place().starts_with("wss://"), "{}", port.place());
    let mut client = upgrade(&port, stream(&port, &signed).await).await;
    for x in 1..100 {
        let published = port.world.store.publish("d1", f64::from(x));
        assert_eq!(text(&mut client).await, published);
        client.send(Message::Ping(vec![1; 100].into())).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong(vec![1; 100].into()));
    }
    client.close(None).await.unwrap();
    while client.next().await.is_some_and(|message| message.is_ok()) {}
    eventually("it has left", || port.connections.is_empty() && port.world.sessions.live() == 0).await;
}

#[tokio::test]
async fn what_comes_with_the_handshake_in_one_record_is_read_and_so_is_what_fills_many() {
    let (port, signed) = open().await;
    let mut client = stream(&port, &signed).await;
    let first = [handshake("/ws").into_bytes(), frame(FIN | PING, b"at once")].concat();
    client.write_all(&first).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    assert_eq!(read_frame(&mut client).await, (FIN | PONG, b"at once".to_vec()));
    // More than is read in a turn, and nothing after it that would wake anybody.
    let long = frame(FIN | TEXT, &vec![b'x'; 60_000]);
    for _ in 0..5 {
        client.write_all(&long).await.unwrap();
    }
    client.write_all(&frame(FIN | PING, b"last")).await.unwrap();
    assert_eq!(read_frame(&mut client).await, (FIN | PONG, b"last".to_vec()));
    client.write_all(&frame(FIN | CLOSE, b"\x03\xe8")).await.unwrap();
    assert_eq!(read_frame(&mut client).await, (FIN | CLOSE, b"\x03\xe8".to_vec()));
    // With close_notify: else it would be an error.
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_slow_client_is_closed_with_3008_after_whole_frames() {
    let (port, signed) = open().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let narrow = socket.connect(address(port.place()).parse().unwrap()).await.unwrap();
    let mut slow = upgrade(&port, signed.connect(narrow).await).await;
    let mut quick = upgrade(&port, stream(&port, &signed).await).await;
    let mut published = Vec::new();
    for device in 0..6000 {
        published.push(port.world.store.publish(&format!("device-{device}"), 1.0));
        assert_eq!(text(&mut quick).await, published[device]);
    }
    let mut frames = 0;
    let code = loop {
        match slow.next().await.unwrap().unwrap() {
            Message::Text(text) => {
                assert_eq!(text.as_str(), published[frames], "in order, and whole");
                frames += 1;
            }
            Message::Close(Some(close)) => break u16::from(close.code),
            _ => {}
        }
    };
    assert_eq!(code, 3008);
    assert!(frames > 0);
}

#[tokio::test]
async fn a_client_that_goes_or_breaks_tls_leaves_nothing_behind() {
    let (port, signed) = open().await;
    let gone = upgrade(&port, stream(&port, &signed).await).await;
    let mut broken = upgrade(&port, stream(&port, &signed).await).await;
    eventually("both are open", || port.connections.len() == 2).await;
    // Without close_notify.
    drop(gone);
    broken.get_mut().get_mut().0.write_all(b"no record").await.unwrap();
    eventually("both have left", || port.connections.is_empty() && port.world.sessions.live() == 0).await;
    // A port that speaks TLS speaks nothing else.
    let mut plain = TcpStream::connect(address(port.place())).await.unwrap();
    plain.write_all(handshake("/ws").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
}

#[tokio::test]
async fn messages_longer_than_any_buffer_go_out_whole_and_in_order() {
    let signed = SelfSigned::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let (begun, mut client) = tokio::join!(ClientStream::begin(accepted, Some(&signed.tls)), signed.connect(stream));
    let socket = TcpClient::new(begun.unwrap());
    let lengths = [1, 100_000, 7, 3_000_000, 16_384, 40_000, 1];
    let messages: Vec<Bytes> = lengths.iter().zip(0..).map(|(length, fill)| vec![fill; *length].into()).collect();
    let sending = async {
        let mut left = &messages[..];
        while !left.is_empty() {
            match socket.try_write(left).unwrap() {
                0 => {
                    assert!(socket.is_blocked());
                    socket.flushed().await.unwrap();
                }
                taken => left = &left[taken..],
            }
        }
        while socket.has_rest() {
            socket.flushed().await.unwrap();
        }
        socket.shut_down();
    };
    let mut received = Vec::new();
    let (read, ()) = tokio::join!(client.read_to_end(&mut received), sending);
    read.unwrap();
    assert!(received == messages.concat());
}
