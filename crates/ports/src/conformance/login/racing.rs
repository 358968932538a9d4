//! Those who race for one record.

use std::sync::Arc;

use orinoco_domain::{
    challenge::{Challenge, Refusal, Status},
    refresh::RefreshToken,
};

use super::{
    LoginStoreFactory,
    fixture::{
        ADA, Act, Answer, Browser, LONG_MS, act_on, approved, browser, families_of, load, load_family, log_in, refresh,
    },
};
use crate::{LoginStore, LoginStoreError, conformance::within_deadline};

const CROWD: usize = 1_000;
const ROUNDS: usize = 100;

pub async fn of_a_thousand_exchanges_one_is_done(factory: &dyn LoginStoreFactory) {
    exchange_from_all(&[factory.open().await]).await;
}

pub async fn of_a_thousand_refreshes_one_successor_comes(factory: &dyn LoginStoreFactory) {
    refresh_from_all(&[factory.open().await]).await;
}

pub async fn of_those_who_end_a_challenge_at_once_one_wins(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    end_from_all(factory, &[store]).await;
}

pub async fn of_challenges_that_race_for_a_key_one_is_made(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let new = Browser::new(LONG_MS).new;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (store, new) = (Arc::clone(&store), new.clone());
            tokio::spawn(async move { store.create_challenge(&new).await })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match within_deadline("challenges that race", task).await.unwrap() {
            Ok(_) => made += 1,
            Err(LoginStoreError::Taken { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(made, 1);
}

/// [`CROWD`] exchanges of one approved challenge, spread over the stores.
pub(super) async fn exchange_from_all(stores: &[Arc<dyn LoginStore>]) {
    let browser = Arc::new(approved(&*stores[0]).await);
    let tasks: Vec<_> = (0..CROWD)
        .map(|number| {
            let (store, browser) = (Arc::clone(&stores[number % stores.len()]), Arc::clone(&browser));
            tokio::spawn(async move { act_on(&*store, &browser, Act::Exchange).await })
        })
        .collect();
    let mut began = Vec::new();
    for task in tasks {
        match within_deadline("exchanges at once", task).await.unwrap() {
            Ok((challenge, family)) => {
                assert_eq!(challenge.status, Status::Exchanged);
                began.extend(family);
            }
            Err(refusal) => assert_eq!(refusal, Refusal::Conflict(Status::Exchanged)),
        }
    }
    assert_eq!(began.len(), 1, "one exchange is done");
    assert_eq!(families_of(&*stores[0], ADA, 100).await, began, "and one login begins");
}

/// [`CROWD`] refreshes of one token, spread over the stores.
pub(super) async fn refresh_from_all(stores: &[Arc<dyn LoginStore>]) {
    let (family, token) = log_in(&*stores[0], ADA, LONG_MS).await;
    let tasks: Vec<_> = (0..CROWD)
        .map(|number| {
            let (store, token) = (Arc::clone(&stores[number % stores.len()]), token.clone());
            tokio::spawn(async move { refresh(&*store, &token).await })
        })
        .collect();
    let mut successors: Vec<RefreshToken> = Vec::new();
    let mut rotations = 0;
    for task in tasks {
        let (successor, rotated) = within_deadline("refreshes at once", task).await.unwrap().unwrap();
        rotations += usize::from(rotated);
        successors.push(successor);
    }
    assert_eq!(rotations, 1);
    assert!(successors.iter().all(|successor| *successor == successors[0]), "all get one successor");
    let held = load_family(&*stores[0], family.id).await.unwrap();
    assert_eq!((held.version, held.head_sequence), (2, 2));
}

/// Approve, deny, cancel, exchange and the deadline at once, [`ROUNDS`] times, spread over the stores.
pub(super) async fn end_from_all(factory: &dyn LoginStoreFactory, stores: &[Arc<dyn LoginStore>]) {
    const ACTS: [Act; 5] = [Act::Approve, Act::Deny, Act::Cancel, Act::Exchange, Act::Expire];
    for round in 0..ROUNDS {
        let browser = Arc::new(scanned(&*stores[0], round).await);
        let mut tasks = Vec::new();
        for number in 0..ACTS.len() {
            let act = ACTS[(number + round) % ACTS.len()];
            let (store, browser) = (Arc::clone(&stores[number % stores.len()]), Arc::clone(&browser));
            tasks.push(tokio::spawn(async move { (act, act_on(&*store, &browser, act).await) }));
        }
        // Where the clock is in hand, every other challenge meets its deadline in the middle of it.
        if round % 2 == 1 {
            factory.advance(DEADLINE_MS).await;
        }
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(within_deadline("acts at once", task).await.unwrap());
        }
        let end = load(&*stores[0], browser.key()).await;
        assert_one_end(&end, &answers);
        let began: usize = answers.iter().filter(|(_, answer)| matches!(answer, Ok((_, Some(_))))).count();
        let live = families_of(&*stores[0], ADA, 100).await.len();
        assert_eq!((began, live), (usize::from(end.status == Status::Exchanged), began), "round {round}");
        stores[0].end_families_of(ADA, crate::EndReason::Logout).await.unwrap();
    }
}

const DEADLINE_MS: i64 = 40;

async fn scanned(store: &dyn LoginStore, round: usize) -> Browser {
    if round.is_multiple_of(2) {
        let browser = browser(store).await;
        act_on(store, &browser, Act::Scan).await.unwrap();
        return browser;
    }
    // On a busy machine it may expire before it is scanned: then another one.
    within_deadline("a scan in time", async {
        loop {
            let browser = Browser::new(DEADLINE_MS);
            store.create_challenge(&browser.new).await.unwrap();
            if act_on(store, &browser, Act::Scan).await.is_ok() {
                return browser;
            }
        }
    })
    .await
}

/// One terminal status at most was written, by one who was told so; every loser was told of a status that was there.
fn assert_one_end(end: &Challenge, answers: &[(Act, Answer)]) {
    let mut written: Vec<Status> = Vec::new();
    for (_, answer) in answers {
        if let Ok((challenge, _)) = answer {
            written.push(challenge.status);
        }
    }
    let ends: Vec<&Status> = written.iter().filter(|status| status.is_terminal()).collect();
    assert!(ends.len() <= 1, "{answers:?}");
    assert!(ends.iter().all(|status| **status == end.status), "{end:?}: {answers:?}");
    for (act, answer) in answers {
        let Err(refusal) = answer else { continue };
        let Refusal::Conflict(status) = refusal else { panic!("{act:?}: {refusal:?}") };
        // Who lost to no end saw a step before it.
        assert!(*status == end.status || !status.is_terminal(), "{act:?} was told {status}, {end:?}");
    }
}
