//! Accounts, logins and administration.

use orinoco_actors::LoginNotice;
use orinoco_domain::{DeadLetter, account::Role, refresh::FamilyId};
use orinoco_ports::Accounts;
use serde_json::json;

use super::{
    login::{Api, PASSWORD, Tokens},
    world::eventually,
};
use crate::{
    auth::{Login, now_ms},
    http::{Access, Denied},
};

const ADA: &str = "ada@example.org";

#[tokio::test]
async fn who_signs_up_can_log_in_and_see_its_account() {
    let api = Api::open().await;
    let signup = json!({ "email": "Ada@Example.org", "password": PASSWORD, "orinId": "d1" });
    let answer = api.post("/api/v1/auth/signup", &signup).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let tokens = api.log_in(ADA).await;
    let me = api.with_token("GET", "/api/v1/me", &tokens.access, None).await.json();
    assert_eq!((&me["email"], &me["orinId"], &me["roles"]), (&json!(ADA), &json!("d1"), &json!(["USER"])));
    let claims = api.world.login.auth.claims(Some(&tokens.access)).unwrap();
    assert_eq!(me["id"], claims.user_id.to_string());
    assert_eq!(api.world.login.audited().await, ["user_created", "authn_login_success"]);

    let again = api.post("/api/v1/auth/signup", &signup).await;
    assert_eq!(again.status, 409);
    let other = json!({ "email": "eve@example.org", "password": PASSWORD, "orinId": "d1" });
    assert_eq!(api.post("/api/v1/auth/signup", &other).await.status, 409);
}

#[tokio::test]
async fn what_is_wrong_with_a_signup_is_named_and_nothing_secret_is_repeated() {
    let api = Api::open().await;
    for (body, field) in [
        (json!({ "email": "x", "password": PASSWORD }), "email"),
        (json!({ "email": ADA, "password": "short" }), "password"),
        (json!({ "email": ADA, "password": PASSWORD, "orinId": "a b" }), "orinId"),
        (json!({ "email": ADA, "password": PASSWORD, "admin": true }), "admin"),
        (json!({ "email": ADA }), "password"),
    ] {
        let answer = api.post("/api/v1/auth/signup", &body).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.detail().contains(&format!("`{field}`")), "{answer:?}");
        assert!(!answer.body.contains(PASSWORD) && !answer.body.contains("short"), "{answer:?}");
    }
    let no_json = api.send("POST", "/api/v1/auth/login", "", None).await;
    assert_eq!(no_json.status, 415);
    let long = json!({ "email": ADA, "password": "x".repeat(5000) });
    assert_eq!(api.post("/api/v1/auth/login", &long).await.status, 413);
}

#[tokio::test]
async fn unknown_wrong_and_disabled_are_alike() {
    let api = Api::open().await;
    let disabled = api.world.login.account("disabled@example.org", &[Role::User]).await;
    api.world.login.account(ADA, &[Role::User]).await;
    orinoco_ports::Accounts::set_enabled(&*api.world.login.accounts, disabled.id, false).await.unwrap();
    let mut answers = Vec::new();
    for (email, password) in
        [("nobody@example.org", PASSWORD), ("no address", PASSWORD), (ADA, "wrong"), ("disabled@example.org", PASSWORD)]
    {
        let answer = api.post("/api/v1/auth/login", &json!({ "email": email, "password": password })).await;
        assert_eq!(answer.status, 401);
        answers.push(answer.body);
    }
    assert!(answers.iter().all(|body| *body == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn a_refresh_token_rotates_and_its_reuse_ends_the_login() {
    let api = Api::open().await;
    api.world.login.account(ADA, &[Role::User]).await;
    let first = api.log_in(ADA).await;
    let refresh = async |token: &str| api.post("/api/v1/auth/refresh", &json!({ "refreshToken": token })).await;
    let second = Tokens::of(&refresh(&first.refresh).await);
    assert_ne!(second.refresh, first.refresh);
    // A lost answer.
    assert_eq!(Tokens::of(&refresh(&first.refresh).await).refresh, second.refresh);
    api.world.login.clock.advance(10_001);
    assert_eq!(refresh(&first.refresh).await.status, 401);
    assert_eq!(refresh(&second.refresh).await.status, 401, "the family has ended");
    assert_eq!(api.with_token("GET", "/api/v1/me", &second.access, None).await.status, 401);
    assert!(api.world.login.audited().await.contains(&"authn_token_reuse"));
    assert_eq!(refresh("nonsense").await.status, 401);
}

#[tokio::test]
async fn other_logins_are_told_of_a_refresh_token_that_came_again() {
    let api = Api::open().await;
    api.world.login.account(ADA, &[Role::User]).await;
    let (first, other) = (api.log_in(ADA).await, api.log_in(ADA).await);
    let ended = api.world.login.auth.claims(Some(&first.access)).unwrap().session;
    let refresh = async |token: &str| api.post("/api/v1/auth/refresh", &json!({ "refreshToken": token })).await;
    Tokens::of(&refresh(&first.refresh).await);
    let notices = async |path: &str| api.with_token("GET", path, &other.access, None).await.json()["notices"].clone();
    assert_eq!(notices("/api/v1/me").await, json!([]));
    api.world.login.clock.advance(10_001);
    assert_eq!(refresh(&first.refresh).await.status, 401);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while notices("/api/v1/me").await == json!([]) {
        assert!(tokio::time::Instant::now() < deadline, "no notice came");
    }
    for path in ["/api/v1/me", "/api/v1/sessions"] {
        let notices = notices(path).await;
        assert_eq!(notices.as_array().unwrap().len(), 1, "{notices}");
        assert_eq!((&notices[0]["type"], &notices[0]["session"]), (&json!("refreshTokenReuse"), &json!(ended)));
        assert!(notices[0]["at"].is_string());
    }
}

#[tokio::test]
async fn a_daemon_that_heard_nothing_reads_in_the_audit_log_what_to_tell() {
    let api = Api::open().await;
    let ada = api.world.login.account(ADA, &[Role::User]).await;
    let first = api.log_in(ADA).await;
    let ended = api.world.login.auth.claims(Some(&first.access)).unwrap().session;
    let event = orinoco_domain::audit::AuditEvent::TokenReuse;
    let detail = format!("a refresh token that had been replaced came again; ended login {ended}");
    api.world.login.auth.audit().write(event, Some(ada.id), None, &detail).await;
    api.world.login.auth.hear(LoginNotice::MayHaveMissed);
    let auth = &api.world.login.auth;
    eventually("the notice is read", || !auth.notices(ada.id).is_empty()).await;
    assert_eq!(auth.notices(ada.id)[0].session, ended);
}

#[tokio::test]
async fn sockets_of_logins_that_ended_unheard_are_told_once_the_stores_answer() {
    let api = Api::open().await;
    let auth = &api.world.login.auth;
    let ada = api.world.login.account(ADA, &[Role::User]).await;
    let eve = api.world.login.account("eve@example.org", &[Role::User]).await;
    let claims = async |email: &str| auth.claims(Some(&api.log_in(email).await.access)).unwrap();
    let watch = |login| auth.live.watch(login, now_ms());
    // Of a login that the store does not have; of an account that was disabled beside the daemon; of one that lives.
    let gone = Login { user_id: ada.id, session: FamilyId::from_bytes([9; 16]) };
    let mut gone = watch(gone);
    let mut disabled = watch(claims("eve@example.org").await.login());
    let mut live = watch(claims(ADA).await.login());
    Accounts::set_enabled(&*api.world.login.accounts, eve.id, false).await.unwrap();
    api.world.login.accounts.set_away(true);
    auth.hear(LoginNotice::MayHaveMissed);
    gone.ended().await;
    assert!(futures_util::poll!(std::pin::pin!(disabled.ended())).is_pending());
    api.world.login.accounts.set_away(false);
    disabled.ended().await;
    assert!(futures_util::poll!(std::pin::pin!(live.ended())).is_pending());
}

#[tokio::test]
async fn after_the_end_of_all_logins_a_token_of_the_same_second_opens_nothing_and_a_new_login_does() {
    let api = Api::open().await;
    api.world.login.account("root@example.org", &[Role::Admin]).await;
    let auth = &api.world.login.auth;
    let (one, other) = (api.log_in("root@example.org").await, api.log_in("root@example.org").await);
    let access = crate::auth::TokenAccess::new(std::sync::Arc::clone(auth), false);
    access.viewer(Some(&one.access)).await.unwrap();
    assert_eq!(api.with_token("POST", "/api/v1/auth/logout-all", &other.access, None).await.status, 204);
    let new = api.log_in("root@example.org").await;
    for ended in [&one, &other] {
        assert_eq!(access.viewer(Some(&ended.access)).await, Err(Denied::TokenInvalid));
    }
    let viewer = access.viewer(Some(&new.access)).await.unwrap();
    let mut watch = access.watch(viewer.credential.unwrap()).unwrap();
    assert!(futures_util::poll!(std::pin::pin!(watch.ended())).is_pending());
    // It was proved, so that it goes on while the stores are away; what is still in doubt does not.
    api.world.login.logins.set_away(true);
    access.viewer(Some(&new.access)).await.unwrap();
    assert_eq!(access.viewer(Some(&one.access)).await, Err(Denied::TokenInvalid));
}

#[tokio::test]
async fn a_thousand_refreshes_of_one_token_give_one_successor() {
    let api = Api::open().await;
    api.world.login.account(ADA, &[Role::User]).await;
    let first = api.log_in(ADA).await;
    let auth = std::sync::Arc::clone(&api.world.login.auth);
    let caller = crate::auth::Caller { address: [127, 0, 0, 1].into(), client: orinoco_domain::ClientInfo::default() };
    let tries = (0..1000).map(|_| {
        let (auth, token, caller) = (std::sync::Arc::clone(&auth), first.refresh.clone(), caller.clone());
        tokio::spawn(async move { auth.refresh(&token, None, &caller).await.unwrap().refresh_token.expose() })
    });
    let successors: std::collections::BTreeSet<String> =
        futures_util::future::join_all(tries).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(successors.len(), 1);
}

#[tokio::test]
async fn a_login_ends_by_its_own_logout_and_others_go_on() {
    let api = Api::open().await;
    api.world.login.account(ADA, &[Role::User]).await;
    let (one, other) = (api.log_in(ADA).await, api.log_in(ADA).await);
    assert_eq!(api.with_token("POST", "/api/v1/auth/logout", &one.access, None).await.status, 204);
    assert_eq!(api.with_token("POST", "/api/v1/auth/logout", &one.access, None).await.status, 401);
    let refused = api.post("/api/v1/auth/refresh", &json!({ "refreshToken": one.refresh })).await;
    assert_eq!(refused.status, 401);
    let sessions = api.with_token("GET", "/api/v1/sessions", &other.access, None).await.json();
    let sessions = sessions["sessions"].as_array().unwrap().clone();
    assert_eq!(sessions.len(), 1);
    assert_eq!((&sessions[0]["device"], &sessions[0]["address"]), (&json!("tests/1"), &json!("127.0.0.1")));
    assert_eq!(sessions[0]["current"], true);

    let third = api.log_in(ADA).await;
    let id = sessions[0]["id"].as_str().unwrap();
    let path = format!("/api/v1/sessions/{id}");
    assert_eq!(api.with_token("DELETE", &path, &third.access, None).await.status, 204);
    assert_eq!(api.with_token("GET", "/api/v1/me", &other.access, None).await.status, 401);
    assert_eq!(api.with_token("DELETE", &path, &third.access, None).await.status, 404);

    let fourth = api.log_in(ADA).await;
    assert_eq!(api.with_token("POST", "/api/v1/auth/logout-all", &third.access, None).await.status, 204);
    for tokens in [third, fourth] {
        assert_eq!(api.with_token("GET", "/api/v1/me", &tokens.access, None).await.status, 401);
    }
}

#[tokio::test]
async fn an_administrator_manages_accounts_and_nobody_else_does() {
    let api = Api::open().await;
    api.world.login.account("root@example.org", &[Role::User, Role::Admin]).await;
    let ada = api.world.login.account(ADA, &[Role::User]).await;
    let (admin, user) = (api.log_in("root@example.org").await, api.log_in(ADA).await);
    for path in ["users", "devices", "connections", "dead-letters", "audit"] {
        let path = format!("/api/v1/admin/{path}");
        assert_eq!(api.with_token("GET", &path, &user.access, None).await.status, 403, "{path}");
        assert_eq!(api.send("GET", &path, "", None).await.status, 401, "{path}");
        assert_eq!(api.with_token("GET", &path, &admin.access, None).await.status, 200, "{path}");
    }
    let path = format!("/api/v1/admin/users/{}", ada.id);
    let change = json!({ "enabled": false, "orinId": "d7" });
    let changed = api.with_token("PATCH", &path, &admin.access, Some(&change)).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!((&changed.json()["enabled"], &changed.json()["orinId"]), (&json!(false), &json!("d7")));
    assert_eq!(api.with_token("GET", "/api/v1/me", &user.access, None).await.status, 401);
    let refused = api.post("/api/v1/auth/refresh", &json!({ "refreshToken": user.refresh })).await;
    assert_eq!(refused.status, 401);
    let unbound = api.with_token("PATCH", &path, &admin.access, Some(&json!({ "orinId": null }))).await;
    assert_eq!(unbound.json()["orinId"], json!(null));

    let own = api.with_token("GET", "/api/v1/me", &admin.access, None).await.json()["id"].clone();
    let path = format!("/api/v1/admin/users/{}", own.as_str().unwrap());
    let locked_out = api.with_token("PATCH", &path, &admin.access, Some(&json!({ "enabled": false }))).await;
    assert_eq!(locked_out.status, 409);
}

#[tokio::test]
async fn a_device_with_a_secret_is_bound_with_it_alone() {
    let api = Api::open().await;
    api.world.login.account("root@example.org", &[Role::Admin]).await;
    let admin = api.log_in("root@example.org").await;
    let given = api.with_token("POST", "/api/v1/admin/devices/d1/secret", &admin.access, None).await;
    assert_eq!(given.status, 201, "{given:?}");
    let secret = given.json()["secret"].clone();
    let signup = |secret: &serde_json::Value| json!({ "email": ADA, "password": PASSWORD, "orinId": "d1", "deviceSecret": secret });
    for wrong in [json!(null), json!("wrong")] {
        assert_eq!(api.post("/api/v1/auth/signup", &signup(&wrong)).await.status, 403);
    }
    assert_eq!(api.post("/api/v1/auth/signup", &signup(&secret)).await.status, 201);
    let revoked = api.with_token("DELETE", "/api/v1/admin/devices/d1/secret", &admin.access, None).await;
    assert_eq!(revoked.status, 204);
    let devices = api.with_token("GET", "/api/v1/admin/devices", &admin.access, None).await.json();
    assert_eq!(devices["devices"][0]["revoked"], true);

    // A revoked secret binds nobody, and neither does none; a device that never had one is free.
    let other = |device: &str, secret: &serde_json::Value| json!({ "email": "eve@example.org", "password": PASSWORD, "orinId": device, "deviceSecret": secret });
    api.with_token("POST", "/api/v1/admin/devices/d2/secret", &admin.access, None).await;
    api.with_token("DELETE", "/api/v1/admin/devices/d2/secret", &admin.access, None).await;
    for presented in [&secret, &json!(null)] {
        assert_eq!(api.post("/api/v1/auth/signup", &other("d2", presented)).await.status, 403);
    }
    assert_eq!(api.post("/api/v1/auth/signup", &other("d3", &json!(null))).await.status, 201);
}

#[tokio::test]
async fn guesses_at_an_account_get_429_in_the_end() {
    let api = Api::open().await;
    let guess = json!({ "email": ADA, "password": "wrong guess" });
    let mut last = api.post("/api/v1/auth/login", &guess).await;
    for _ in 0..40 {
        if last.status == 429 {
            break;
        }
        last = api.post("/api/v1/auth/login", &guess).await;
    }
    assert_eq!(last.status, 429);
    assert!(last.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
}

#[tokio::test]
async fn stores_that_are_away_let_nobody_in() {
    let api = Api::open().await;
    api.world.login.account(ADA, &[Role::User]).await;
    let tokens = api.log_in(ADA).await;
    let login = json!({ "email": ADA, "password": PASSWORD });
    api.world.login.logins.set_away(true);
    assert_eq!(api.post("/api/v1/auth/login", &login).await.status, 503);
    assert_eq!(api.with_token("GET", "/api/v1/me", &tokens.access, None).await.status, 503);
    api.world.login.logins.set_away(false);
    api.world.login.accounts.set_away(true);
    let away = api.post("/api/v1/auth/login", &login).await;
    assert_eq!((away.status, away.header("retry-after")), (503, Some("2")));
    away.detail();
    api.world.login.accounts.set_away(false);
    api.log_in(ADA).await;
}

#[tokio::test]
async fn other_methods_and_origins_are_told_what_they_may() {
    let api = Api::open().await;
    let answer = api.send("GET", "/api/v1/auth/login", "", None).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    let preflight = "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n";
    let answer = api.send("OPTIONS", "/api/v1/auth/login", preflight, None).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
    let answer = api.send("GET", "/.well-known/jwks.json", "Origin: https://evil.example\r\n", None).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
    assert_eq!(answer.json()["keys"][0]["crv"], "Ed25519");
}

#[tokio::test]
async fn an_administrator_looks_at_dead_letters_page_by_page() {
    let api = Api::open().await;
    api.world.login.account("root@example.org", &[Role::Admin]).await;
    let admin = api.log_in("root@example.org").await;
    for (number, payload) in ["no number".to_owned(), "x".repeat(5_000)].into_iter().enumerate() {
        let letter = DeadLetter::new("coordX", payload.as_bytes(), "no number", "2026-01-02T03:04:05Z");
        let record = letter.encode(&format!("kafka/t/0/{number}").parse().unwrap(), 0);
        api.world.log.produce_dead_letters(&[record]).await.unwrap();
    }
    let get = async |query: &str| {
        let path = format!("/api/v1/admin/dead-letters?{query}");
        api.with_token("GET", &path, &admin.access, None).await
    };
    let first = get("limit=1").await.json();
    let letter = &first["letters"][0];
    assert_eq!((&letter["topic"], &letter["payload"]), (&json!("coordX"), &json!("bm8gbnVtYmVy")));
    let second = get(&format!("limit=1&after={}", first["next"].as_str().unwrap())).await.json();
    let letter = &second["letters"][0];
    assert_eq!((&letter["payloadBytes"], letter["payload"].as_str().unwrap().len()), (&json!(5_000), 2_732));
}
