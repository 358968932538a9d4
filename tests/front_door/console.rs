//! The web console as people use it: in Chromium, driven by the scenarios of tests/clients/console.

mod browser;

use std::{collections::BTreeMap, process::Output};

use orinoco_testkit::unique_name;
use serde_json::{Value, json};

use crate::support::{Mode, Setup, Tokens, World, campaign, latest, turn, until};
use browser::Scenario;

for_both_modes! {
    a_screen_is_logged_in_by_a_phone_whose_camera_sees_its_code
    a_login_that_the_phone_denies_is_none
}

/// Of a person in the form that scenarios take.
fn who(email: &str, password: &str) -> Value {
    json!({ "email": email, "password": password })
}

async fn a_screen_is_logged_in_by_a_phone_whose_camera_sees_its_code(mode: Mode) {
    let world = World::shared(mode).await;
    let person = world.person().await;
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "person": who(&person.email, &person.password),
        "camera": folder.path().join("camera.mjpeg"),
    });
    let mut scenario = Scenario::start(world, "qrLogin", options);
    let logged_in = scenario.event("loggedIn").await;
    let asked = logged_in["asked"].as_str().unwrap();
    assert!(asked.contains("127.0.0.1") && asked.contains("Chrome, Linux") && asked.contains(&person.email), "{asked}");
    // By the test's own password, by the phone's, and by the code.
    assert_eq!(logged_in["logins"], 3);
    let size = |button: &Value| (button["width"].as_f64().unwrap(), button["height"].as_f64().unwrap());
    let [approve, deny] = logged_in["boxes"].as_array().unwrap().as_slice() else { panic!("{logged_in}") };
    assert_eq!(size(approve), size(deny), "neither answer is put forward");
    scenario.end().await;
}

async fn a_login_that_the_phone_denies_is_none(mode: Mode) {
    let world = World::shared(mode).await;
    let person = world.person().await;
    let options = json!({ "person": who(&person.email, &person.password) });
    let mut scenario = Scenario::start(world, "qrDenied", options);
    let address = scenario.event("denied").await["address"].clone();
    assert!(address.as_str().unwrap().ends_with("/qr"), "the nonce is not kept in the history: {address}");
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_nobody_scans_is_renewed_by_itself() {
    let world = World::start(Mode::Embedded, Setup::default().set("auth.challenge_ttl_s", 3)).await;
    Scenario::start(&world, "qrRenewed", json!({})).end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_of_an_oauth_client_is_typed_in() {
    let world = World::shared(Mode::Embedded).await;
    let person = world.person().await;
    let asked = crate::oauth::authorize(world.daemon.http_address()).await;
    let options = json!({ "person": who(&person.email, &person.password), "code": asked["user_code"] });
    let mut scenario = Scenario::start(world, "userCode", options);
    let shown = scenario.event("approved").await["asked"].as_str().unwrap().to_owned();
    assert!(shown.contains("orinoco-cli"), "{shown}");
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tabs_that_renew_their_login_at_once_keep_it() {
    // A token is renewed when a fifth of its life is left: here, with each page that is loaded.
    let world = World::start(Mode::Embedded, Setup::default().set("auth.access_token_ttl_s", 2)).await;
    let person = world.person().await;
    let options = json!({ "person": who(&person.email, &person.password), "rounds": 4 });
    Scenario::start(&world, "tabs", options).end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_live_view_goes_on_when_the_daemon_was_killed() {
    let world = World::start(Mode::Embedded, Setup::default()).await;
    let name = unique_name("d");
    world.device().await.move_to(&name, 1.0, 1.0).await;
    until("a value", async || latest(&world, &name).await).await;
    let mut scenario = Scenario::start(&world, "reconnect", json!({ "device": name }));
    scenario.event("connected").await;
    world.device().await.move_to(&name, 2.0, 2.0).await;
    scenario.go_on().await;
    scenario.event("moved").await;
    world.daemon.kill().unwrap();
    scenario.go_on().await;
    scenario.event("reconnecting").await;
    world.daemon.restart().await.unwrap();
    scenario.go_on().await;
    scenario.event("again").await;
    world.device().await.move_to(&name, 3.0, 3.0).await;
    scenario.go_on().await;
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_track_is_followed_to_its_end() {
    let world = World::start(Mode::Embedded, Setup::default()).await;
    let mut last: BTreeMap<&str, Value> = BTreeMap::new();
    for row in include_str!("../data/helicopters.csv").lines().skip(1) {
        let [device, _, x, y] = row.split(',').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let [x, y] = [x, y].map(|number| format!("{:.4}", number.parse::<f64>().unwrap()));
        last.insert(device, json!({ "device": device, "x": x, "y": y }));
    }
    let options = json!({ "last": last.into_values().collect::<Vec<_>>() });
    let mut scenario = Scenario::start(&world, "replayed", options);
    scenario.event("connected").await;
    scenario.go_on().await;
    let tracks = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/helicopters.csv");
    let replay = async {
        let output = world.command_beside(&["simulate", "--rate", "500", "--replay", tracks]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let moving = async {
        scenario.event("moving").await;
        scenario.go_on().await;
    };
    tokio::join!(replay, moving);
    let received = scenario.event("arrived").await["received"].as_u64().unwrap();
    assert!(received > 100, "{received} publications");
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_one_device_sees_that_one_over_the_end_of_a_token() {
    let setup = Setup::default().set("stream.public", false).set("auth.access_token_ttl_s", 5);
    let world = World::start(Mode::Embedded, setup).await;
    let person = world.person().await;
    let device = world.device().await;
    for name in [&person.orin_id, &unique_name("other")] {
        device.move_to(name, 1.0, 1.0).await;
    }
    let options = json!({ "person": who(&person.email, &person.password), "device": person.orin_id });
    let mut scenario = Scenario::start(&world, "ownDevice", options);
    assert_eq!(scenario.event("watching").await["rows"], 1);
    device.move_to(&person.orin_id, 2.0, 2.0).await;
    scenario.go_on().await;
    scenario.end().await;
}

/// `ORINOCO_TEST_FRAMES_PER_SECOND=50` on a quiet machine makes it a measurement that can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_devices_are_drawn_as_they_move() {
    let _turn = turn().await;
    let world = World::start(Mode::Embedded, Setup::default()).await;
    let seconds: u64 = campaign("DRAW_S", 3);
    let moving = world.command_beside(&["simulate", "--devices", "100", "--rate", "1000", "--duration", "30"]);
    let watching = async {
        let mut scenario = Scenario::start(&world, "crowd", json!({ "devices": 100, "seconds": seconds }));
        scenario.event("connected").await;
        scenario.go_on().await;
        let measured = scenario.event("measured").await;
        scenario.end().await;
        measured
    };
    // On a machine under load devices may not get through with all that they have to send: that is no matter of the picture's.
    let (measured, _moved): (Value, Output) = tokio::join!(watching, moving);
    println!("100 devices, 10 messages/s each: {measured}");
    // A disk of 7 pixels for each.
    assert!(measured["painted"].as_u64().unwrap() > 2_000, "{measured}");
    let frames = measured["framesPerSecond"].as_f64().unwrap();
    assert!(frames >= campaign("FRAMES_PER_SECOND", 1.0), "{measured}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_kills_an_actor_and_sees_it_come_back() {
    let (world, _folder) = crate::supervision::world(|text| text).await;
    let admin = world.administrator().await;
    let options = json!({ "admin": who(&admin.email, &admin.password), "actor": "root/stream/producer" });
    let mut scenario = Scenario::start(&world, "actorTree", options);
    let failure = scenario.event("killed").await["failure"].as_str().unwrap().to_owned();
    assert!(failure.contains("killed"), "{failure}");
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_makes_and_disables_accounts_and_gives_devices_secrets() {
    let world = World::shared(Mode::Embedded).await;
    let admin = world.administrator().await;
    let (email, device) = (format!("{}@example.org", unique_name("new")), unique_name("d"));
    let password = unique_name("password");
    let options = json!({
        "admin": who(&admin.email, &admin.password), "user": who(&email, &password), "device": device,
    });
    let mut scenario = Scenario::start(world, "accounts", options);
    scenario.event("disabled").await;
    let body = json!({ "email": email, "password": password });
    assert_eq!(world.call("POST", "auth/login", "", Some(body.clone())).await.status, 401);
    scenario.go_on().await;
    let done = scenario.event("done with accounts").await;
    assert!(done["secret"].as_str().unwrap().len() >= 32, "{done}");
    let tokens = Tokens::of(&world.call("POST", "auth/login", "", Some(body)).await);
    assert_eq!(world.call("GET", "me", &tokens.access, None).await.json()["orinId"], json!(device));
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administration_is_for_administrators() {
    let world = World::shared(Mode::Embedded).await;
    let person = world.person().await;
    let mut scenario = Scenario::start(world, "notForUsers", json!({ "person": who(&person.email, &person.password) }));
    assert_eq!(scenario.event("refused").await["links"], 0);
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_sees_what_could_not_be_understood() {
    let world = World::start(Mode::Embedded, Setup::default()).await;
    let admin = world.administrator().await.tokens.access;
    world.device().await.publish("devices/heli-1/coordX", "north").await;
    let list = async |query: &str| world.call("GET", &format!("admin/dead-letters{query}"), &admin, None).await;
    let letter = until("a dead letter", async || list("").await.json()["letters"].get(0).cloned()).await;
    assert_eq!((&letter["topic"], &letter["payload"]), (&json!("devices/heli-1/coordX"), &json!("bm9ydGg=")));
    list("?after=nonsense").await.assert_problem(400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_sends_a_dead_letter_again() {
    let world = World::start(Mode::Embedded, Setup::default()).await;
    let admin = world.administrator().await;
    let topic = "devices/heli-1/coordX";
    world.device().await.publish(topic, "north").await;
    let options = json!({ "admin": who(&admin.email, &admin.password), "topic": topic });
    let mut scenario = Scenario::start(&world, "replayLetters", options);
    assert_eq!(scenario.event("replayed").await["before"], 1);
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_of_many_actors_is_shown_in_parts() {
    let world = World::start(Mode::Embedded, Setup::default()).await;
    let admin = world.administrator().await;
    for _ in 0..120 {
        world.browser().await;
    }
    let options = json!({ "admin": who(&admin.email, &admin.password), "pool": "root/login/challenges" });
    let mut scenario = Scenario::start(&world, "manyActors", options);
    let shown = scenario.event("shown").await;
    assert_eq!((&shown["first"], &shown["more"]), (&json!(20), &json!(100)));
    scenario.end().await;
}

/// In both sizes, in light and dark; the pictures stay below target/console.
async fn every_page(language: &str) {
    let (world, _folder) = crate::supervision::world(|text| text).await;
    let admin = world.administrator().await;
    let name = "heli-1";
    let device = world.device().await;
    for step in 0..60 {
        let turn = f64::from(step) / 9.0;
        device.move_to(name, 1.4 + turn.cos() / 10.0, 43.6 + turn.sin() / 10.0).await;
        device.move_to("heli-2", 1.5 + turn.sin() / 8.0, 43.6 + (turn * 1.3).cos() / 12.0).await;
    }
    until("a value", async || latest(&world, name).await).await;
    device.publish("devices/heli-2/coordX", "north").await;
    let secret = world.call("POST", "admin/devices/heli-1/secret", &admin.tokens.access, None).await;
    assert_eq!(secret.status, 201);
    let options = json!({ "admin": who(&admin.email, &admin.password), "device": name, "language": language });
    let mut scenario = Scenario::start(&world, "everyPage", options);
    let found = scenario.last_event("looked").await["found"].clone();
    assert_eq!(found, json!([]));
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_serious_on_any_page_in_english() {
    every_page("en").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_serious_on_any_page_in_korean() {
    every_page("ko").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keyboard_is_enough() {
    let world = World::start(Mode::Embedded, Setup::default()).await;
    let admin = world.administrator().await;
    let name = unique_name("d");
    world.device().await.move_to(&name, 1.0, 2.0).await;
    let options = json!({ "admin": who(&admin.email, &admin.password), "device": name });
    let mut scenario = Scenario::start(&world, "keyboard", options);
    assert_eq!(scenario.event("by keyboard").await["first"], "Skip to the content");
    scenario.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_page_is_asked_for_anew_and_its_files_are_kept_for_ever() {
    let world = World::shared(Mode::Embedded).await;
    let page = world.get("/").await;
    assert_eq!(page.status, 200, "run scripts/console; {page:?}");
    let policy = page.header("content-security-policy").unwrap();
    let socket = format!("connect-src 'self' ws://{}/;", world.daemon.ws_address());
    assert!(policy.starts_with("default-src 'none'; script-src 'self';") && policy.contains(&socket), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let etag = page.header("etag").unwrap();
    let again = crate::support::request(world.daemon.http_address(), "GET", "/qr", &[("If-None-Match", etag)]).await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let script = page.body.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
    let file = world.get(script).await;
    assert_eq!((file.status, file.header("content-type")), (200, Some("text/javascript; charset=utf-8")));
    assert_eq!(file.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert!(!page.body.contains("<script>") && !page.body.contains("style="), "{}", page.body);
}
