//! The Centrifuge protocol, command by command.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{
    access::{ForAWhile, login},
    client::{Client, Port},
};
use crate::{
    auth::now_ms,
    http::tests::world::{OneAccount, PUBLIC, eventually},
};

const PATH: &str = "/connection/websocket";

/// A client that has its replies apart from its publications.
struct Centrifuge {
    client: Client,
    last_id: u32,
    pushes: Vec<Value>,
}

impl Centrifuge {
    async fn connect(port: &Port, token: &str) -> Self {
        let mut centrifuge = Self { client: port.connect(PATH).await, last_id: 0, pushes: Vec::new() };
        let connected = centrifuge.call("connect", json!({ "token": token })).await;
        assert_eq!((&connected["connect"]["ping"], &connected["connect"]["pong"]), (&json!(25), &json!(true)));
        assert_eq!(connected["connect"]["client"].as_str().unwrap().len(), 36);
        centrifuge
    }

    async fn send(&mut self, text: &str) {
        self.client.0.send(Message::text(text)).await.unwrap();
    }

    async fn receive(&mut self) -> Value {
        serde_json::from_str(&self.client.text().await).unwrap()
    }

    /// The reply to one command.
    async fn call(&mut self, name: &str, request: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({ "id": id, name: request }).to_string()).await;
        loop {
            let message = self.receive().await;
            if message["id"] == id {
                return message;
            }
            self.pushes.push(message);
        }
    }

    async fn subscribe(&mut self, channel: &str, more: Value) -> Value {
        let mut request = more;
        request["channel"] = json!(channel);
        self.call("subscribe", request).await["subscribe"].clone()
    }

    async fn error(&mut self, name: &str, request: Value) -> u64 {
        self.call(name, request).await["error"]["code"].as_u64().unwrap()
    }

    /// The next publication.
    async fn publication(&mut self) -> Value {
        let message = if self.pushes.is_empty() { self.receive().await } else { self.pushes.remove(0) };
        assert!(message["push"]["pub"].is_object(), "{message}");
        message["push"].clone()
    }
}

fn object() -> Value {
    json!({})
}

#[tokio::test]
async fn commands_of_one_message_are_all_answered() {
    let port = Port::open(PUBLIC).await;
    let mut client = port.connect(PATH).await;
    let text = "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"device:d1\"}}\n{\"id\":3,\"rpc\":{\"method\":\"m\"}}\n{}";
    client.0.send(Message::text(text)).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let reply: Value = serde_json::from_str(&client.text().await).unwrap();
        ids.push(reply["id"].as_u64().unwrap());
    }
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3]);
}

#[tokio::test]
async fn a_subscription_begins_at_a_position_and_gets_what_follows() {
    let port = Port::open(PUBLIC).await;
    port.world.store.publish("d1", 1.0);
    let mut client = Centrifuge::connect(&port, "").await;
    let mut subscribed = client.subscribe("device:d1", object()).await;
    while subscribed["offset"] == 0 {
        // The hub may still be on its way to the first value.
        client.call("unsubscribe", json!({"channel": "device:d1"})).await;
        subscribed = client.subscribe("device:d1", object()).await;
    }
    assert_eq!((&subscribed["recoverable"], &subscribed["positioned"]), (&json!(true), &json!(true)));
    assert_eq!((&subscribed["offset"], &subscribed["epoch"]), (&json!(1), &json!("e1")));
    assert_eq!(subscribed["data"]["coordX"], 1.0);
    for offset in 2..100_u32 {
        let published: Value = serde_json::from_str(&port.world.store.publish("d1", f64::from(offset))).unwrap();
        let push = client.publication().await;
        assert_eq!(push, json!({"channel": "device:d1", "pub": {"data": published, "offset": offset}}));
    }
}

#[tokio::test]
async fn a_position_is_recovered_or_said_to_be_gone() {
    let port = Port::open(PUBLIC).await;
    let mut client = Centrifuge::connect(&port, "").await;
    client.subscribe("device:d1", object()).await;
    for x in 1..=60 {
        port.world.store.publish("d1", f64::from(x));
    }
    for offset in 1..=60 {
        assert_eq!(client.publication().await["pub"]["offset"], offset);
    }
    let again = async |client: &mut Centrifuge, request| {
        client.call("unsubscribe", json!({"channel": "device:d1"})).await;
        client.subscribe("device:d1", request).await
    };
    let recovered = again(&mut client, json!({"recover": true, "offset": 20, "epoch": "e1"})).await;
    let offsets = recovered["publications"].as_array().unwrap().iter().map(|one| one["offset"].as_u64().unwrap());
    assert!(offsets.eq(21..=60), "{recovered}");
    assert_eq!(recovered["publications"][0]["data"]["offset"], 21);
    assert_eq!((&recovered["recovered"], &recovered["was_recovering"]), (&json!(true), &json!(true)));
    let nothing = again(&mut client, json!({"recover": true, "offset": 60, "epoch": "e1"})).await;
    assert_eq!((&nothing["recovered"], &nothing["publications"]), (&json!(true), &json!([])));
    // Fifty are kept; the epoch is another one; the offset never was.
    for (offset, epoch) in [(5, "e1"), (60, "e0"), (61, "e1")] {
        let gone = again(&mut client, json!({"recover": true, "offset": offset, "epoch": epoch})).await;
        assert_eq!((&gone["recovered"], &gone["was_recovering"]), (&json!(false), &json!(true)), "{gone}");
        assert_eq!((&gone["offset"], &gone["data"]["offset"]), (&json!(60), &json!(60)));
        client.call("unsubscribe", json!({"channel": "device:d1"})).await;
        let request = json!({"channel": "device:d1", "recover": true, "offset": offset, "epoch": epoch, "flag": 2});
        assert_eq!(client.error("subscribe", request).await, 112);
    }
    // It goes on from there.
    client.subscribe("device:d1", object()).await;
    port.world.store.publish("d1", 61.0);
    assert_eq!(client.publication().await["pub"]["offset"], 61);
}

#[tokio::test]
async fn the_channel_of_all_begins_with_the_latest_values_and_has_no_offset() {
    let port = Port::open(PUBLIC).await;
    let mut watcher = Centrifuge::connect(&port, "").await;
    watcher.subscribe("device:d2", object()).await;
    port.world.store.publish("d1", 1.0);
    port.world.store.publish("d2", 2.0);
    watcher.publication().await;
    let mut client = Centrifuge::connect(&port, "").await;
    assert_eq!(client.subscribe("devices", json!({"data": {"devices": ["d2"]}})).await, object());
    let first = client.publication().await;
    assert_eq!((&first["channel"], &first["pub"]["data"]["coordX"]), (&json!("devices"), &json!(2.0)));
    assert!(first["pub"].get("offset").is_none());
    port.world.store.publish("d1", 3.0);
    port.world.store.publish("d2", 4.0);
    assert_eq!(client.publication().await["pub"]["data"]["coordX"], 4.0);
}

#[tokio::test]
async fn a_box_and_a_rate_are_held_to_by_the_server() {
    let port = Port::open(PUBLIC).await;
    let mut client = Centrifuge::connect(&port, "").await;
    let area = json!({"minX": 10, "minY": 0, "maxX": 20, "maxY": 1});
    client.subscribe("device:d1", json!({"data": {"boundingBox": area}})).await;
    for x in [9.9, 10.0, 21.0, 20.0] {
        port.world.store.publish("d1", x);
    }
    let xs = [client.publication().await, client.publication().await].map(|push| push["pub"]["data"]["coordX"].clone());
    assert_eq!(xs, [10.0, 20.0]);
    client.call("unsubscribe", json!({"channel": "device:d1"})).await;
    let subscribed = client.subscribe("device:d1", json!({"data": {"maxRate": 20}})).await;
    assert!(subscribed.get("recoverable").is_none(), "{subscribed}");
    for x in 0..100 {
        port.world.store.publish("d1", f64::from(x));
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&99.0) {
        seen.push(client.publication().await["pub"]["data"]["coordX"].as_f64().unwrap());
    }
    assert!(seen.len() < 50 && seen.is_sorted(), "{seen:?}");
}

#[tokio::test]
async fn what_can_t_be_done_has_its_documented_code() {
    let port = Port::open(PUBLIC).await;
    let mut client = Centrifuge::connect(&port, "").await;
    client.subscribe("devices", object()).await;
    let channel = |name: &str| json!({ "channel": name });
    assert_eq!(client.error("subscribe", channel("news")).await, 102);
    assert_eq!(client.error("subscribe", channel("device:a b")).await, 102);
    assert_eq!(client.error("subscribe", channel("devices")).await, 105);
    assert_eq!(client.error("subscribe", json!({"channel": "device:a", "data": {"maxRate": 0}})).await, 107);
    assert_eq!(client.error("subscribe", json!({"channel": "device:a", "tf": {"key": "x"}})).await, 107);
    assert_eq!(client.error("subscribe", json!({"channel": "device:a", "type": 1})).await, 108);
    assert_eq!(client.error("publish", json!({"channel": "devices", "data": {}})).await, 103);
    assert_eq!(client.error("rpc", json!({"method": "m", "data": {}})).await, 108);
    assert_eq!(client.error("sub_refresh", json!({"channel": "devices", "token": "t"})).await, 108);
    assert_eq!(client.error("history", json!({"channel": "devices", "limit": 1})).await, 108);
    for number in 1..128 {
        assert!(client.subscribe(&format!("device:n{number}"), object()).await.is_object());
    }
    assert_eq!(client.error("subscribe", channel("device:n128")).await, 106);
}

#[tokio::test]
async fn history_is_read_forwards_and_backwards_from_a_position() {
    let port = Port::open(PUBLIC).await;
    for x in 1..=60 {
        port.world.store.publish("d1", f64::from(x));
    }
    let mut client = Centrifuge::connect(&port, "").await;
    let mut history = async |more: Value| {
        let mut request = more;
        request["channel"] = json!("device:d1");
        let reply = client.call("history", request).await;
        let publications = reply["history"]["publications"].as_array().cloned();
        let offsets = publications.map(|all| all.iter().map(|one| one["offset"].as_u64().unwrap()).collect::<Vec<_>>());
        offsets.ok_or_else(|| reply["error"]["code"].clone())
    };
    let since = |offset| json!({"offset": offset, "epoch": "e1"});
    assert_eq!(history(object()).await, Ok(vec![]), "the position alone");
    assert_eq!(history(json!({"limit": -1})).await, Ok((11..=60).collect()));
    assert_eq!(history(json!({"limit": 2})).await, Ok(vec![11, 12]));
    assert_eq!(history(json!({"limit": 2, "since": since(30)})).await, Ok(vec![31, 32]));
    assert_eq!(history(json!({"limit": 5, "since": since(60)})).await, Ok(vec![]));
    assert_eq!(history(json!({"limit": 2, "reverse": true})).await, Ok(vec![60, 59]));
    assert_eq!(history(json!({"limit": 2, "reverse": true, "since": since(30)})).await, Ok(vec![29, 28]));
    for lost in [since(3), since(61), json!({"offset": 60, "epoch": "e0"})] {
        assert_eq!(history(json!({"limit": 2, "since": lost})).await, Err(json!(112)));
    }
}

#[tokio::test]
async fn who_has_subscribed_is_present_until_it_leaves() {
    let port = Port::open(PUBLIC).await;
    let mut client = Centrifuge::connect(&port, "").await;
    let mut other = Centrifuge::connect(&port, "").await;
    client.subscribe("device:d1", object()).await;
    other.subscribe("device:d1", object()).await;
    let channel = || json!({"channel": "device:d1"});
    let stats = client.call("presence_stats", channel()).await;
    assert_eq!(stats["presence_stats"], json!({"num_clients": 2, "num_users": 1}));
    drop(other);
    eventually("the other has left", || port.world.centrifuge_sessions.live() == 1).await;
    let present = client.call("presence", channel()).await;
    assert_eq!(present["presence"]["presence"].as_object().unwrap().len(), 1);
    client.call("unsubscribe", channel()).await;
    assert_eq!(client.call("presence", channel()).await["presence"], json!({"presence": {}}));
}

#[tokio::test]
async fn who_asked_for_it_is_told_who_comes_and_goes() {
    let port = Port::open(PUBLIC).await;
    let mut deaf = Centrifuge::connect(&port, "").await;
    deaf.subscribe("devices", object()).await;
    let mut client = Centrifuge::connect(&port, "").await;
    client.subscribe("devices", json!({"join_leave": true})).await;
    let mut news = async |kind: &str| {
        let push = client.receive().await["push"].clone();
        assert_eq!((&push["channel"], &push[kind]["info"]["user"]), (&json!("devices"), &json!("")), "{push}");
        push[kind]["info"]["client"].clone()
    };
    let itself = news("join").await;
    let mut other = Centrifuge::connect(&port, "").await;
    other.subscribe("devices", object()).await;
    let joined = news("join").await;
    assert_ne!(itself, joined);
    other.call("unsubscribe", json!({"channel": "devices"})).await;
    assert_eq!(news("leave").await, joined);
    client.call("unsubscribe", json!({"channel": "devices"})).await;
    assert!(client.pushes.is_empty() && deaf.pushes.is_empty());
    // Nothing but the reply has come to who did not ask.
    deaf.call("presence_stats", json!({"channel": "devices"})).await;
    assert!(deaf.pushes.is_empty(), "{:?}", deaf.pushes);
}

#[tokio::test]
async fn a_user_gets_its_own_device_and_no_other() {
    let port = Port::open(OneAccount { token: "secret", device: "d1" }).await;
    let mut client = Centrifuge::connect(&port, "secret").await;
    for name in ["subscribe", "history", "presence", "presence_stats"] {
        assert_eq!(client.error(name, json!({"channel": "device:d2", "limit": 1})).await, 103, "{name}");
    }
    client.subscribe("devices", object()).await;
    client.subscribe("device:d1", object()).await;
    port.world.store.publish("d2", 1.0);
    port.world.store.publish("d1", 2.0);
    let channels = [client.publication().await, client.publication().await].map(|push| {
        assert_eq!(push["pub"]["data"]["device"], "d1");
        push["channel"].as_str().unwrap().to_owned()
    });
    assert!(channels.contains(&"devices".to_owned()) && channels.contains(&"device:d1".to_owned()), "{channels:?}");
}

#[tokio::test]
async fn tokens_that_are_none_and_broken_commands_close_with_their_codes() {
    let port = Port::open(OneAccount { token: "secret", device: "d1" }).await;
    let closed = async |text: &str| {
        let mut client = port.connect(PATH).await;
        client.0.send(Message::text(text)).await.unwrap();
        client.closed().await
    };
    assert_eq!(closed(r#"{"id":1,"connect":{"token":"wrong"}}"#).await, (3500, "invalid token".to_owned()));
    let bad = (3501, "bad request".to_owned());
    for text in ["x", "{}", r#"{"id":1,"subscribe":{"channel":"devices"}}"#, r#"{"connect":{}}"#] {
        assert_eq!(closed(text).await, bad, "{text}");
    }
    let mut client = Centrifuge::connect(&port, "secret").await;
    client.send(r#"{"id":9,"connect":{"token":"secret"}}"#).await;
    assert_eq!(client.client.closed().await, bad, "it has connected");
}

#[tokio::test]
async fn a_token_that_is_missing_or_expired_is_told_by_its_error() {
    let port = Port::open(OneAccount { token: "secret", device: "d1" }).await;
    // {"exp":1700000000}
    for (token, code) in [("", 101), ("e30.eyJleHAiOjE3MDAwMDAwMDB9.e30", 109)] {
        let mut client = Centrifuge { client: port.connect(PATH).await, last_id: 0, pushes: Vec::new() };
        assert_eq!(client.error("connect", json!({ "token": token })).await, code);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_connect_or_does_not_answer_is_closed() {
    let port = Port::open(PUBLIC).await;
    let mut silent = port.connect_bare(PATH).await;
    assert_eq!(silent.closed().await, 3502);
    let mut deaf = Centrifuge::connect(&port, "").await;
    let began = tokio::time::Instant::now();
    for _ in 0..2 {
        assert_eq!(deaf.client.0.next().await.unwrap().unwrap(), Message::text("{}"), "a ping");
    }
    let Some(Ok(Message::Close(Some(close)))) = deaf.client.0.next().await else { panic!("it is closed") };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (3012, "no pong"));
    assert!(began.elapsed() >= Duration::from_secs(59), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_slow_client_loses_its_subscription_and_recovers_it() {
    let port = Port::open_with(PUBLIC, 10, 16 * 1024).await;
    let client = port.connect_with_receive_buffer(PATH, 4096).await;
    let mut client = Centrifuge { client, last_id: 0, pushes: Vec::new() };
    client.call("connect", object()).await;
    client.subscribe("device:d1", object()).await;
    let mut fast = Centrifuge::connect(&port, "").await;
    fast.subscribe("device:d1", object()).await;
    let mut published = 0;
    // The kernel's buffers first, then ours.
    for _ in 0..400 {
        for _ in 0..25 {
            published += 1;
            port.world.store.publish("d1", f64::from(published));
        }
        for offset in published - 24..=published {
            assert_eq!(fast.publication().await["pub"]["offset"], offset, "others never feel it");
        }
    }
    let mut last = 0;
    loop {
        let push = client.receive().await["push"].clone();
        let Some(offset) = push["pub"]["offset"].as_u64() else {
            assert_eq!(push["unsubscribe"], json!({"code": 2500, "reason": "insufficient state"}));
            break;
        };
        last += 1;
        assert_eq!(offset, last, "no gap before it");
    }
    assert!(last < published as u64);
    let recovered =
        client.subscribe("device:d1", json!({"recover": true, "offset": published - 40, "epoch": "e1"})).await;
    assert_eq!(recovered["publications"].as_array().unwrap().len(), 40);
}

#[tokio::test]
async fn an_outage_of_the_store_is_an_error_that_clients_try_again_at() {
    let port = Port::open(PUBLIC).await;
    let mut client = Centrifuge::connect(&port, "").await;
    client.subscribe("device:d1", object()).await;
    port.world.store.publish("d1", 1.0);
    client.publication().await;
    client.call("unsubscribe", json!({"channel": "device:d1"})).await;
    port.world.store.set_down(true);
    let recover = || json!({"channel": "device:d1", "recover": true, "offset": 0, "epoch": "e1"});
    let refused = client.call("subscribe", recover()).await;
    assert_eq!(refused["error"], json!({"code": 100, "message": "internal server error", "temporary": true}));
    assert_eq!(client.error("history", json!({"channel": "device:d1", "limit": 1})).await, 100);
    port.world.store.set_down(false);
    assert_eq!(client.subscribe("device:d1", recover()).await["recovered"], true);
}

#[tokio::test]
async fn a_killed_session_closes_its_socket_with_3004_and_is_present_no_more() {
    let port = Port::open(PUBLIC).await;
    let mut client = Centrifuge::connect(&port, "").await;
    client.subscribe("device:d1", object()).await;
    let killed = port.connections.list(0, 1)[0].session_id;
    port.world.tree.kill(&format!("root/centrifuge_sessions/{killed}")).unwrap();
    assert_eq!(client.client.closed().await, (3004, "internal server error".to_owned()));
    let mut again = Centrifuge::connect(&port, "").await;
    let stats = again.call("presence_stats", json!({"channel": "device:d1"})).await;
    assert_eq!(stats["presence_stats"]["num_clients"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_not_renewed_closes_with_3005_soon_after_it_expired() {
    let port = Port::open(ForAWhile::new(3_000)).await;
    let mut client = Centrifuge::connect(&port, "t").await;
    let began = tokio::time::Instant::now();
    let closed = client.client.closed().await;
    assert_eq!(closed, (3005, "connection expired".to_owned()));
    // By two clocks, one of which runs on.
    assert!(began.elapsed() >= Duration::from_secs(15) && began.elapsed() < Duration::from_secs(25));
}

#[tokio::test]
async fn a_refresh_tells_how_long_the_new_token_lasts_and_a_login_that_ends_closes_with_3503() {
    let access = ForAWhile::new(300_000);
    let live = Arc::clone(&access.live);
    let port = Port::open(access).await;
    let mut client = Centrifuge::connect(&port, "t").await;
    let refreshed = client.call("refresh", json!({"token": "t"})).await["refresh"].clone();
    assert_eq!(refreshed["expires"], true);
    assert!((290..=300).contains(&refreshed["ttl"].as_u64().unwrap()), "{refreshed}");
    live.note(login().user_id, None, now_ms() + 2_000);
    assert_eq!(client.client.closed().await, (3503, "force disconnect".to_owned()));
}
