//! QR challenges, from the picture to the login.

use orinoco_domain::account::Role;
use orinoco_domain::secret::Verifier;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    login::{Api, Tokens, send_to},
    world::{Answer, address, request},
};

const ADA: &str = "ada@example.org";
const VERIFIER: &str = "verifier-verifier-verifier-verifier-verifier";

/// A challenge, as its creator and the picture know it.
struct Made {
    id: String,
    nonce: String,
    body: Value,
}

impl Made {
    fn path(&self, rest: &str) -> String {
        format!("/api/v1/qr/challenges/{}{rest}", self.id)
    }
}

fn proof() -> String {
    format!("Orinoco-Verifier: {VERIFIER}\r\n")
}

async fn make(api: &Api) -> Made {
    let code = serde_json::to_value(Verifier::parse(VERIFIER).unwrap().code_challenge()).unwrap();
    let answer = api.post("/api/v1/qr/challenges", &json!({ "codeChallenge": code })).await;
    assert_eq!((answer.status, answer.header("set-cookie")), (201, None), "{answer:?}");
    made(&answer)
}

fn made(answer: &Answer) -> Made {
    let body = answer.json();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    Made { id: text("challengeId"), nonce: text("nonce"), body }
}

/// A phone that is logged in.
async fn phone(api: &Api) -> Tokens {
    if orinoco_ports::Accounts::list(&*api.world.login.accounts, None, 1).await.unwrap().accounts.is_empty() {
        api.world.login.account(ADA, &[Role::User]).await;
    }
    api.log_in(ADA).await
}

async fn scan(api: &Api, challenge: &Made, phone: &Tokens) -> Answer {
    api.with_token("POST", &challenge.path("/scan"), &phone.access, Some(&json!({ "nonce": challenge.nonce }))).await
}

async fn approve(api: &Api, challenge: &Made, phone: &Tokens) {
    assert_eq!(scan(api, challenge, phone).await.status, 200);
    let approved = api.with_token("POST", &challenge.path("/approve"), &phone.access, None).await;
    assert_eq!((approved.status, &approved.json()["status"]), (200, &json!("APPROVED")));
}

async fn poll(api: &Api, challenge: &Made) -> Value {
    let answer = api.send("GET", &challenge.path(""), &proof(), None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[tokio::test]
async fn a_browser_logs_in_by_a_phone() {
    let api = Api::open().await;
    let phone = phone(&api).await;
    let challenge = make(&api).await;
    assert_eq!((&challenge.body["status"], &challenge.body["expiresIn"]), (&json!("PENDING"), &json!(120)));
    let payload = format!("http://127.0.0.1:8090/qr?challengeId={}#nonce={}", challenge.id, challenge.nonce);
    assert_eq!(challenge.body["qrPayload"], payload);

    let scanned = scan(&api, &challenge, &phone).await.json();
    assert_eq!((&scanned["status"], &scanned["address"]), (&json!("SCANNED"), &json!("127.0.0.1")));
    assert_eq!(scanned["userAgent"], "tests/1");
    assert!(scanned["createdAt"].is_string());
    assert!(poll(&api, &challenge).await.get("otc").is_none());

    approve(&api, &challenge, &phone).await;
    let polled = poll(&api, &challenge).await;
    assert_eq!((&polled["status"], &polled["expiresIn"]), (&json!("APPROVED"), &json!(60)));
    let exchange = json!({ "otc": polled["otc"] });
    let answer = api.send("POST", &challenge.path("/exchange"), &proof(), Some(&exchange)).await;
    let tokens = Tokens::of(&answer);
    assert_eq!(api.with_token("GET", "/api/v1/me", &tokens.access, None).await.json()["email"], ADA);

    let again = api.send("POST", &challenge.path("/exchange"), &proof(), Some(&exchange)).await;
    assert_eq!(again.status, 409);
    assert!(again.detail().contains("EXCHANGED"));
    assert_eq!(poll(&api, &challenge).await["status"], "EXCHANGED");
}

#[tokio::test]
async fn a_challenge_is_its_creator_s_and_its_phone_s_alone() {
    let api = Api::open().await;
    let (one, other) = (phone(&api).await, phone(&api).await);
    let challenge = make(&api).await;
    let stranger = "Orinoco-Verifier: another-another-another-another-another-another\r\n";
    for (method, path) in [("GET", ""), ("GET", "/events"), ("DELETE", "")] {
        for headers in ["", stranger, "Orinoco-Verifier: short\r\n"] {
            assert_eq!(api.send(method, &challenge.path(path), headers, None).await.status, 404, "{method} {path}");
        }
    }
    let wrong = json!({ "nonce": challenge.id });
    let answer = api.with_token("POST", &challenge.path("/scan"), &one.access, Some(&wrong)).await;
    assert_eq!(answer.status, 404);
    assert_eq!(api.send("POST", &challenge.path("/scan"), "", Some(&wrong)).await.status, 401);
    assert_eq!(scan(&api, &challenge, &one).await.status, 200);
    assert_eq!(scan(&api, &challenge, &other).await.status, 409);
    for act in ["/approve", "/deny"] {
        assert_eq!(api.with_token("POST", &challenge.path(act), &other.access, None).await.status, 404);
    }
    assert_eq!(api.with_token("POST", &challenge.path("/deny"), &one.access, None).await.status, 200);
    let late = api.with_token("POST", &challenge.path("/approve"), &one.access, None).await;
    assert_eq!((late.status, late.detail().contains("DENIED")), (409, true));
    let unknown = "/api/v1/qr/challenges/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(api.send("GET", unknown, &proof(), None).await.status, 404);
    assert_eq!(api.send("GET", "/api/v1/qr/challenges/x", &proof(), None).await.status, 404);
}

#[tokio::test]
async fn five_wrong_otc_of_the_creator_end_a_challenge_and_those_of_others_do_not_count() {
    let api = Api::open().await;
    let phone = phone(&api).await;
    let challenge = make(&api).await;
    approve(&api, &challenge, &phone).await;
    let wrong = json!({ "otc": "wrong" });
    for _ in 0..10 {
        assert_eq!(api.send("POST", &challenge.path("/exchange"), "", Some(&wrong)).await.status, 404);
    }
    for tries_left in (0..5).rev() {
        let answer = api.send("POST", &challenge.path("/exchange"), &proof(), Some(&wrong)).await;
        assert_eq!((answer.status, &answer.json()["triesLeft"]), (403, &json!(tries_left)));
    }
    assert_eq!(poll(&api, &challenge).await["status"], "CANCELLED");
    assert!(api.world.login.audited().await.contains(&"input_validation_fail"));
}

#[tokio::test]
async fn who_was_disabled_meanwhile_is_not_logged_in() {
    let api = Api::open().await;
    let phone = phone(&api).await;
    let challenge = make(&api).await;
    approve(&api, &challenge, &phone).await;
    let otc = poll(&api, &challenge).await["otc"].clone();
    let accounts = &*api.world.login.accounts;
    let account = orinoco_ports::Accounts::list(accounts, None, 1).await.unwrap().accounts.remove(0);
    orinoco_ports::Accounts::set_enabled(accounts, account.id, false).await.unwrap();
    let answer = api.send("POST", &challenge.path("/exchange"), &proof(), Some(&json!({ "otc": otc }))).await;
    assert_eq!(answer.status, 403);
    let other = make(&api).await;
    assert_eq!(scan(&api, &other, &phone).await.status, 401);
}

#[tokio::test]
async fn what_a_login_approved_is_not_exchanged_after_its_end() {
    let api = Api::open().await;
    for end in ["/api/v1/auth/logout", "/api/v1/auth/logout-all"] {
        let (phone, challenge) = (phone(&api).await, make(&api).await);
        approve(&api, &challenge, &phone).await;
        let otc = json!({ "otc": poll(&api, &challenge).await["otc"] });
        assert_eq!(api.with_token("POST", end, &phone.access, None).await.status, 204);
        let answer = api.send("POST", &challenge.path("/exchange"), &proof(), Some(&otc)).await;
        assert_eq!(answer.status, 403, "{end}: {answer:?}");
        assert_eq!(poll(&api, &challenge).await["status"], "APPROVED");
    }
}

#[tokio::test]
async fn a_browser_without_a_verifier_is_bound_by_a_cookie() {
    let api = Api::open().await;
    let answer = api.send("POST", "/api/v1/qr/challenges", "", None).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    assert!(cookie.starts_with("orinoco-challenge=") && !cookie.contains("Secure"), "{cookie}");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && cookie.contains("Path=/"), "{cookie}");
    let challenge = made(&answer);
    let pair = cookie.split(';').next().unwrap();
    let cookie = format!("Cookie: {pair}\r\n");
    assert_eq!(api.send("GET", &challenge.path(""), &cookie, None).await.status, 200);
    assert_eq!(api.send("GET", &challenge.path(""), "", None).await.status, 404);

    // A second tab shares it.
    let second = api.send("POST", "/api/v1/qr/challenges", &cookie, None).await;
    assert!(second.header("set-cookie").unwrap().starts_with(pair));
    for foreign in ["Sec-Fetch-Site: cross-site\r\n", "Origin: https://evil.example\r\n"] {
        let headers = format!("{cookie}{foreign}");
        assert_eq!(api.send("DELETE", &challenge.path(""), &headers, None).await.status, 403);
        assert_eq!(api.send("POST", "/api/v1/qr/challenges", &headers, None).await.status, 403);
    }
    let own = format!("{cookie}Sec-Fetch-Site: same-origin\r\n");
    assert_eq!(api.send("DELETE", &challenge.path(""), &own, None).await.status, 204);
    assert_eq!(api.send("DELETE", &challenge.path(""), &own, None).await.status, 409);
}

#[tokio::test]
async fn the_picture_is_svg_or_png() {
    let api = Api::open().await;
    let challenge = make(&api).await;
    let svg = api.send("GET", &challenge.path("/qr.svg"), "", None).await;
    assert_eq!((svg.status, svg.header("content-type")), (200, Some("image/svg+xml")));
    assert!(svg.body.contains("<svg"), "{}", svg.body);
    let png = request(&api.place, "GET", &challenge.path("/qr.png"), "").await;
    assert_eq!((png.status, png.header("content-type")), (200, Some("image/png")));
    assert!(png.body.contains("PNG"));
}

#[tokio::test]
async fn a_stream_tells_each_change_and_ends_with_the_challenge() {
    let api = Api::open().await;
    let phone = phone(&api).await;
    let challenge = make(&api).await;
    let mut stream = TcpStream::connect(address(&api.place)).await.unwrap();
    let path = challenge.path("/events");
    let head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:8090\r\n{}Connection: close\r\n\r\n", proof());
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = String::new();
    read_until(&mut stream, &mut seen, "PENDING").await;
    assert!(seen.contains("content-type: text/event-stream") && seen.contains("x-accel-buffering: no"), "{seen}");
    assert!(seen.contains("cache-control: no-store") && seen.contains("retry: "), "{seen}");
    approve(&api, &challenge, &phone).await;
    read_until(&mut stream, &mut seen, "\"otc\"").await;
    assert_eq!(api.send("DELETE", &challenge.path(""), &proof(), None).await.status, 204);
    stream.read_to_string(&mut seen).await.unwrap();
    let order: Vec<usize> =
        ["PENDING", "SCANNED", "APPROVED", "CANCELLED"].map(|status| seen.find(status).unwrap()).into();
    assert!(order.is_sorted() && seen.contains("event: status"), "{seen}");

    let last_id = seen.lines().rev().find_map(|line| line.strip_prefix("id: ")).unwrap();
    let headers = format!("{}Last-Event-ID: {last_id}\r\n", proof());
    assert_eq!(api.send("GET", &path, &headers, None).await.status, 204);
    let fresh = api.send("GET", &path, &proof(), None).await;
    assert!(fresh.status == 200 && fresh.body.contains("CANCELLED"), "{fresh:?}");
}

#[tokio::test]
async fn a_port_that_drains_ends_its_streams() {
    let api = Api::open().await;
    let challenge = make(&api).await;
    let mut stream = TcpStream::connect(address(&api.place)).await.unwrap();
    let head = format!("GET {} HTTP/1.1\r\nHost: 127.0.0.1:8090\r\n{}\r\n", challenge.path("/events"), proof());
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = String::new();
    read_until(&mut stream, &mut seen, "PENDING").await;
    api.running.drain().await;
    stream.read_to_string(&mut seen).await.unwrap();
    assert!(!seen.contains("EXPIRED"), "{seen}");
}

async fn read_until(stream: &mut TcpStream, seen: &mut String, text: &str) {
    let reading = async {
        let mut buffer = [0; 1024];
        while !seen.contains(text) {
            let length = stream.read(&mut buffer).await.unwrap();
            assert!(length > 0, "it ended: {seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), reading).await.expect(text);
}

#[tokio::test]
async fn a_thousand_exchanges_of_one_challenge_begin_one_login() {
    let api = Api::open().await;
    let phone = phone(&api).await;
    let challenge = make(&api).await;
    approve(&api, &challenge, &phone).await;
    let body = json!({ "otc": poll(&api, &challenge).await["otc"] });
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for _ in 0..10 {
        let tries = (0..100).map(|_| {
            let (place, path, body) = (api.place.clone(), challenge.path("/exchange"), body.clone());
            tokio::spawn(async move { send_to(&place, "POST", &path, &proof(), Some(&body)).await.status })
        });
        for status in futures_util::future::join_all(tries).await {
            *statuses.entry(status.unwrap()).or_default() += 1;
        }
    }
    assert_eq!(statuses, [(200, 1), (409, 999)].into());
}
