//! The QR login as a browser and a phone see it.

use serde_json::Value;

use super::{open, world};
use crate::support::{Mode, Tokens, World, call, exchange_http, phone, until};

for_both_modes! {
    a_phone_logs_a_browser_in
    a_denied_a_cancelled_and_an_expired_challenge_stay_so
    five_wrong_otc_of_the_creator_end_a_challenge_and_those_of_others_do_not
    a_browser_without_a_verifier_is_bound_by_a_cookie
    only_the_login_that_scanned_may_answer
}

async fn a_phone_logs_a_browser_in(mode: Mode) {
    let world = world(mode).await;
    let http = world.daemon.http_address();
    let person = world.person().await;
    let browser = world.browser().await;
    assert_eq!(browser.created["status"], "PENDING");
    assert!(browser.created["expiresIn"].as_u64().is_some_and(|seconds| seconds <= 120), "{}", browser.created);
    let payload = browser.created["qrPayload"].as_str().unwrap();
    let (address, fragment) = payload.split_once('#').unwrap();
    assert!(address.starts_with(&format!("http://{http}/")) && address.contains(&browser.id), "{payload}");
    assert!(fragment.contains(&browser.nonce), "{payload}");
    for (name, kind) in [("qr.svg", "image/svg+xml"), ("qr.png", "image/png")] {
        let path = format!("/api/v1/qr/challenges/{}/{name}", browser.id);
        let (status, media_type) = picture(http, &path, &browser.verifier).await;
        assert_eq!((status, media_type.as_str()), (200, kind));
    }
    // Nobody else sees it.
    world.call("GET", &format!("qr/challenges/{}", browser.id), "", None).await.assert_problem(404);
    let mut events = browser.events(http).await.unwrap();
    assert_eq!(events.next().await.unwrap()["status"], "PENDING");
    let scanned = world.phone(&person.tokens, &browser, "scan").await;
    assert_eq!(scanned.status, 200, "{scanned:?}");
    assert!(scanned.body.contains("127.0.0.1"), "the phone is shown who asks: {scanned:?}");
    assert_eq!(events.next().await.unwrap()["status"], "SCANNED");
    let approved = world.phone(&person.tokens, &browser, "approve").await;
    assert_eq!(approved.status, 200, "{approved:?}");
    let event = events.until("APPROVED").await;
    let otc = event["otc"].as_str().unwrap().to_owned();
    assert_eq!(browser.poll(http).await.json()["otc"], otc.as_str(), "polling agrees");
    assert!(!approved.body.contains(&otc) && !scanned.body.contains(&otc), "the otc is the creator's alone");
    let tokens = Tokens::of(&browser.exchange(http, &otc).await);
    let again = browser.exchange(http, &otc).await;
    again.assert_problem(409);
    assert!(again.body.contains("EXCHANGED"), "{again:?}");
    events.until("EXCHANGED").await;
    assert_eq!(events.next().await, None, "the stream ends");
    let again = browser.events_after(http, &events.last_id).await.err();
    assert_eq!(again, Some(204), "EventSource is told not to come back");
    let me = world.call("GET", "me", &tokens.access, None).await.json();
    assert_eq!(me["email"], person.email.as_str());
    assert_eq!(me["orinId"], person.orin_id.as_str());
    let sessions = world.call("GET", "sessions", &tokens.access, None).await.json();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 2, "{sessions}");
}

async fn picture(address: &str, path: &str, verifier: &str) -> (u16, String) {
    let answer = exchange_http(address, "GET", path, &[("Orinoco-Verifier", verifier)], None).await;
    (answer.status, answer.header("content-type").unwrap_or_default().to_owned())
}

async fn a_denied_a_cancelled_and_an_expired_challenge_stay_so(mode: Mode) {
    let world = World::start(mode, open().set("auth.challenge_ttl_s", 5)).await;
    let http = world.daemon.http_address();
    let person = world.person().await;
    let denied = world.browser().await;
    assert_eq!(world.phone(&person.tokens, &denied, "scan").await.status, 200);
    let mut events = denied.events(http).await.unwrap();
    assert!((200..300).contains(&world.phone(&person.tokens, &denied, "deny").await.status));
    events.until("DENIED").await;
    let cancelled = world.browser().await;
    assert!((200..300).contains(&cancelled.cancel(http).await.status));
    let expired = world.browser().await;
    let mut events = expired.events(http).await.unwrap();
    events.until("EXPIRED").await;
    for (browser, status) in [(&denied, "DENIED"), (&cancelled, "CANCELLED"), (&expired, "EXPIRED")] {
        assert_eq!(browser.status(http).await, status);
        let late = browser.cancel(http).await;
        late.assert_problem(409);
        assert_eq!(late.json()["status"], 409);
        assert!(late.body.contains(status), "{late:?}");
        let scanned = world.phone(&person.tokens, browser, "scan").await;
        scanned.assert_problem(409);
        assert_eq!(browser.status(http).await, status);
    }
}

async fn five_wrong_otc_of_the_creator_end_a_challenge_and_those_of_others_do_not(mode: Mode) {
    let world = world(mode).await;
    let http = world.daemon.http_address();
    let person = world.person().await;
    let (mut browser, otc) = world.approved(&person.tokens).await;
    let verifier = std::mem::replace(&mut browser.verifier, "x".repeat(43));
    for _ in 0..10 {
        browser.exchange(http, &otc).await.assert_problem(404);
    }
    browser.verifier = verifier;
    let wrong: String = otc.chars().rev().collect();
    for _ in 0..4 {
        let answer = browser.exchange(http, &wrong).await;
        assert!((400..404).contains(&answer.status), "{answer:?}");
    }
    assert_eq!(browser.status(http).await, "APPROVED");
    browser.exchange(http, &wrong).await;
    assert_eq!(browser.status(http).await, "CANCELLED");
    browser.exchange(http, &otc).await.assert_problem(409);
}

async fn a_browser_without_a_verifier_is_bound_by_a_cookie(mode: Mode) {
    let world = world(mode).await;
    let http = world.daemon.http_address();
    let created = exchange_http(http, "POST", "/api/v1/qr/challenges", &[], Some("{}".to_owned())).await;
    assert_eq!(created.status, 201, "{created:?}");
    let cookie = created.header("set-cookie").unwrap();
    for attribute in ["HttpOnly", "SameSite=Strict"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap();
    let path = format!("/api/v1/qr/challenges/{}", created.json()["challengeId"].as_str().unwrap());
    let poll = exchange_http(http, "GET", &path, &[("Cookie", cookie)], None).await;
    assert_eq!(poll.json()["status"], "PENDING");
    exchange_http(http, "GET", &path, &[], None).await.assert_problem(404);
    // Another site's page can't cancel it, though the browser would send the cookie.
    let foreign = [("Cookie", cookie), ("Sec-Fetch-Site", "cross-site"), ("Origin", "https://elsewhere.example")];
    exchange_http(http, "DELETE", &path, &foreign, None).await.assert_problem(403);
    let own = [("Cookie", cookie), ("Sec-Fetch-Site", "same-origin")];
    assert!((200..300).contains(&exchange_http(http, "DELETE", &path, &own, None).await.status));
}

async fn only_the_login_that_scanned_may_answer(mode: Mode) {
    let world = world(mode).await;
    let http = world.daemon.http_address();
    let person = world.person().await;
    let other = world.person().await;
    let browser = world.browser().await;
    world.phone(&person.tokens, &browser, "approve").await.assert_problem(404);
    assert_eq!(world.phone(&person.tokens, &browser, "scan").await.status, 200);
    world.phone(&other.tokens, &browser, "scan").await.assert_problem(409);
    world.phone(&other.tokens, &browser, "approve").await.assert_problem(404);
    let same_person = world.log_in(&person.email, &person.password).await;
    world.phone(&same_person, &browser, "deny").await.assert_problem(404);
    // Scanning twice by the same login is one scan.
    assert_eq!(world.phone(&person.tokens, &browser, "scan").await.status, 200);
    assert_eq!(browser.status(http).await, "SCANNED");
    let wrong: Value = serde_json::json!({"nonce": "A".repeat(43)});
    let path = format!("qr/challenges/{}/scan", browser.id);
    world.call("POST", &path, &other.tokens.access, Some(wrong)).await.assert_problem(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_at_one_daemon_reaches_a_stream_at_another() {
    let world = world(Mode::Services).await;
    let second = world.another().await;
    let person = world.person().await;
    let browser = world.browser().await;
    let there = second.daemon.http_address();
    let mut events = browser.events(there).await.unwrap();
    assert_eq!(events.next().await.unwrap()["status"], "PENDING");
    assert_eq!(world.phone(&person.tokens, &browser, "scan").await.status, 200);
    events.until("SCANNED").await;
    assert_eq!(phone(there, &person.tokens, &browser, "approve").await.status, 200);
    let otc = events.until("APPROVED").await["otc"].as_str().unwrap().to_owned();
    assert_eq!(browser.status(world.daemon.http_address()).await, "APPROVED");
    let tokens = Tokens::of(&browser.exchange(there, &otc).await);
    assert_eq!(world.call("GET", "me", &tokens.access, None).await.status, 200);
    // A logout at one ends the login at the other.
    assert_eq!(call(there, "POST", "auth/logout", &tokens.access, None).await.status, 204);
    until("the login to end", async || (world.refresh(&tokens.refresh).await.status == 401).then_some(())).await;
}
