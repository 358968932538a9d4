//! OAuth 2.0: devices that log in by a phone. By hand, and by other people's clients (Authlib, oauth4webapi, the crate oauth2).

mod oauth2_crate;

use std::process::Stdio;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::Command,
};

use crate::support::{Mode, Setup, Tokens, World, call, until, within};
use oauth2_crate::the_crate_oauth2_slows_down_logs_in_refreshes_introspects_and_revokes;

const CLI: &str = "orinoco-cli";
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// What `scripts/install test` made.
const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.stack/clients");
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

for_both_modes! {
    a_device_logs_in_and_its_login_ends
    a_device_is_told_to_slow_down_even_where_limits_are_off
    authlib_logs_in_refreshes_introspects_and_revokes
    oauth4webapi_logs_in_refreshes_introspects_and_revokes
    the_crate_oauth2_slows_down_logs_in_refreshes_introspects_and_revokes
}

/// Status and body of a form that was sent.
async fn form(address: &str, path: &str, token: &str, pairs: &[(&str, &str)]) -> (u16, Value) {
    within("an answer to a form", async {
        let body = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        let bearer = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let request = format!(
            "POST /oauth/{path} HTTP/1.0\r\nHost: {address}\r\n{bearer}Content-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.to_lowercase().contains("cache-control: no-store"), "{head}");
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
    })
    .await
}

async fn metadata(world: &World) -> Value {
    world.get("/.well-known/oauth-authorization-server").await.json()
}

pub(crate) async fn authorize(address: &str) -> Value {
    let (status, asked) = form(address, "device_authorization", "", &[("client_id", CLI)]).await;
    assert_eq!(status, 200, "{asked}");
    asked
}

async fn ask(address: &str, asked: &Value) -> (u16, Value) {
    let code = asked["device_code"].as_str().unwrap();
    // None of these needs an escape but the colons, which servers take as they are.
    form(address, "token", "", &[("grant_type", DEVICE_GRANT), ("device_code", code), ("client_id", CLI)]).await
}

/// The error that a request was answered with.
#[track_caller]
fn error((status, body): (u16, Value)) -> String {
    assert_eq!(status, 400, "{body}");
    body["error"].as_str().unwrap().to_owned()
}

/// Asks again and again, which is too early sooner or later, however slow the machine is.
async fn slowed_down(address: &str, asked: &Value) {
    until("slow_down", async || (error(ask(address, asked).await) == "slow_down").then_some(())).await;
}

/// Types the code in on a phone, and approves.
async fn approve(address: &str, phone: &Tokens, user_code: &str) {
    let entered = call(address, "POST", "qr/user-code", &phone.access, Some(json!({ "userCode": user_code }))).await;
    assert_eq!((entered.status, &entered.json()["clientId"]), (200, &json!(CLI)), "{entered:?}");
    let path = format!("qr/challenges/{}/approve", entered.json()["challengeId"].as_str().unwrap());
    assert_eq!(call(address, "POST", &path, &phone.access, None).await.status, 200);
}

fn tokens((status, body): (u16, Value)) -> Tokens {
    assert_eq!((status, &body["token_type"]), (200, &json!("Bearer")), "{body}");
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    Tokens { access: text("access_token"), refresh: text("refresh_token") }
}

async fn a_device_logs_in_and_its_login_ends(mode: Mode) {
    let world = World::shared(mode).await;
    let address = world.daemon.http_address();
    let person = world.person().await;
    let asked = authorize(address).await;
    assert_eq!(error(ask(address, &asked).await), "authorization_pending");
    approve(address, &person.tokens, asked["user_code"].as_str().unwrap()).await;
    let first = tokens(ask(address, &asked).await);
    assert_eq!(error(ask(address, &asked).await), "invalid_grant");

    let metadata = metadata(world).await;
    let claims = URL_SAFE_NO_PAD.decode(first.access.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!((&claims["iss"], &claims["client_id"]), (&metadata["issuer"], &json!(CLI)));
    let me = world.call("GET", "me", &first.access, None).await.json();
    assert_eq!((&me["email"], &me["id"]), (&json!(person.email), &claims["sub"]));

    let refresh = async |token: &str| {
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", CLI)];
        form(address, "token", "", &pairs).await
    };
    let second = tokens(refresh(&first.refresh).await);
    for token in [&second.access, &second.refresh] {
        let (status, shown) = form(address, "introspect", &person.tokens.access, &[("token", token)]).await;
        assert_eq!((status, &shown["active"], &shown["sub"]), (200, &json!(true), &me["id"]), "{shown}");
    }
    let revoked = [("client_id", CLI), ("token", second.access.as_str())];
    assert_eq!(form(address, "revoke", "", &revoked).await.0, 200);
    for token in [&second.access, &second.refresh] {
        let (_, shown) = form(address, "introspect", &person.tokens.access, &[("token", token)]).await;
        assert_eq!(shown, json!({ "active": false }));
    }
    assert_eq!(error(refresh(&second.refresh).await), "invalid_grant");
    assert_eq!(world.call("GET", "me", &second.access, None).await.status, 401);
    assert_eq!(world.call("GET", "me", &person.tokens.access, None).await.status, 200, "the phone's login goes on");
}

async fn a_device_is_told_to_slow_down_even_where_limits_are_off(mode: Mode) {
    let world = World::shared(mode).await;
    let address = world.daemon.http_address();
    let asked = authorize(address).await;
    assert_eq!(error(ask(address, &asked).await), "authorization_pending");
    slowed_down(address, &asked).await;
    let person = world.person().await;
    approve(address, &person.tokens, asked["user_code"].as_str().unwrap()).await;
    tokens(ask(address, &asked).await);
}

async fn authlib_logs_in_refreshes_introspects_and_revokes(mode: Mode) {
    let mut python = Command::new(format!("{CLIENTS}/python/bin/python"));
    // It insists on https but where it is told that http is meant.
    python.arg(format!("{PROGRAMS}/oauth_authlib.py")).env("AUTHLIB_INSECURE_TRANSPORT", "1");
    whole_life_of_a_login(mode, python).await;
}

async fn oauth4webapi_logs_in_refreshes_introspects_and_revokes(mode: Mode) {
    let mut node = Command::new("node");
    node.args([format!("{PROGRAMS}/oauth_webapi.mjs"), CLIENTS.to_owned()]);
    whole_life_of_a_login(mode, node).await;
}

/// Approves what the client asks for, and looks at what it says of all the rest.
async fn whole_life_of_a_login(mode: Mode, mut client: Command) {
    let world = World::shared(mode).await;
    let address = world.daemon.http_address();
    let person = world.person().await;
    client.arg(format!("http://{address}")).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let spawned = client.spawn();
    let mut client = spawned.unwrap_or_else(|error| panic!("{client:?}: {error}; run scripts/install test"));
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    let mut next = async || -> Value {
        let line = within("a line of the client's", lines.next_line()).await.unwrap();
        serde_json::from_str(&line.expect("it ended; its error is above")).unwrap()
    };
    let asked = next().await;
    approve(address, &person.tokens, asked["user_code"].as_str().unwrap()).await;
    client.stdin.as_mut().unwrap().write_all(b"\n").await.unwrap();
    let done = next().await;
    // It asks too early until it is told so, waits as long as that says, and is answered as at first.
    let polls: Vec<&str> = done["polls"].as_array().unwrap().iter().map(|answer| answer.as_str().unwrap()).collect();
    let slowed = polls.iter().position(|answer| *answer == "slow_down").unwrap();
    assert!(slowed > 0 && polls[slowed + 1..] == ["authorization_pending"], "{done}");
    assert_eq!(done["me"]["email"], json!(person.email));
    for shown in done["introspected"].as_array().unwrap() {
        assert_eq!((&shown["active"], &shown["client_id"]), (&json!(true), &json!(CLI)), "{shown}");
    }
    assert_eq!(
        (&done["revoked"], &done["after"], &done["refused"]),
        (&json!(200), &json!(401), &json!("invalid_grant"))
    );
    assert!(within("the client's end", client.wait()).await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_at_one_daemon_is_approved_at_another() {
    let world = World::start(Mode::Services, Setup::default()).await;
    let other = world.another().await;
    let (one, two) = (world.daemon.http_address(), other.daemon.http_address());
    let person = world.person().await;
    let asked = authorize(one).await;
    assert_eq!(error(ask(one, &asked).await), "authorization_pending");
    slowed_down(two, &asked).await;
    approve(two, &person.tokens, asked["user_code"].as_str().unwrap()).await;
    let device = tokens(ask(one, &asked).await);
    assert_eq!(error(ask(two, &asked).await), "invalid_grant");
    assert_eq!(call(two, "GET", "me", &device.access, None).await.status, 200);
}
