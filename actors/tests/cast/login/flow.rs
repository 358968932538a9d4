//! What a browser and a phone see, while nothing fails.

use std::{sync::Arc, time::Duration};

use orinoco_actors::{Action, ChallengeError, LoginNotice, PollAnswer, SseLimits};
use orinoco_domain::{
    challenge::{ChallengeKey, Status, WRONG_OTC_MAX},
    secret::{ChallengeId, Nonce, Otc, Proof, Verifier},
};
use orinoco_ports::{EndReason, LoginStore};

use super::{
    browser::{ADA, Browser, EventSource, new_login, other_phone, phone},
    remote::Server,
    world::{Daemon, until},
};

#[tokio::test(start_paused = true)]
async fn a_browser_is_logged_in_by_a_phone_and_sees_each_step() {
    let server = Server::start();
    let daemon = Arc::new(Daemon::start(&server).await);
    let browser = Browser::at(&daemon).await;
    let events = EventSource::connect(&daemon, browser.key);
    events.until(Status::Pending).await;
    let scanned = browser.scan(&daemon).await.unwrap();
    assert_eq!(scanned.record.creator.address(), "192.0.2.7", "the phone is shown who asks");
    events.until(Status::Scanned).await;
    browser.approve(&daemon).await.unwrap();
    events.until(Status::Approved).await;
    let otc = browser.otc(&daemon).await;
    assert_eq!(events.seen().events.last().unwrap().otc, Some(otc.expose()), "the event agrees with the poll");
    let login = browser.exchange(&daemon, &otc).await.unwrap();
    assert_eq!(login.token.digest(), login.family.head_hash);
    assert_eq!(server.families(ADA).await, [login.family]);
    events.until_over().await;
    assert_eq!(events.statuses(), [Status::Pending, Status::Scanned, Status::Approved, Status::Exchanged]);
    let ids: Vec<u64> = events.seen().events.iter().map(|event| event.id).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    assert!(events.seen().events.iter().all(|event| event.otc.is_some() == (event.status == Status::Approved)));
    assert_eq!(events.seen().connections, 1);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_see_a_challenge_is_told_that_there_is_none() {
    let server = Server::start();
    let daemon = Daemon::start(&server).await;
    let browser = Browser::at(&daemon).await;
    let foreign = Proof::Verifier(Verifier::from_bytes([1; 32]));
    let scan = Action::Scan { nonce: Nonce::from_bytes([1; 32]), phone: phone() };
    assert_eq!(daemon.challenges.act(browser.key, &scan).await.unwrap_err(), ChallengeError::NotFound);
    let cancel = Action::Cancel { proof: foreign };
    assert_eq!(daemon.challenges.act(browser.key, &cancel).await.unwrap_err(), ChallengeError::NotFound);
    browser.scan(&daemon).await.unwrap();
    for action in [Action::Approve { phone: other_phone() }, Action::Deny { phone: other_phone() }] {
        assert_eq!(daemon.challenges.act(browser.key, &action).await.unwrap_err(), ChallengeError::NotFound);
    }
    let scan = Action::Scan { nonce: browser.nonce(), phone: other_phone() };
    let second = daemon.challenges.act(browser.key, &scan).await.unwrap_err();
    assert_eq!(second, ChallengeError::Conflict(Status::Scanned));
    browser.scan(&daemon).await.unwrap();
    assert_eq!(server.record(browser.key).await.unwrap().version, 2, "scanning again changes nothing");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_challenge_is_not_found_and_leaves_no_actor() {
    let server = Server::start();
    let daemon = Daemon::start(&server).await;
    let key = ChallengeKey::of(&ChallengeId::from_bytes([5; 32]));
    assert_eq!(daemon.challenges.look(key).await.unwrap_err(), ChallengeError::NotFound);
    assert_eq!(daemon.challenges.poll(key).await.unwrap_err(), ChallengeError::NotFound);
    until("its actor has ended", || daemon.pool.live() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_challenge_that_was_denied_or_cancelled_stays_so() {
    let server = Server::start();
    let daemon = Arc::new(Daemon::start(&server).await);
    let denied = Browser::at(&daemon).await;
    let events = EventSource::connect(&daemon, denied.key);
    events.until(Status::Pending).await;
    denied.scan(&daemon).await.unwrap();
    denied.deny(&daemon).await.unwrap();
    events.until_over().await;
    assert_eq!(events.statuses().last(), Some(&Status::Denied));
    let refused = Err(ChallengeError::Conflict(Status::Denied));
    assert_eq!(denied.approve(&daemon).await.map(|_| ()), refused);
    assert_eq!(denied.cancel(&daemon).await.map(|_| ()), refused);
    let (cancelled, otc) = Browser::approved(&daemon).await;
    cancelled.cancel(&daemon).await.unwrap();
    let refused = cancelled.exchange(&daemon, &otc).await.unwrap_err();
    assert_eq!(refused, ChallengeError::Conflict(Status::Cancelled));
    assert!(server.families(ADA).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn so_many_wrong_otc_of_the_creator_end_a_challenge_and_those_of_others_do_not_count() {
    let server = Server::start();
    let daemon = Arc::new(Daemon::start(&server).await);
    let (browser, otc) = Browser::approved(&daemon).await;
    let events = EventSource::connect(&daemon, browser.key);
    let wrong = Otc::from_bytes([0; 32]);
    let foreign = Proof::Verifier(Verifier::from_bytes([1; 32]));
    for _ in 0..10 {
        let refused = daemon.challenges.exchange(browser.key, foreign.clone(), wrong.clone(), new_login(ADA)).await;
        assert_eq!(refused.unwrap_err(), ChallengeError::NotFound);
    }
    for tries_left in (0..WRONG_OTC_MAX).rev() {
        let refused = browser.exchange(&daemon, &wrong).await.unwrap_err();
        assert_eq!(refused, ChallengeError::WrongOtc { tries_left });
    }
    let refused = browser.exchange(&daemon, &otc).await.unwrap_err();
    assert_eq!(refused, ChallengeError::Conflict(Status::Cancelled));
    events.until_over().await;
    assert_eq!(events.statuses(), [Status::Approved, Status::Cancelled], "wrong tries alone are no events");
}

#[tokio::test(start_paused = true)]
async fn a_login_of_another_user_than_who_approved_does_not_begin() {
    let server = Server::start();
    let daemon = Daemon::start(&server).await;
    let (browser, otc) = Browser::approved(&daemon).await;
    let login = new_login(other_phone().user_id);
    let refused = daemon.challenges.exchange(browser.key, browser.proof(), otc, login).await;
    assert_eq!(refused.unwrap_err(), ChallengeError::NotFound);
    assert_eq!(browser.status(&daemon).await, Ok(Status::Approved));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_polls_too_early_is_told_to_slow_down_until_it_is_decided() {
    let server = Server::start();
    let daemon = Arc::new(Daemon::start(&server).await);
    let browser = Browser::at(&daemon).await;
    let events = EventSource::connect(&daemon, browser.key);
    events.until(Status::Pending).await;
    let poll = || daemon.challenges.poll(browser.key);
    assert_eq!(poll().await, Ok(PollAnswer::AuthorizationPending));
    assert_eq!(poll().await, Ok(PollAnswer::SlowDown));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(poll().await, Ok(PollAnswer::AuthorizationPending));
    browser.scan(&daemon).await.unwrap();
    browser.approve(&daemon).await.unwrap();
    assert_eq!(poll().await, Ok(PollAnswer::Decided(Status::Approved)));
    events.until(Status::Approved).await;
    assert_eq!(events.statuses(), [Status::Pending, Status::Scanned, Status::Approved], "polls are no events");
}

#[tokio::test(start_paused = true)]
async fn making_a_challenge_again_is_the_same_and_another_of_its_name_is_refused() {
    let server = Server::start();
    let daemon = Daemon::start(&server).await;
    let browser = Browser::at(&daemon).await;
    let again = daemon.challenges.create(&browser.new).await.unwrap();
    assert_eq!(again.record.version, 1);
    let mut other = Browser::new().new;
    other.key = browser.key;
    assert_eq!(daemon.challenges.create(&other).await.unwrap_err(), ChallengeError::Taken);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_bound_of_challenges_a_further_one_is_refused_until_there_is_room() {
    let server = Server::start();
    let daemon = Daemon::with_room(&server, 2, SseLimits::default()).await;
    let first = Browser::at(&daemon).await;
    Browser::at(&daemon).await;
    let third = Browser::new();
    assert_eq!(daemon.challenges.create(&third.new).await.unwrap_err(), ChallengeError::Overloaded);
    assert!(server.record(third.key).await.is_none(), "nothing is written for it");
    first.cancel(&daemon).await.unwrap();
    until("there is room", || daemon.pool.live() == 1).await;
    daemon.challenges.create(&third.new).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn logins_that_end_are_told_to_those_who_serve_them() {
    let server = Server::start();
    let daemon = Daemon::start(&server).await;
    let (browser, otc) = Browser::approved(&daemon).await;
    let login = browser.exchange(&daemon, &otc).await.unwrap();
    assert_eq!(daemon.take_notices(), [LoginNotice::MayHaveMissed]);
    server.store().end_family(&login.family.id, EndReason::Logout).await.unwrap();
    let ended = LoginNotice::Ended { user_id: ADA, family: Some(login.family.id), reason: EndReason::Logout };
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(daemon.take_notices(), [ended]);
    daemon.tree.kill("root/login/registry").unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(daemon.take_notices(), [LoginNotice::MayHaveMissed], "a successor may have missed some");
}
