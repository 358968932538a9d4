//! Many at once: one wins, and the others are told.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::task::JoinSet;

use super::world;
use crate::support::{Mode, Tokens, World, call, campaign, phone, turn};

for_both_modes! {
    of_many_exchanges_at_once_one_is_answered
    many_refreshes_at_once_get_one_successor
    of_approve_deny_and_cancel_at_once_one_wins_and_the_others_are_told
}

/// 1,000 in a campaign.
const AT_ONCE: usize = 200;
const ROUNDS: usize = 25;

async fn of_many_exchanges_at_once_one_is_answered(mode: Mode) {
    let _turn = turn().await;
    let worlds = daemons(mode).await;
    let (world, addresses) = (&worlds[0], addresses(&worlds));
    let person = world.person().await;
    let (browser, otc) = world.approved(&person.tokens).await;
    let mut tasks = JoinSet::new();
    for number in 0..campaign("AT_ONCE", AT_ONCE) {
        let (browser, otc) = (browser.clone(), otc.clone());
        let address = addresses[number % addresses.len()].clone();
        tasks.spawn(async move { browser.exchange(&address, &otc).await.status });
    }
    let statuses = tasks.join_all().await;
    let count = |status: u16| statuses.iter().filter(|answered| **answered == status).count();
    assert_eq!((count(200), count(409)), (1, statuses.len() - 1), "{statuses:?}");
    let sessions = world.call("GET", "sessions", &person.tokens.access, None).await.json();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 2, "one login more: {sessions}");
}

async fn many_refreshes_at_once_get_one_successor(mode: Mode) {
    let _turn = turn().await;
    let worlds = daemons(mode).await;
    let (world, addresses) = (&worlds[0], addresses(&worlds));
    let person = world.person().await;
    let mut tasks = JoinSet::new();
    for number in 0..campaign("AT_ONCE", AT_ONCE) {
        let token = person.tokens.refresh.clone();
        let address = addresses[number % addresses.len()].clone();
        tasks.spawn(async move {
            let body = serde_json::json!({"refreshToken": token});
            call(&address, "POST", "auth/refresh", "", Some(body)).await
        });
    }
    let answers = tasks.join_all().await;
    let mut successors: Vec<String> = answers.iter().map(|answer| Tokens::of(answer).refresh).collect();
    successors.dedup();
    let [successor] = &successors[..] else { panic!("{} successors", successors.len()) };
    assert_eq!(world.refresh(successor).await.status, 200, "nothing was revoked");
}

async fn of_approve_deny_and_cancel_at_once_one_wins_and_the_others_are_told(mode: Mode) {
    let _turn = turn().await;
    let worlds = daemons(mode).await;
    let (world, addresses) = (&worlds[0], addresses(&worlds));
    let person = world.person().await;
    let mut won: BTreeMap<String, usize> = BTreeMap::new();
    for round in 0..campaign("ROUNDS", ROUNDS) {
        let browser = world.browser().await;
        assert_eq!(world.phone(&person.tokens, &browser, "scan").await.status, 200);
        let address = |number: usize| addresses[(round + number) % addresses.len()].as_str();
        let (approve, deny, cancel) = tokio::join!(
            phone(address(0), &person.tokens, &browser, "approve"),
            phone(address(1), &person.tokens, &browser, "deny"),
            browser.cancel(address(2)),
        );
        let status = browser.status(address(0)).await;
        let done = |answer: &crate::support::Answer| (200..300).contains(&answer.status);
        // An approved challenge may still be cancelled, but not denied.
        match status.as_str() {
            "APPROVED" => assert!(done(&approve) && !done(&deny) && !done(&cancel)),
            "DENIED" => assert!(!done(&approve) && done(&deny) && !done(&cancel)),
            "CANCELLED" => assert!(!done(&deny) && done(&cancel)),
            other => panic!("{other}"),
        }
        for loser in [&approve, &deny, &cancel].into_iter().filter(|answer| !done(answer)) {
            loser.assert_problem(409);
            let told = loser.json()["challengeStatus"].clone();
            assert!([Value::from("APPROVED"), Value::from(status.as_str())].contains(&told), "{loser:?}");
        }
        assert_eq!(browser.status(address(1)).await, status);
        *won.entry(status).or_default() += 1;
    }
    println!("{mode:?}: {won:?}");
}

/// One daemon, or two on one set of services.
async fn daemons(mode: Mode) -> Vec<World> {
    let first = world(mode).await;
    if mode == Mode::Embedded {
        return vec![first];
    }
    let second = first.another().await;
    vec![first, second]
}

fn addresses(worlds: &[World]) -> Vec<String> {
    worlds.iter().map(|world| world.daemon.http_address().to_owned()).collect()
}
