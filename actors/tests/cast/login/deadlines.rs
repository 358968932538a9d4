//! What time alone does, in paused time.

use std::{sync::Arc, time::Duration};

use orinoco_actors::ChallengeError;
use orinoco_domain::challenge::Status;
use tokio::time::Instant;

use super::{
    browser::{Browser, EventSource},
    remote::Server,
    world::{Daemon, until},
};

#[tokio::test(start_paused = true)]
async fn at_its_deadline_a_challenge_expires_stays_readable_for_a_minute_and_its_actor_ends() {
    let server = Server::start();
    let daemon = Arc::new(Daemon::start(&server).await);
    let began = Instant::now();
    let browser = Browser::at(&daemon).await;
    let events = EventSource::connect(&daemon, browser.key);
    events.until_over().await;
    assert_eq!(events.statuses(), [Status::Pending, Status::Expired]);
    assert_eq!(began.elapsed().as_secs(), 120);
    let record = server.record(browser.key).await.unwrap();
    assert_eq!((record.status, record.ended_at_ms), (Status::Expired, Some(record.deadline_ms)));
    assert_eq!(browser.scan(&daemon).await.unwrap_err(), ChallengeError::Conflict(Status::Expired));
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(browser.status(&daemon).await, Ok(Status::Expired));
    assert_eq!(daemon.pool.live(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(daemon.pool.live(), 0);
    assert_eq!(browser.status(&daemon).await, Err(ChallengeError::NotFound));
}

#[tokio::test(start_paused = true)]
async fn an_approved_challenge_waits_a_minute_for_its_exchange() {
    let server = Server::start();
    let daemon = Arc::new(Daemon::start(&server).await);
    let (browser, otc) = Browser::approved(&daemon).await;
    let events = EventSource::connect(&daemon, browser.key);
    let began = Instant::now();
    events.until(Status::Expired).await;
    assert!((59..=60).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(events.statuses(), [Status::Approved, Status::Expired]);
    let refused = browser.exchange(&daemon, &otc).await.unwrap_err();
    assert_eq!(refused, ChallengeError::Conflict(Status::Expired));
}

#[tokio::test(start_paused = true)]
async fn an_expiry_that_nobody_wrote_is_seen_all_the_same() {
    let server = Server::start();
    let daemon = Arc::new(Daemon::start(&server).await);
    let browser = Browser::at(&daemon).await;
    daemon.tree.kill(&format!("root/login/challenges/{}", browser.key)).unwrap();
    until("it is killed", || daemon.pool.live() == 0).await;
    tokio::time::sleep(Duration::from_secs(121)).await;
    assert_eq!(server.record(browser.key).await.unwrap().status, Status::Pending);
    let view = daemon.challenges.look(browser.key).await.unwrap();
    assert_eq!(view.status(), Status::Expired);
    assert_eq!(view.record.version, 1, "looking changes nothing");
    let events = EventSource::connect(&daemon, browser.key);
    events.until_over().await;
    assert_eq!(events.statuses(), [Status::Expired]);
    assert_eq!(browser.scan(&daemon).await.unwrap_err(), ChallengeError::Conflict(Status::Expired));
}

#[tokio::test(start_paused = true)]
async fn a_challenge_that_starts_anew_keeps_its_deadline() {
    let server = Server::start();
    let daemon = Arc::new(Daemon::start(&server).await);
    let began = Instant::now();
    let browser = Browser::at(&daemon).await;
    let events = EventSource::connect(&daemon, browser.key);
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        // A kill while it starts anew finds nobody.
        let _ = daemon.tree.kill(&format!("root/login/challenges/{}", browser.key));
    }
    events.until_over().await;
    assert_eq!(began.elapsed().as_secs(), 120);
    assert_eq!(events.statuses(), [Status::Pending, Status::Expired]);
    assert_eq!(events.seen().connections, 1);
}
