//! Who gets in.

use std::time::Duration;

use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message;

use super::client::{FIN, PING, PONG, Port, TEXT, frame, handshake};
use crate::http::{
    PublicOnly,
    tests::world::{OneAccount, exchange},
};

const ACCOUNT: OneAccount = OneAccount { token: "secret", device: "d1" };

fn with_token(path: &str, token: &str) -> String {
    handshake(path).replace("Host:", &format!("Authorization: Bearer {token}\r\nHost:"))
}

#[tokio::test]
async fn a_wrong_token_in_the_header_is_401() {
    for port in [Port::open(ACCOUNT).await, Port::open(PublicOnly { public: false }).await] {
        let answer = exchange(port.place(), with_token("/ws", "wrong").as_bytes()).await;
        assert_eq!(answer.status, 401);
        assert!(answer.header("www-authenticate").unwrap().contains("invalid_token"));
        answer.detail();
    }
}

#[tokio::test]
async fn another_s_device_is_403() {
    let port = Port::open(ACCOUNT).await;
    assert_eq!(exchange(port.place(), with_token("/ws?device=d2", "secret").as_bytes()).await.status, 403);
}

#[tokio::test]
async fn a_token_in_the_first_message_shows_the_own_device() {
    let port = Port::open(ACCOUNT).await;
    port.world.store.publish("d2", 1.0);
    let own = port.world.store.publish("d1", 1.0);
    let mut client = port.connect("/ws").await;
    client.0.send(Message::text(r#"{"accessToken":"secret"}"#)).await.unwrap();
    assert_eq!(client.text().await, own);
    port.world.store.publish("d2", 2.0);
    let own = port.world.store.publish("d1", 2.0);
    assert_eq!(client.text().await, own);
}

#[tokio::test]
async fn a_first_message_without_a_valid_token_closes_with_3500() {
    let port = Port::open(ACCOUNT).await;
    for message in [r#"{"accessToken":"wrong"}"#, r#"{"accessToken":7}"#, r#"{"token":"secret"}"#, "secret", ""] {
        let mut client = port.connect("/ws").await;
        client.0.send(Message::text(message)).await.unwrap();
        assert_eq!(client.closed().await, (3500, "invalid token".to_owned()), "{message}");
    }
    let mut other = port.connect("/ws?device=d2").await;
    other.0.send(Message::text(r#"{"accessToken":"secret"}"#)).await.unwrap();
    assert_eq!(other.closed().await, (3507, "permission denied".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_does_not_come_closes_with_3500_after_five_seconds() {
    let port = Port::open(PublicOnly { public: false }).await;
    let mut client = port.connect_bare("/ws").await;
    let begun = tokio::time::Instant::now();
    // A sign of life is no token.
    client.send(&[frame(FIN | PING, b"?"), frame(FIN | 0x2, b"binary")].concat()).await;
    assert_eq!(client.frame().await, Some((FIN | PONG, b"?".to_vec())));
    assert_eq!(client.closed().await, 3500);
    assert!(begun.elapsed() >= Duration::from_secs(5) && begun.elapsed() < Duration::from_secs(7));
    assert_eq!(port.world.sessions.live(), 0);
}

#[tokio::test]
async fn a_token_in_pieces_is_read() {
    let port = Port::open(ACCOUNT).await;
    let own = port.world.store.publish("d1", 1.0);
    let mut client = port.connect_bare("/ws").await;
    client
        .send(&[frame(TEXT, br#"{"accessTok"#), frame(FIN | PING, b""), frame(FIN, br#"en":"secret"}"#)].concat())
        .await;
    assert_eq!(client.frame().await, Some((FIN | PONG, Vec::new())));
    assert_eq!(client.frame().await, Some((FIN | TEXT, own.into_bytes())));
}
