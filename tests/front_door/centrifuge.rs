//! The Centrifuge protocol, as its official clients speak it: each test with the one for JavaScript and with the one for Python.

mod client;

use orinoco_testkit::unique_name;
use serde_json::{Value, json};

use crate::support::{Mode, Setup, Tokens, World, until};
use client::{Client, Library};

macro_rules! with_both_clients {
    ($($test:ident)*) => {
        mod node {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(super::Library::Node).await;
            })*
        }

        mod python {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(super::Library::Python).await;
            })*
        }
    };
}

with_both_clients! {
    publications_of_a_device_come_in_order_each_once
    the_channel_of_all_is_filtered_by_the_server
    history_presence_and_errors_are_as_documented
    nothing_is_lost_or_repeated_while_an_embedded_daemon_is_killed
    nothing_is_lost_or_repeated_while_a_daemon_with_services_is_killed
    a_client_stays_by_renewing_its_token_and_sees_only_its_own
    a_token_that_is_none_ends_with_3500_and_a_login_that_ends_with_3503
}

/// How often the daemon is killed under a client.
const KILLS: u64 = 10;
/// Values before a kill, and as many after it, when the client may or may not be back.
const VALUES: u64 = 40;

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
    device.publish(&format!("devices/{name}/coordX"), "99").await;
    // Again, where it was: what came meanwhile is not sent to a new subscription.
    let again =
        until("the last value", async || crate::support::latest(world, &name).await.filter(|latest| latest.x == 99.0))
            .await;
    assert_eq!(client.subscribe(&channel, Value::Null).await["data"]["offset"], again.offset);
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

async fn nothing_is_lost_or_repeated_while_an_embedded_daemon_is_killed(library: Library) {
    stay_over_kills(library, Mode::Embedded, KILLS).await;
}

/// Fewer, because a killed owner's leases have to expire each time.
async fn nothing_is_lost_or_repeated_while_a_daemon_with_services_is_killed(library: Library) {
    stay_over_kills(library, Mode::Services, 3).await;
}

async fn stay_over_kills(library: Library, mode: Mode, kills: u64) {
    let world = World::start(mode, Setup::default()).await;
    let name = unique_name("d");
    world.device().await.move_to(&name, 0.0, 0.0).await;
    until("a value", async || crate::support::latest(&world, &name).await).await;
    let mut client = Client::connected(library, &world, "").await;
    let first = client.subscribe(&format!("device:{name}"), Value::Null).await;
    let mut last = first["data"]["offset"].as_u64().unwrap();
    let mut next = 0;
    let mut publish = async || {
        let device = world.device().await;
        for _ in 0..VALUES {
            device.publish(&format!("devices/{name}/coordX"), next.to_string()).await;
            next += 1;
        }
    };
    for round in 0..kills {
        publish().await;
        // Some of it is on its way to the client.
        world.daemon.kill().unwrap();
        world.daemon.restart().await.unwrap();
        publish().await;
        for _ in 0..2 * VALUES {
            let publication = client.event("publication").await;
            last += 1;
            assert_eq!(publication["offset"], last, "round {round}: {publication}");
            assert_eq!(publication["data"]["coordX"].as_f64(), Some((last - 2) as f64));
        }
        let subscribed = client.event("subscribed").await;
        assert_eq!((&subscribed["wasRecovering"], &subscribed["recovered"]), (&json!(true), &json!(true)));
    }
    assert!(!client.has_seen("publication") && !client.has_seen("subscribed"));
}

/// Answers the client's wish for a token.
async fn renew(client: &mut Client, world: &World, tokens: &Tokens) -> Tokens {
    client.event("token").await;
    let renewed = Tokens::of(&world.refresh(&tokens.refresh).await);
    client.tell(json!({"do": "token", "token": renewed.access})).await;
    renewed
}

async fn a_client_stays_by_renewing_its_token_and_sees_only_its_own(library: Library) {
    let setup = Setup::default().set("stream.public", false).set("auth.access_token_ttl_s", 4);
    let world = World::start(Mode::Embedded, setup).await;
    let person = world.person().await;
    let mut client = Client::connected(library, &world, &person.tokens.access).await;
    client.tell(json!({"do": "subscribe", "channel": "device:another"})).await;
    assert_eq!(client.event("unsubscribed").await["code"], 103);
    client.subscribe(&format!("device:{}", person.orin_id), Value::Null).await;
    let renewed = renew(&mut client, &world, &person.tokens).await;
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
    let world = World::start(Mode::Embedded, Setup::default().set("stream.public", false)).await;
    let mut stranger = Client::start(library, &world, "none.of.ours");
    stranger.tell(json!({"do": "connect"})).await;
    let disconnected = stranger.event("disconnected").await;
    assert_eq!((&disconnected["code"], &disconnected["reason"]), (&json!(3500), &json!("invalid token")));
    let person = world.person().await;
    let mut client = Client::connected(library, &world, &person.tokens.access).await;
    assert_eq!(world.call("POST", "auth/logout", &person.tokens.access, None).await.status, 204);
    assert_eq!(client.event("disconnected").await["code"], 3503);
}
