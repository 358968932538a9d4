//! The store is away, or another daemon writes.

use std::{sync::Arc, time::Duration};

use orinoco_actors::ChallengeError;
use orinoco_domain::challenge::Status;
use orinoco_ports::LoginStore;

use super::{
    browser::{ADA, Browser, EventSource, new_login},
    remote::Server,
    world::{Daemon, keys, until},
};

fn is_unavailable<T>(answer: &Result<T, ChallengeError>) -> bool {
    matches!(answer, Err(ChallengeError::Unavailable { .. }))
}

#[tokio::test(start_paused = true)]
async fn what_one_daemon_does_is_seen_at_another_at_once_and_reaches_its_streams() {
    let server = Server::start();
    let (near, far) = (Arc::new(Daemon::start(&server).await), Arc::new(Daemon::start(&server).await));
    let browser = Browser::at(&near).await;
    let events = EventSource::connect(&near, browser.key);
    events.until(Status::Pending).await;
    // Each looks where the last did not act.
    assert_eq!(browser.status(&far).await, Ok(Status::Pending));
    browser.scan(&far).await.unwrap();
    assert_eq!(browser.status(&near).await, Ok(Status::Scanned));
    browser.approve(&near).await.unwrap();
    assert_eq!(browser.status(&far).await, Ok(Status::Approved));
    events.until(Status::Approved).await;
    let otc = browser.otc(&far).await;
    let began = tokio::time::Instant::now();
    browser.exchange(&far, &otc).await.unwrap();
    events.until_over().await;
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(events.statuses(), [Status::Pending, Status::Scanned, Status::Approved, Status::Exchanged]);
    assert_eq!(browser.cancel(&near).await.unwrap_err(), ChallengeError::Conflict(Status::Exchanged));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_never_of_yesterday() {
    let server = Server::start();
    let (near, far) = (Daemon::start(&server).await, Daemon::start(&server).await);
    for _ in 0..50 {
        let browser = Browser::at(&near).await;
        browser.scan(&near).await.unwrap();
        browser.approve(&far).await.unwrap();
        // Near holds SCANNED, and may not have heard yet.
        let otc = browser.otc(&far).await;
        browser.exchange(&near, &otc).await.unwrap();
    }
    assert_eq!(server.families(ADA).await.len(), 50);
}

#[tokio::test(start_paused = true)]
async fn without_the_store_nothing_is_answered_and_streams_are_silent_and_catch_up() {
    let server = Server::start();
    let (near, far) = (Arc::new(Daemon::start(&server).await), Arc::new(Daemon::start(&server).await));
    let browser = Browser::at(&near).await;
    let events = EventSource::connect(&near, browser.key);
    events.until(Status::Pending).await;
    near.remote.cut(true);
    until("it is noticed", || !near.health.is_ready()).await;
    assert!(is_unavailable(&near.challenges.look(browser.key).await));
    assert!(is_unavailable(&browser.cancel(&near).await));
    assert!(is_unavailable(&near.challenges.create(&Browser::new().new).await));
    let late = EventSource::connect(&near, browser.key);
    browser.scan(&far).await.unwrap();
    browser.approve(&far).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(events.statuses(), [Status::Pending]);
    assert!(late.statuses().is_empty() && late.seen().comments > 0);
    near.remote.cut(false);
    let began = tokio::time::Instant::now();
    events.until(Status::Approved).await;
    late.until(Status::Approved).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(events.statuses(), [Status::Pending, Status::Approved]);
    until("it is noticed", || near.health.is_ready()).await;
    browser.cancel(&near).await.unwrap();
    events.until_over().await;
    late.until_over().await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_during_an_outage_says_nothing_before_the_store_agrees() {
    let server = Server::start();
    let (near, far) = (Arc::new(Daemon::start(&server).await), Arc::new(Daemon::start(&server).await));
    let (browser, otc) = Browser::approved(&near).await;
    let events = EventSource::connect(&near, browser.key);
    events.until(Status::Approved).await;
    near.remote.cut(true);
    // In time, where this daemon can't see it.
    tokio::time::sleep(Duration::from_secs(30)).await;
    browser.exchange(&far, &otc).await.unwrap();
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(events.statuses(), [Status::Approved]);
    near.remote.cut(false);
    events.until_over().await;
    assert_eq!(events.statuses(), [Status::Approved, Status::Exchanged]);
}

#[tokio::test(start_paused = true)]
async fn an_exchange_whose_answer_was_lost_is_not_done_twice() {
    let server = Server::start();
    let daemon = Arc::new(Daemon::start(&server).await);
    for cut_after_ms in 0..12 {
        let (browser, otc) = Browser::approved(&daemon).await;
        let (task_daemon, task_browser, task_otc) = (Arc::clone(&daemon), browser.clone(), otc.clone());
        let exchange = tokio::spawn(async move { task_browser.exchange(&task_daemon, &task_otc).await });
        tokio::time::sleep(Duration::from_millis(cut_after_ms)).await;
        daemon.remote.cut(true);
        let answer = exchange.await.unwrap();
        daemon.remote.cut(false);
        let before = server.families(ADA).await.len();
        let again = browser.exchange(&daemon, &otc).await;
        let was_done = server.families(ADA).await.len() == before;
        // Who was told nothing learns what holds.
        assert!(answer.is_ok() || is_unavailable(&answer), "{answer:?}");
        match again {
            Ok(_) => assert!(answer.is_err() && !was_done),
            Err(error) => assert!(error == ChallengeError::Conflict(Status::Exchanged) && was_done, "{error}"),
        }
        assert_eq!(browser.status(&daemon).await, Ok(Status::Exchanged));
    }
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_was_lost_is_not_taken_for_another_daemon_s_of_the_same_moment() {
    let server = Server::start();
    let daemon = Arc::new(Daemon::start(&server).await);
    let (browser, otc) = Browser::approved(&daemon).await;
    let now_ms = server.store().now_ms().await.unwrap();
    let (rival, _) = new_login(ADA).begin(keys().current(), now_ms);
    daemon.remote.be_forestalled(rival.clone());
    let lost = browser.exchange(&daemon, &otc).await;
    assert_eq!(lost.map(|began| began.family.id), Err(ChallengeError::Conflict(Status::Exchanged)));
    assert_eq!(server.families(ADA).await, [rival]);
}
