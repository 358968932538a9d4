//! OAuth 2.0: devices that log in by a phone, and what becomes of their tokens.

use orinoco_domain::account::Role;
use serde_json::{Value, json};

use super::{
    login::{Api, Tokens},
    world::{Answer, exchange},
};

const ADA: &str = "ada@example.org";
const CLI: &str = "orinoco-cli";
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

async fn form(api: &Api, path: &str, headers: &str, pairs: &[(&str, &str)]) -> Answer {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:8090\r\nConnection: close\r\n{headers}\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(&api.place, request.as_bytes()).await
}

/// Must be an error in OAuth's form, which it returns.
#[track_caller]
fn error(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    let body = answer.json();
    assert!(body["error_description"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    body["error"].as_str().unwrap().to_owned()
}

async fn phone(api: &Api) -> Tokens {
    api.world.login.account(ADA, &[Role::User]).await;
    api.log_in(ADA).await
}

async fn authorize(api: &Api) -> Value {
    let answer = form(api, "/oauth/device_authorization", "", &[("client_id", CLI)]).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{answer:?}");
    answer.json()
}

async fn ask(api: &Api, asked: &Value) -> Answer {
    ask_as(api, asked, CLI).await
}

async fn ask_as(api: &Api, asked: &Value, client: &str) -> Answer {
    let code = asked["device_code"].as_str().unwrap();
    let pairs = [("grant_type", DEVICE_GRANT), ("device_code", code), ("client_id", client)];
    form(api, "/oauth/token", "", &pairs).await
}

/// Scans by typing the code in; the challenge's id.
async fn enter(api: &Api, asked: &Value, phone: &Tokens) -> String {
    let body = json!({ "userCode": asked["user_code"].as_str().unwrap().to_lowercase().replace('-', " ") });
    let answer = api.with_token("POST", "/api/v1/qr/user-code", &phone.access, Some(&body)).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("SCANNED")), "{answer:?}");
    assert_eq!((&answer.json()["clientId"], &answer.json()["address"]), (&json!(CLI), &json!("127.0.0.1")));
    answer.json()["challengeId"].as_str().unwrap().to_owned()
}

async fn decide(api: &Api, id: &str, phone: &Tokens, decision: &str) {
    let path = format!("/api/v1/qr/challenges/{id}/{decision}");
    assert_eq!(api.with_token("POST", &path, &phone.access, None).await.status, 200);
}

fn tokens(answer: &Answer) -> Tokens {
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{answer:?}");
    assert_eq!(answer.header("pragma"), Some("no-cache"));
    let body = answer.json();
    assert_eq!(
        (&body["token_type"], &body["expires_in"], &body["scope"]),
        (&json!("Bearer"), &json!(300), &json!("orinoco"))
    );
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    Tokens { access: text("access_token"), refresh: text("refresh_token") }
}

/// A device that was logged in.
async fn logged_in(api: &Api, phone: &Tokens) -> Tokens {
    let asked = authorize(api).await;
    let id = enter(api, &asked, phone).await;
    decide(api, &id, phone, "approve").await;
    tokens(&ask(api, &asked).await)
}

async fn refresh(api: &Api, token: &str, client: &str) -> Answer {
    let pairs = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", client)];
    form(api, "/oauth/token", "", &pairs).await
}

async fn introspect(api: &Api, bearer: &str, token: &str) -> Value {
    let header = format!("Authorization: Bearer {bearer}\r\n");
    let answer = form(api, "/oauth/introspect", &header, &[("token", token)]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[tokio::test]
async fn the_metadata_names_what_there_is() {
    let api = Api::open().await;
    let answer = api.send("GET", "/.well-known/oauth-authorization-server", "", None).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let body = answer.json();
    assert_eq!(body["issuer"], "http://127.0.0.1:8090");
    for (name, path) in [
        ("device_authorization_endpoint", "/oauth/device_authorization"),
        ("token_endpoint", "/oauth/token"),
        ("revocation_endpoint", "/oauth/revoke"),
        ("introspection_endpoint", "/oauth/introspect"),
    ] {
        assert_eq!(body[name], format!("http://127.0.0.1:8090{path}"));
        assert_eq!(form(&api, path, "", &[]).await.header("content-type"), Some("application/json"));
    }
    assert_eq!(body["grant_types_supported"], json!([DEVICE_GRANT, "refresh_token"]));
    assert_eq!(body["response_types_supported"], json!(["none"]));
    assert_eq!(body["token_endpoint_auth_methods_supported"], json!(["none"]));
    assert_eq!(api.send("POST", "/.well-known/oauth-authorization-server", "", None).await.status, 405);
}

#[tokio::test]
async fn a_device_logs_in_by_a_code_that_is_typed_in() {
    let api = Api::open().await;
    let phone = phone(&api).await;
    let asked = authorize(&api).await;
    assert_eq!((&asked["interval"], &asked["expires_in"]), (&json!(5), &json!(120)));
    assert_eq!(asked["verification_uri"], "http://127.0.0.1:8090/qr");
    let (id, nonce) = asked["verification_uri_complete"].as_str().unwrap().split_once("#nonce=").unwrap();
    assert_eq!(nonce.len(), 43);
    assert_eq!(error(&ask(&api, &asked).await, 400), "authorization_pending");

    let entered = enter(&api, &asked, &phone).await;
    assert_eq!(id, format!("http://127.0.0.1:8090/qr?challengeId={entered}"));
    decide(&api, &entered, &phone, "approve").await;
    assert_eq!(error(&ask_as(&api, &asked, "orinoco-web").await, 400), "invalid_grant");
    let tokens = tokens(&ask(&api, &asked).await);
    assert_eq!(error(&ask(&api, &asked).await, 400), "invalid_grant");

    let me = api.with_token("GET", "/api/v1/me", &tokens.access, None).await;
    assert_eq!(me.json()["email"], ADA);
    let sessions = api.with_token("GET", "/api/v1/sessions", &tokens.access, None).await.json();
    let own = sessions["sessions"].as_array().unwrap().iter().find(|session| session["current"] == true).unwrap();
    assert_eq!(own["clientId"], CLI);
}

#[tokio::test]
async fn a_device_logs_in_by_the_picture_of_its_code() {
    let api = Api::open().await;
    let phone = phone(&api).await;
    let asked = authorize(&api).await;
    let url = asked["verification_uri_complete"].as_str().unwrap();
    let (id, nonce) = url.split_once("challengeId=").unwrap().1.split_once("#nonce=").unwrap();
    let path = format!("/api/v1/qr/challenges/{id}/scan");
    let scanned = api.with_token("POST", &path, &phone.access, Some(&json!({ "nonce": nonce }))).await;
    assert_eq!(scanned.status, 200, "{scanned:?}");
    decide(&api, id, &phone, "approve").await;
    // The otc stays inside.
    let verifier = asked["device_code"].as_str().unwrap().split_once('.').unwrap().1;
    let proof = format!("Orinoco-Verifier: {verifier}\r\n");
    let looked = api.send("GET", &format!("/api/v1/qr/challenges/{id}"), &proof, None).await.json();
    assert_eq!((&looked["status"], looked.get("otc")), (&json!("APPROVED"), None));
    tokens(&ask(&api, &asked).await);
}

#[tokio::test]
async fn who_polls_too_early_is_slowed_down_and_recovers() {
    let api = Api::open().await;
    let asked = authorize(&api).await;
    let clock = &api.world.login.clock;
    assert_eq!(error(&ask(&api, &asked).await, 400), "authorization_pending");
    assert_eq!(error(&ask(&api, &asked).await, 400), "slow_down");
    clock.advance(6_000);
    assert_eq!(error(&ask(&api, &asked).await, 400), "slow_down");
    clock.advance(15_000);
    assert_eq!(error(&ask(&api, &asked).await, 400), "authorization_pending");
    clock.advance(15_000);
    assert_eq!(error(&ask(&api, &asked).await, 400), "authorization_pending");
}

#[tokio::test]
async fn a_device_is_told_how_its_request_ended() {
    let api = Api::open().await;
    let phone = phone(&api).await;
    let denied = authorize(&api).await;
    let id = enter(&api, &denied, &phone).await;
    decide(&api, &id, &phone, "deny").await;
    assert_eq!(error(&ask(&api, &denied).await, 400), "access_denied");

    let cancelled = authorize(&api).await;
    let code = cancelled["device_code"].as_str().unwrap().to_owned();
    let (id, verifier) = code.split_once('.').unwrap();
    let path = format!("/api/v1/qr/challenges/{id}");
    let proof = format!("Orinoco-Verifier: {verifier}\r\n");
    assert_eq!(api.send("DELETE", &path, &proof, None).await.status, 204);
    assert_eq!(error(&ask(&api, &cancelled).await, 400), "expired_token");

    let late = authorize(&api).await;
    api.world.login.clock.advance(121_000);
    assert_eq!(error(&ask(&api, &late).await, 400), "expired_token");
    let body = json!({ "userCode": late["user_code"] });
    let entered = api.with_token("POST", "/api/v1/qr/user-code", &phone.access, Some(&body)).await;
    assert_eq!((entered.status, &entered.json()["challengeStatus"]), (409, &json!("EXPIRED")));
}

#[tokio::test]
async fn an_account_that_was_disabled_after_it_approved_logs_no_device_in() {
    let api = Api::open().await;
    let phone = phone(&api).await;
    let asked = authorize(&api).await;
    let id = enter(&api, &asked, &phone).await;
    decide(&api, &id, &phone, "approve").await;
    let accounts: &dyn orinoco_ports::Accounts = &*api.world.login.accounts;
    let account = accounts.by_email(&orinoco_domain::account::Email::parse(ADA).unwrap()).await.unwrap().unwrap();
    accounts.set_enabled(account.id, false).await.unwrap();
    assert_eq!(error(&ask(&api, &asked).await, 400), "access_denied");
}

#[tokio::test]
async fn a_code_that_is_typed_in_wrong_finds_nothing_and_guesses_are_limited() {
    let api = Api::open().await;
    let phone = phone(&api).await;
    let enter = async |code: &str| {
        let body = json!({ "userCode": code });
        api.with_token("POST", "/api/v1/qr/user-code", &phone.access, Some(&body)).await
    };
    let wrong = enter("ABCD-EFGH").await;
    assert_eq!((wrong.status, &wrong.json()["field"]), (400, &json!("userCode")));
    let mut statuses = Vec::new();
    for _ in 0..30 {
        statuses.push(enter("BCDF-GHJK").await.status);
    }
    assert_eq!((statuses[0], statuses[29]), (404, 429), "{statuses:?}");
    let anonymous = api.post("/api/v1/qr/user-code", &json!({ "userCode": "BCDF-GHJK" })).await;
    assert_eq!(anonymous.status, 401);
}

#[tokio::test]
async fn a_refresh_token_rotates_for_its_client_alone() {
    let api = Api::open().await;
    let phone = phone(&api).await;
    let first = logged_in(&api, &phone).await;
    assert_eq!(error(&refresh(&api, &first.refresh, "orinoco-web").await, 400), "invalid_grant");
    let rest = api.post("/api/v1/auth/refresh", &json!({ "refreshToken": first.refresh })).await;
    assert_eq!(rest.status, 401, "it was not given out by REST");
    assert_eq!(error(&refresh(&api, &phone.refresh, CLI).await, 400), "invalid_grant");

    let second = tokens(&refresh(&api, &first.refresh, CLI).await);
    assert_ne!(first.refresh, second.refresh);
    assert_eq!(tokens(&refresh(&api, &first.refresh, CLI).await).refresh, second.refresh, "a lost answer");
    let third = tokens(&refresh(&api, &second.refresh, CLI).await);
    api.world.login.clock.advance(11_000);
    assert_eq!(error(&refresh(&api, &first.refresh, CLI).await, 400), "invalid_grant");
    assert_eq!(error(&refresh(&api, &third.refresh, CLI).await, 400), "invalid_grant", "reuse ended the login");
    assert_eq!(api.with_token("GET", "/api/v1/me", &phone.access, None).await.status, 200, "and no other");
    assert_eq!(error(&refresh(&api, "nonsense", CLI).await, 400), "invalid_grant");
}

#[tokio::test]
async fn revoking_either_token_ends_the_login_of_its_client() {
    let api = Api::open().await;
    let phone = phone(&api).await;
    let revoke = async |token: &str, client: &str| {
        form(&api, "/oauth/revoke", "", &[("token", token), ("client_id", client), ("token_type_hint", "x")]).await
    };
    for pick in [|tokens: &Tokens| tokens.access.clone(), |tokens: &Tokens| tokens.refresh.clone()] {
        let tokens = logged_in(&api, &phone).await;
        let token = pick(&tokens);
        assert_eq!(error(&revoke(&token, "orinoco-web").await, 400), "invalid_grant");
        assert_eq!(api.with_token("GET", "/api/v1/me", &tokens.access, None).await.status, 200);
        assert_eq!(revoke(&token, CLI).await.status, 200);
        assert_eq!(api.with_token("GET", "/api/v1/me", &tokens.access, None).await.status, 401);
        assert_eq!(error(&refresh(&api, &tokens.refresh, CLI).await, 400), "invalid_grant");
        assert_eq!(revoke(&token, CLI).await.status, 200, "what has ended is revoked");
    }
    assert_eq!(revoke("nonsense", CLI).await.status, 200);
    assert_eq!(error(&revoke("x", "stranger").await, 401), "invalid_client");
    assert_eq!(api.with_token("GET", "/api/v1/me", &phone.access, None).await.status, 200);
}

#[tokio::test]
async fn introspection_tells_a_bearer_what_either_token_is_worth() {
    let api = Api::open().await;
    let phone = phone(&api).await;
    let tokens = logged_in(&api, &phone).await;
    let access = introspect(&api, &phone.access, &tokens.access).await;
    let of_access = (&access["active"], &access["token_type"], &access["client_id"], &access["aud"], &access["iss"]);
    let issuer = json!("http://127.0.0.1:8090");
    assert_eq!(of_access, (&json!(true), &json!("Bearer"), &json!(CLI), &json!("orinoco"), &issuer), "{access}");
    let me = api.with_token("GET", "/api/v1/me", &tokens.access, None).await.json();
    let refreshing = introspect(&api, &phone.access, &tokens.refresh).await;
    assert_eq!(
        (&refreshing["active"], &refreshing["client_id"], &refreshing["sub"]),
        (&json!(true), &json!(CLI), &me["id"])
    );
    assert_eq!((refreshing.get("token_type"), &access["sub"]), (None, &me["id"]));

    let next = self::tokens(&refresh(&api, &tokens.refresh, CLI).await);
    let inactive = json!({ "active": false });
    assert_eq!(introspect(&api, &phone.access, &tokens.refresh).await, inactive, "it was replaced");
    assert_eq!(introspect(&api, &phone.access, &next.refresh).await["active"], true, "and asking did not use it");
    assert_eq!(introspect(&api, &phone.access, "nonsense").await, inactive);
    let ended = api.with_token("POST", "/api/v1/auth/logout", &tokens.access, None).await;
    assert_eq!(ended.status, 204);
    assert_eq!(introspect(&api, &phone.access, &tokens.access).await, inactive);
    assert_eq!(introspect(&api, &phone.access, &next.refresh).await, inactive);

    let anonymous = form(&api, "/oauth/introspect", "", &[("token", &phone.access)]).await;
    assert_eq!(error(&anonymous, 401), "invalid_token");
    assert_eq!(anonymous.header("www-authenticate"), Some("Bearer realm=\"orinoco\""));
    let header = format!("Authorization: Bearer {}\r\n", tokens.access);
    let of_ended = form(&api, "/oauth/introspect", &header, &[("token", &phone.access)]).await;
    assert_eq!(error(&of_ended, 401), "invalid_token");
}

#[tokio::test]
async fn every_error_below_oauth_has_the_form_of_the_standard() {
    let api = Api::open().await;
    let token = async |pairs: &[(&str, &str)]| form(&api, "/oauth/token", "", pairs).await;
    assert_eq!(error(&token(&[]).await, 400), "invalid_request");
    assert_eq!(error(&token(&[("client_id", CLI)]).await, 400), "invalid_request");
    assert_eq!(
        error(&token(&[("client_id", "stranger"), ("grant_type", "refresh_token")]).await, 401),
        "invalid_client"
    );
    assert_eq!(error(&token(&[("client_id", CLI), ("grant_type", "password")]).await, 400), "unsupported_grant_type");
    let twice = [("client_id", CLI), ("client_id", CLI), ("grant_type", "refresh_token"), ("refresh_token", "x")];
    assert_eq!(error(&token(&twice).await, 400), "invalid_request");
    assert_eq!(error(&token(&[("client_id", CLI), ("grant_type", DEVICE_GRANT)]).await, 400), "invalid_request");
    let unknown = [("client_id", CLI), ("grant_type", DEVICE_GRANT), ("device_code", "x.y")];
    assert_eq!(error(&token(&unknown).await, 400), "invalid_grant");
    let basic = form(&api, "/oauth/token", "Authorization: Basic eDp5\r\n", &[("client_id", CLI)]).await;
    assert_eq!(error(&basic, 401), "invalid_client");
    assert_eq!(basic.header("www-authenticate"), Some("Basic realm=\"orinoco\""));
    assert_eq!(error(&form(&api, "/oauth/token?a=b", "", &[("client_id", CLI)]).await, 400), "invalid_request");

    let get = api.send("GET", "/oauth/token", "", None).await;
    assert_eq!((error(&get, 405).as_str(), get.header("allow")), ("invalid_request", Some("POST")));
    for path in ["/oauth", "/oauth/", "/oauth/authorize", "/oauth/token/"] {
        assert_eq!(error(&api.send("GET", path, "", None).await, 404), "invalid_request", "{path}");
    }
    assert_eq!(error(&api.post("/oauth/token", &json!({})).await, 415), "invalid_request");
    let long = "x".repeat(5000);
    assert_eq!(error(&token(&[("client_id", &long)]).await, 413), "invalid_request");
    let chunked = format!(
        "POST /oauth/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n1388\r\n{long}\r\n0\r\n\r\n"
    );
    assert_eq!(error(&exchange(&api.place, chunked.as_bytes()).await, 413), "invalid_request");
}

#[tokio::test]
async fn a_thousand_token_requests_for_one_approval_begin_one_login() {
    let api = Api::open().await;
    let phone = phone(&api).await;
    let asked = authorize(&api).await;
    let id = enter(&api, &asked, &phone).await;
    decide(&api, &id, &phone, "approve").await;
    // In tens, so that no more are open than the port takes at a time.
    let mut won = 0;
    for _ in 0..100 {
        let answers = futures_util::future::join_all((0..10).map(|_| ask(&api, &asked))).await;
        for answer in answers {
            match answer.status {
                200 => won += 1,
                429 => {}
                _ => assert_eq!(error(&answer, 400), "invalid_grant"),
            }
        }
    }
    assert_eq!(won, 1);
}
