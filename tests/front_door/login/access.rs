//! Who may see what.

use orinoco_testkit::unique_name;

use super::{open, world};
use crate::support::{Mode, Said, Socket, World};

for_both_modes! {
    a_user_sees_its_own_device_and_an_administrator_all
    a_token_in_the_first_frame_is_as_good_as_one_in_the_header
    an_expired_token_closes_the_socket
}

async fn a_user_sees_its_own_device_and_an_administrator_all(mode: Mode) {
    let world = world(mode).await;
    let (person, administrator) = (world.person().await, world.administrator().await);
    let other = unique_name("d");
    let device = world.device().await;
    device.move_to(&person.orin_id, 1.0, 2.0).await;
    device.move_to(&other, 3.0, 4.0).await;
    let latest = |device: &str| format!("devices/{device}/coordinates/latest");
    crate::support::until("both values", async || {
        let seen = world.call("GET", &latest(&other), &administrator.tokens.access, None).await.status == 200
            && world.call("GET", &latest(&person.orin_id), &person.tokens.access, None).await.status == 200;
        seen.then_some(())
    })
    .await;
    world.call("GET", &latest(&person.orin_id), "", None).await.assert_problem(401);
    world.call("GET", &latest(&person.orin_id), "rubbish", None).await.assert_problem(401);
    world.call("GET", &latest(&other), &person.tokens.access, None).await.assert_problem(403);
    let devices = world.call("GET", "devices", &person.tokens.access, None).await.json();
    assert_eq!(devices["devices"].as_array().unwrap().len(), 1, "{devices}");
    assert_eq!(devices["devices"][0]["device"], person.orin_id.as_str());
    let mut own = Socket::open_as(world.daemon.ws_address(), "", &person.tokens.access).await.unwrap();
    assert_eq!(own.frame().await.device, person.orin_id);
    device.move_to(&other, 5.0, 6.0).await;
    device.move_to(&person.orin_id, 7.0, 8.0).await;
    assert_eq!(own.frame().await.device, person.orin_id);
    let query = format!("?device={other}");
    assert_eq!(Socket::open_as(world.daemon.ws_address(), &query, &person.tokens.access).await.err(), Some(403));
    let mut all = Socket::open_as(world.daemon.ws_address(), &query, &administrator.tokens.access).await.unwrap();
    assert_eq!(all.frame().await.device, other);
}

async fn a_token_in_the_first_frame_is_as_good_as_one_in_the_header(mode: Mode) {
    let world = world(mode).await;
    let person = world.person().await;
    world.device().await.move_to(&person.orin_id, 1.0, 2.0).await;
    let mut socket = world.watch("").await;
    socket.send(&format!(r#"{{"accessToken":"{}"}}"#, person.tokens.access)).await;
    assert_eq!(socket.frame().await.device, person.orin_id);
    let mut stranger = world.watch("").await;
    stranger.send(r#"{"accessToken":"rubbish"}"#).await;
    assert!(matches!(stranger.next().await, Said::Closed(Some(code)) if code != 1000));
    // Says nothing for 5 s.
    let mut silent = world.watch("").await;
    assert!(matches!(silent.next().await, Said::Closed(Some(code)) if code != 1000));
}

async fn an_expired_token_closes_the_socket(mode: Mode) {
    let world = World::start(mode, open().set("auth.access_token_ttl_s", 5)).await;
    let person = world.person().await;
    world.device().await.move_to(&person.orin_id, 1.0, 2.0).await;
    let mut socket = Socket::open_as(world.daemon.ws_address(), "", &person.tokens.access).await.unwrap();
    assert_eq!(socket.frame().await.offset, 1);
    assert!(matches!(socket.next().await, Said::Closed(Some(code)) if (3000..5000).contains(&code)));
    let again = Socket::open_as(world.daemon.ws_address(), "", &person.tokens.access).await;
    assert!(again.is_err(), "an expired token opens no socket");
    world.call("GET", "devices", &person.tokens.access, None).await.assert_problem(401);
}
