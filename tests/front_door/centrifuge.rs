//! The Centrifuge protocol, as its official clients speak it: each test with the one for JavaScript, in Node and in Chromium, and with the
//! one for Python.

mod client;
mod kills;

use orinoco_testkit::unique_name;
use serde_json::{Value, json};

use crate::support::{Mode, Setup, Tokens, World, until};
use client::{Client, Library};
use kills::{
    nothing_is_lost_or_repeated_while_a_daemon_with_services_is_killed,
    nothing_is_lost_or_repeated_while_an_embedded_daemon_is_killed,
};

macro_rules! with_client {
    ($($module:ident $library:ident),+: $tests:tt) => {
        $(with_client! { @one $module $library $tests })+
    };
    (@one $module:ident $library:ident { $($test:ident)* }) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(super::Library::$library).await;
            })*
        }
    };
}

with_client! {
    node Node, python Python: {
        publications_of_a_device_come_in_order_each_once
        the_channel_of_all_is_filtered_by_the_server
        history_presence_and_errors_are_as_documented
        who_comes_and_goes_is_told_to_who_asked
        nothing_is_lost_or_repeated_while_an_embedded_daemon_is_killed
        nothing_is_lost_or_repeated_while_a_daemon_with_services_is_killed
        a_client_stays_by_renewing_its_token_and_sees_only_its_own
        a_token_that_is_none_ends_with_3500_and_a_login_that_ends_with_3503
    }
}

// It is the code of Node's on another WebSocket: what depends on that.
with_client! {
    chromium Chromium: {
        publications_of_a_device_come_in_order_each_once
        nothing_is_lost_or_repeated_while_an_embedded_daemon_is_killed
        a_client_stays_by_renewing_its_token_and_sees_only_its_own
        a_token_that_is_none_ends_with_3500_and_a_login_that_ends_with_3503
    }
}

async fn publications_of_a_device_come_in_order_each_once(library: Library) {
    let world = World::shared(Mode::Embedded).await;
    let name = unique_name("d");
    let device = world.device().await;
    device.move_to(&name, 0.0, 0.0).await;
    until("a value", async || crate::support::latest(world, &name).await).await;
    let mut client = Client::connected(library, world, "").await;
    let channel = format!("device:{name}");
    let subscribed = client.subscribe(&channel, Value::Null).await;
    assert_eq!((&subscribed["recoverable"], &subscribed["positioned"]), (&json!(true), &json!(true)), "{subscribed}");
    assert_eq!(subscribed["data"]["offset"], 1, "the latest value");
    for value in 1..=50 {
        device.publish(&format!("devices/{name}/coordX"), value.to_string()).await;
    }
    for offset in 2..=51 {
        let publication = client.event("publication").await;
        assert_eq!((&publication["channel"], &publication["offset"]), (&json!(channel), &json!(offset)));
        let data = &publication["data"];
        assert_eq!((&data["offset"], &data["device"]), (&json!(offset), &json!(name)), "{data}");
        assert_eq!(data["coordX"].as_f64(), Some((offset - 1) as f64));
    }
    client.tell(json!({"do": "unsubscribe", "channel": channel})).await;
    assert_eq!(client.event("unsubscribed").await["code"], 0);
    let mut witness = world.watch(&format!("?device={name}")).await;
    assert_eq!(witness.frame().await.offset, 51);
    device.publish(&format!("devices/{name}/coordX"), "99").await;
    // Again, where it was: what came meanwhile, as the witness tells, is not sent to a new subscription.
    assert_eq!(witness.frame().await.offset, 52);
    assert_eq!(client.subscribe(&channel, Value::Null).await["data"]["offset"], 52);
    assert!(!client.has_seen("publication"));
}

async fn the_channel_of_all_is_filtered_by_the_server(library: Library) {
    let world = World::shared(Mode::Embedded).await;
    let (name, other) = (unique_name("d"), unique_name("d"));
    let device = world.device().await;
    device.move_to(&name, 0.0, 5.0).await;
    until("a value", async || crate::support::latest(world, &name).await).await;
    let mut client = Client::connected(library, world, "").await;
    let area = json!({"minX": 0, "minY": 0, "maxX": 10, "maxY": 10});
    let filter = json!({"devices": [name, other], "boundingBox": area});
    let subscribed = client.subscribe("devices", filter).await;
    assert_ne!(subscribed["recoverable"], true, "{subscribed}");
    assert_eq!(client.event("publication").await["data"]["device"], name, "the latest value");
    device.move_to(&other, 11.0, 5.0).await;
    for x in [3, 12, 4] {
        device.publish(&format!("devices/{name}/coordX"), x.to_string()).await;
    }
    for x in [3.0, 4.0] {
        let publication = client.event("publication").await;
        assert_eq!((&publication["channel"], &publication["offset"]), (&json!("devices"), &json!(0)));
        assert_eq!((&publication["data"]["device"], publication["data"]["coordX"].as_f64()), (&json!(name), Some(x)));
    }
    client.tell(json!({"do": "subscribe", "channel": "device:x", "data": {"maxRate": -1}})).await;
    assert_eq!(client.event("unsubscribed").await["code"], 107);
    // Held to a rate: the newest, and few of those before.
    client.tell(json!({"do": "unsubscribe", "channel": "devices"})).await;
    let channel = format!("device:{name}");
    let subscribed = client.subscribe(&channel, json!({"maxRate": 2})).await;
    assert_ne!(subscribed["recoverable"], true, "{subscribed}");
    let before = subscribed["data"]["coordX"].as_f64();
    assert_eq!(before, Some(4.0));
    for x in 100..=400 {
        device.publish(&format!("devices/{name}/coordX"), x.to_string()).await;
    }
    let mut seen = 0;
    while client.event("publication").await["data"]["coordX"].as_f64() != Some(400.0) {
        seen += 1;
    }
    assert!(seen < 150, "{seen} of 301 at 2 a second");
}

async fn history_presence_and_errors_are_as_documented(library: Library) {
    let world = World::shared(Mode::Embedded).await;
    let name = unique_name("d");
    let channel = format!("device:{name}");
    let device = world.device().await;
    device.move_to(&name, 0.0, 0.0).await;
    for value in 1..=5 {
        device.publish(&format!("devices/{name}/coordX"), value.to_string()).await;
    }
    let head =
        until("the last value", async || crate::support::latest(world, &name).await.filter(|latest| latest.x == 5.0))
            .await;
    let mut client = Client::connected(library, world, "").await;
    client.subscribe(&channel, Value::Null).await;
    let history = client.call("history", &channel, json!({"limit": 3, "reverse": true})).await.unwrap();
    assert_eq!((&history["offset"], &history["epoch"]), (&json!(6), &json!(head.epoch)), "{history}");
    let offsets: Vec<u64> =
        history["publications"].as_array().unwrap().iter().map(|one| one["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, [6, 5, 4]);
    let since = json!({"limit": 10, "since": {"offset": 4, "epoch": head.epoch}});
    assert_eq!(client.call("history", &channel, since).await.unwrap()["publications"].as_array().unwrap().len(), 2);
    let lost = json!({"limit": 10, "since": {"offset": 4, "epoch": "another"}});
    assert_eq!(client.call("history", &channel, lost).await, Err(json!(112)));
    let present = client.call("presence", &channel, json!({})).await.unwrap();
    assert_eq!(present["clients"].as_object().unwrap().len(), 1, "{present}");
    let stats = client.call("presence_stats", &channel, json!({})).await.unwrap();
    assert_eq!(stats, json!({"clients": 1, "users": 1}));
    assert_eq!(client.call("publish", &channel, json!({})).await, Err(json!(103)));
    assert_eq!(client.call("rpc", &channel, json!({})).await, Err(json!(108)));
    client.tell(json!({"do": "subscribe", "channel": "news"})).await;
    assert_eq!(client.event("unsubscribed").await["code"], 102);
}

async fn who_comes_and_goes_is_told_to_who_asked(library: Library) {
    let world = World::shared(Mode::Embedded).await;
    let channel = format!("device:{}", unique_name("d"));
    let mut client = Client::connected(library, world, "").await;
    client.tell(json!({"do": "subscribe", "channel": channel, "joinLeave": true})).await;
    let itself = client.event("join").await["client"].clone();
    let mut other = Client::start(library, world, "");
    other.tell(json!({"do": "connect"})).await;
    let id = other.event("connected").await["client"].clone();
    other.subscribe(&channel, Value::Null).await;
    assert_ne!(id, itself);
    let joined = client.event("join").await;
    assert_eq!((&joined["channel"], &joined["client"], &joined["user"]), (&json!(channel), &id, &json!("")));
    drop(other);
    assert_eq!(client.event("leave").await["client"], id);
}

/// Answers the client's wish for a token.
async fn renew(client: &mut Client, world: &World, tokens: &Tokens) -> Tokens {
    client.event("token").await;
    give_token(client, world, tokens).await
}

/// The same, where the wish was seen.
async fn give_token(client: &mut Client, world: &World, tokens: &Tokens) -> Tokens {
    let renewed = Tokens::of(&world.refresh(&tokens.refresh).await);
    client.tell(json!({"do": "token", "token": renewed.access})).await;
    renewed
}

/// Connects; a token that has expired before the client was ready is renewed.
async fn connect(client: &mut Client, world: &World, mut tokens: Tokens) -> Tokens {
    client.tell(json!({"do": "connect"})).await;
    loop {
        match client.next().await["event"].as_str() {
            Some("token") => tokens = give_token(client, world, &tokens).await,
            Some("connected") => return tokens,
            _ => {}
        }
    }
}

async fn a_client_stays_by_renewing_its_token_and_sees_only_its_own(library: Library) {
    let setup = Setup::default().set("stream.public", false).set("auth.access_token_ttl_s", 4);
    let world = World::start(Mode::Embedded, setup).await;
    let person = world.person().await;
    let mut client = Client::start(library, &world, &person.tokens.access);
    let tokens = connect(&mut client, &world, person.tokens.clone()).await;
    client.tell(json!({"do": "subscribe", "channel": "device:another"})).await;
    assert_eq!(client.event("unsubscribed").await["code"], 103);
    client.subscribe(&format!("device:{}", person.orin_id), Value::Null).await;
    let renewed = renew(&mut client, &world, &tokens).await;
    let renewed = renew(&mut client, &world, &renewed).await;
    let device = world.device().await;
    device.move_to("another", 1.0, 1.0).await;
    device.move_to(&person.orin_id, 1.0, 1.0).await;
    assert_eq!(client.event("publication").await["data"]["device"], person.orin_id);
    assert!(!client.has_seen("disconnected"));
    // With a token that has expired long ago it asks for another one.
    let mut late = Client::start(library, &world, &person.tokens.access);
    late.tell(json!({"do": "connect"})).await;
    renew(&mut late, &world, &renewed).await;
    late.event("connected").await;
}

async fn a_token_that_is_none_ends_with_3500_and_a_login_that_ends_with_3503(library: Library) {
    let public = World::start(Mode::Embedded, Setup::default()).await;
    let world = World::start(Mode::Embedded, Setup::default().set("stream.public", false)).await;
    for asked in [&public, &world] {
        let mut stranger = Client::start(library, asked, "none.of.ours");
        stranger.tell(json!({"do": "connect"})).await;
        let disconnected = stranger.event("disconnected").await;
        assert_eq!((&disconnected["code"], &disconnected["reason"]), (&json!(3500), &json!("invalid token")));
    }
    let person = world.person().await;
    let mut client = Client::connected(library, &world, &person.tokens.access).await;
    assert_eq!(world.call("POST", "auth/logout", &person.tokens.access, None).await.status, 204);
    assert_eq!(client.event("disconnected").await["code"], 3503);
}
