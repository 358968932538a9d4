//! Refresh tokens, logins and accounts.

use std::time::Duration;

use orinoco_testkit::unique_name;
use serde_json::json;

use super::world;
use crate::support::{Mode, Said, Socket, Tokens};

for_both_modes! {
    a_refresh_token_rotates_and_its_reuse_ends_the_login
    a_logout_ends_one_login_or_all
    an_administrator_disables_an_account
    a_device_with_credentials_is_bound_with_its_secret_only
    what_is_wrong_with_an_account_is_told_alike
}

async fn a_refresh_token_rotates_and_its_reuse_ends_the_login(mode: Mode) {
    let world = world(mode).await;
    let person = world.person().await;
    let first = person.tokens.refresh.clone();
    let second = Tokens::of(&world.refresh(&first).await).refresh;
    assert_ne!(first, second);
    // A lost answer: the same successor again.
    assert_eq!(Tokens::of(&world.refresh(&first).await).refresh, second);
    let third = Tokens::of(&world.refresh(&second).await).refresh;
    // Its successor is used: refused, and nothing is revoked.
    world.refresh(&first).await.assert_problem(401);
    let fourth = Tokens::of(&world.refresh(&third).await).refresh;
    world.refresh("rubbish").await.assert_problem(401);
    let other = world.log_in(&person.email, &person.password).await;
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    // Replaced longer ago: somebody has it who should not.
    world.refresh(&first).await.assert_problem(401);
    world.refresh(&fourth).await.assert_problem(401);
    assert_eq!(world.refresh(&other.refresh).await.status, 200, "only that login ended");
}

async fn a_logout_ends_one_login_or_all(mode: Mode) {
    let world = world(mode).await;
    let person = world.person().await;
    let other = world.log_in(&person.email, &person.password).await;
    assert_eq!(world.call("POST", "auth/logout", &other.access, None).await.status, 204);
    world.refresh(&other.refresh).await.assert_problem(401);
    let third = world.log_in(&person.email, &person.password).await;
    let sessions = world.call("GET", "sessions", &third.access, None).await.json();
    let sessions = sessions["sessions"].as_array().unwrap().clone();
    assert_eq!(sessions.len(), 2, "{sessions:?}");
    let own = sessions.iter().find(|session| session["current"] == true).unwrap();
    let path = format!("sessions/{}", own["id"].as_str().unwrap());
    assert_eq!(world.call("DELETE", &path, &person.tokens.access, None).await.status, 204);
    world.refresh(&third.refresh).await.assert_problem(401);
    assert_eq!(world.call("POST", "auth/logout-all", &person.tokens.access, None).await.status, 204);
    world.refresh(&person.tokens.refresh).await.assert_problem(401);
    world.call("GET", "me", "", None).await.assert_problem(401);
}

async fn an_administrator_disables_an_account(mode: Mode) {
    let world = world(mode).await;
    let administrator = world.administrator().await;
    let person = world.person().await;
    world.call("GET", "admin/users", &person.tokens.access, None).await.assert_problem(403);
    let users = world.call("GET", "admin/users", &administrator.tokens.access, None).await.json();
    let email = |user: &serde_json::Value| user["email"] == person.email.as_str();
    assert!(users["users"].as_array().unwrap().iter().any(email), "{users}");
    assert!(!users.to_string().contains("scrypt"), "no hash leaves the daemon");
    let mut socket = Socket::open_as(world.daemon.ws_address(), "", &person.tokens.access).await.unwrap();
    let disabled = world.command(&["user", "disable", "--email", &person.email]);
    assert!(disabled.status.success(), "{}", String::from_utf8_lossy(&disabled.stderr));
    assert_eq!(socket.next().await, Said::Closed(Some(3503)), "its sockets are closed at once");
    world.refresh(&person.tokens.refresh).await.assert_problem(401);
    let body = json!({"email": person.email, "password": person.password});
    world.call("POST", "auth/login", "", Some(body)).await.assert_problem(401);
    let audit = world.call("GET", "admin/audit", &administrator.tokens.access, None).await;
    assert_eq!(audit.status, 200, "{audit:?}");
    for place in ["admin/devices", "admin/connections", "admin/actors"] {
        assert_eq!(world.call("GET", place, &administrator.tokens.access, None).await.status, 200, "{place}");
    }
}

async fn a_device_with_credentials_is_bound_with_its_secret_only(mode: Mode) {
    let world = world(mode).await;
    let device = unique_name("d");
    let added = world.json(&["device", "add", &device, "--json"]);
    let secret = added[0]["secret"].as_str().unwrap();
    let sign_up = async |device_secret: serde_json::Value| {
        let email = format!("{}@example.org", unique_name("person"));
        let mut body = json!({"email": email, "password": "a good password", "orinId": device});
        if !device_secret.is_null() {
            body["deviceSecret"] = device_secret;
        }
        world.call("POST", "auth/signup", "", Some(body)).await
    };
    sign_up(json!(null)).await.assert_problem(403);
    sign_up(json!("not this one")).await.assert_problem(403);
    assert_eq!(sign_up(json!(secret)).await.status, 201);
}

async fn what_is_wrong_with_an_account_is_told_alike(mode: Mode) {
    let world = world(mode).await;
    let person = world.person().await;
    let taken = json!({"email": person.email, "password": "another password"});
    world.call("POST", "auth/signup", "", Some(taken)).await.assert_problem(409);
    let taken = json!({"email": "x@example.org", "password": "another password", "orinId": person.orin_id});
    world.call("POST", "auth/signup", "", Some(taken)).await.assert_problem(409);
    let wrong = json!({"email": person.email, "password": "wrong"});
    let unknown = json!({"email": "nobody@example.org", "password": "wrong"});
    let wrong = world.call("POST", "auth/login", "", Some(wrong)).await;
    let unknown = world.call("POST", "auth/login", "", Some(unknown)).await;
    wrong.assert_problem(401);
    assert_eq!((wrong.status, &wrong.body), (unknown.status, &unknown.body));
    for body in [json!({}), json!({"email": 1, "password": "p"}), json!({"email": "a@b.c", "password": "p", "x": 1})] {
        world.call("POST", "auth/login", "", Some(body)).await.assert_problem(400);
    }
}
