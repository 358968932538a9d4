//! Those who race for one challenge, at one daemon and at two.

use std::sync::Arc;

use orinoco_actors::ChallengeError;
use orinoco_domain::challenge::Status;

use super::{
    browser::{ADA, Browser, EventSource},
    remote::Server,
    world::Daemon,
};

const CROWD: usize = 1_000;
const ROUNDS: usize = 100;

async fn exchange_from_all(daemons: &[Arc<Daemon>], server: &Server) {
    let (browser, otc) = Browser::approved(&daemons[0]).await;
    let tasks: Vec<_> = (0..CROWD)
        .map(|number| {
            let (daemon, browser, otc) = (Arc::clone(&daemons[number % daemons.len()]), browser.clone(), otc.clone());
            tokio::spawn(async move { browser.exchange(&daemon, &otc).await })
        })
        .collect();
    let mut began = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(login) => began.push(login.family),
            Err(refusal) => assert_eq!(refusal, ChallengeError::Conflict(Status::Exchanged)),
        }
    }
    assert_eq!(began.len(), 1, "one exchange is done");
    assert_eq!(server.families(ADA).await, began, "and one login begins");
}

#[tokio::test(start_paused = true)]
async fn of_a_thousand_exchanges_one_is_done() {
    let server = Server::start();
    let daemon = Arc::new(Daemon::start(&server).await);
    exchange_from_all(&[daemon], &server).await;
}

#[tokio::test(start_paused = true)]
async fn of_a_thousand_exchanges_at_two_daemons_one_is_done() {
    let server = Server::start();
    let daemons = [Arc::new(Daemon::start(&server).await), Arc::new(Daemon::start(&server).await)];
    exchange_from_all(&daemons, &server).await;
}

#[tokio::test(start_paused = true)]
async fn of_those_who_end_a_challenge_at_once_one_wins_and_the_others_are_told_who() {
    let server = Server::start();
    let (near, far) = (Arc::new(Daemon::start(&server).await), Arc::new(Daemon::start(&server).await));
    for round in 0..ROUNDS {
        let browser = Browser::at(&near).await;
        let events = EventSource::connect(&near, browser.key);
        browser.scan(&far).await.unwrap();
        if round % 2 == 0 {
            // The deadline takes part.
            tokio::time::sleep(std::time::Duration::from_millis(119_985 - fastrand::u64(0..20))).await;
        }
        let (denied, cancelled, approved) =
            tokio::join!(browser.deny(&near), browser.cancel(&far), browser.approve(&far));
        events.until_over().await;
        let ended = server.record(browser.key).await.unwrap().status;
        assert_eq!(events.statuses().last(), Some(&ended), "round {round}");
        assert_eq!(denied.is_ok(), ended == Status::Denied, "round {round}: {denied:?} and {ended}");
        assert_eq!(cancelled.is_ok(), ended == Status::Cancelled, "round {round}: {cancelled:?} and {ended}");
        // An approval may have come before the cancellation, or the deadline; never before a denial.
        let statuses = events.statuses();
        if approved.is_ok() {
            assert_ne!(ended, Status::Denied, "round {round}");
        } else {
            assert!(!statuses.contains(&Status::Approved), "round {round}: {statuses:?}");
        }
        for loser in [denied, cancelled, approved].into_iter().filter_map(Result::err) {
            let told = [ChallengeError::Conflict(ended), ChallengeError::Conflict(Status::Approved)];
            assert!(told.contains(&loser), "round {round}: {loser} and {ended}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_more_than_a_mailbox_holds_is_refused_and_streams_miss_nothing_of_it() {
    let server = Server::start();
    let (near, far) = (Arc::new(Daemon::start(&server).await), Arc::new(Daemon::start(&server).await));
    let browser = Browser::at(&near).await;
    let events = EventSource::connect(&near, browser.key);
    events.until(Status::Pending).await;
    let tasks: Vec<_> = (0..4_000)
        .map(|_| {
            let (daemon, browser) = (Arc::clone(&near), browser.clone());
            tokio::spawn(async move { browser.status(&daemon).await })
        })
        .collect();
    // The change is published while the mailbox is full.
    browser.cancel(&far).await.unwrap();
    events.until_over().await;
    assert_eq!(events.statuses(), [Status::Pending, Status::Cancelled]);
    let mut refused = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(status) => assert!([Status::Pending, Status::Cancelled].contains(&status)),
            Err(ChallengeError::Overloaded) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0 && refused < 4_000, "{refused}");
}
