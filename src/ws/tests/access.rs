//! Who gets in.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::SinkExt;
use orinoco_actors::View;
use orinoco_domain::{account::UserId, refresh::FamilyId};
use tokio_tungstenite::tungstenite::Message;

use super::client::{FIN, PING, PONG, Port, TEXT, frame, handshake};
use crate::{
    auth::{LiveLogins, Login, Watch, now_ms},
    http::{
        Access, Credential, Denied, PublicOnly, Viewer,
        tests::world::{OneAccount, exchange},
    },
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

/// Lets in whoever comes, for a while, by one login.
pub(super) struct ForAWhile {
    pub(super) live: Arc<LiveLogins>,
    expires_in_ms: i64,
}

pub(super) fn login() -> Login {
    Login { user_id: UserId(1), session: FamilyId::from_bytes([1; 16]) }
}

impl ForAWhile {
    pub(super) fn new(expires_in_ms: i64) -> Self {
        Self { live: LiveLogins::new(300_000), expires_in_ms }
    }
}

#[async_trait]
impl Access for ForAWhile {
    async fn viewer(&self, _token: Option<&str>) -> Result<Viewer, Denied> {
        let issued_at_ms = now_ms();
        let expires_at_ms = issued_at_ms + self.expires_in_ms;
        let credential = Some(Credential { login: login(), issued_at_ms, expires_at_ms });
        Ok(Viewer { view: View::All, credential })
    }

    fn watch(&self, credential: Credential) -> Option<Watch> {
        Some(self.live.watch(credential.login, credential.issued_at_ms))
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expires_closes_with_3005_in_time() {
    let port = Port::open(ForAWhile::new(10_000)).await;
    let mut client = port.connect_bare("/ws").await;
    let begun = tokio::time::Instant::now();
    assert_eq!(client.closed().await, 3005);
    // By two clocks, one of which runs on.
    assert!(begun.elapsed() >= Duration::from_secs(8) && begun.elapsed() < Duration::from_secs(25));
}

#[tokio::test]
async fn a_login_that_ends_closes_with_3503() {
    let access = ForAWhile::new(300_000);
    let live = Arc::clone(&access.live);
    let port = Port::open(access).await;
    let mut client = port.connect("/ws").await;
    live.note(login().user_id, None, now_ms() + 2_000);
    assert_eq!(client.closed().await, (3503, "force disconnect".to_owned()));
    let mut late = port.connect("/ws").await;
    assert_eq!(late.closed().await.0, 3503, "one that ended before");
}
