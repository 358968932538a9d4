//! Publications.

use std::time::Duration;

use orinoco_domain::challenge::{Challenge, Status};

use super::{
    LoginStoreFactory,
    fixture::{ADA, Act, EVE, LONG_MS, act_on, browser, changed, load, log_in, next_event, refresh},
};
use crate::{EndReason, LoginEvent, Swap, conformance::within_deadline};

pub async fn changes_of_challenges_are_published_in_order(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let mut subscription = store.subscribe().await.unwrap();
    for last in [Act::Exchange, Act::Cancel] {
        let browser = browser(&*store).await;
        for act in [Act::Scan, Act::Approve, last] {
            let (next, _) = act_on(&*store, &browser, act).await.unwrap();
            assert_eq!(next_event(&mut *subscription).await, changed(&next));
        }
    }
}

pub async fn what_changes_nothing_publishes_nothing(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let browser = browser(&*store).await;
    let (family, token) = log_in(&*store, ADA, LONG_MS).await;
    let mut subscription = store.subscribe().await.unwrap();
    let held = load(&*store, browser.key()).await;
    for next in
        [Challenge { version: 9, ..held.clone() }, Challenge { status: Status::Expired, version: 2, ..held.clone() }]
    {
        assert_ne!(store.swap_challenge(&next, None).await.unwrap(), Swap::Swapped);
    }
    assert!(store.create_challenge(&browser.new).await.is_err());
    assert!(store.create_family(&family).await.is_err());
    refresh(&*store, &token).await.unwrap();
    let ended = store.end_family(&orinoco_domain::refresh::FamilyId::from_bytes([0; 16]), EndReason::Logout).await;
    assert_eq!(ended.unwrap(), None);
    let (scanned, _) = act_on(&*store, &browser, Act::Scan).await.unwrap();
    assert_eq!(next_event(&mut *subscription).await, changed(&scanned));
}

pub async fn ends_of_logins_are_published_with_their_reason(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let mut subscription = store.subscribe().await.unwrap();
    for reason in EndReason::ALL {
        let (family, _) = log_in(&*store, EVE, LONG_MS).await;
        store.end_family(&family.id, reason).await.unwrap();
        let ended = LoginEvent::LoginsEnded { user_id: EVE, family: Some(family.id), reason };
        assert_eq!(next_event(&mut *subscription).await, ended);
        // Whether there are any or not: tokens that are still good may be in use.
        store.end_families_of(ADA, reason).await.unwrap();
        let ended = LoginEvent::LoginsEnded { user_id: ADA, family: None, reason };
        assert_eq!(next_event(&mut *subscription).await, ended);
    }
}

pub async fn every_login_subscriber_gets_every_change(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let mut subscriptions = Vec::new();
    for _ in 0..3 {
        subscriptions.push(store.subscribe().await.unwrap());
    }
    let browser = browser(&*store).await;
    let (scanned, _) = act_on(&*store, &browser, Act::Scan).await.unwrap();
    for subscription in &mut subscriptions {
        assert_eq!(next_event(&mut **subscription).await, changed(&scanned));
    }
    subscriptions.pop();
    let (denied, _) = act_on(&*store, &browser, Act::Deny).await.unwrap();
    for subscription in &mut subscriptions {
        assert_eq!(next_event(&mut **subscription).await, changed(&denied));
    }
}

pub async fn waiting_for_a_change_may_be_cancelled(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let mut subscription = store.subscribe().await.unwrap();
    for _ in 0..20 {
        let given_up = tokio::time::timeout(Duration::from_millis(1), subscription.next()).await;
        assert!(given_up.is_err(), "{given_up:?}");
        let browser = browser(&*store).await;
        let (scanned, _) = act_on(&*store, &browser, Act::Scan).await.unwrap();
        assert_eq!(next_event(&mut *subscription).await, changed(&scanned));
    }
}

pub async fn a_login_subscriber_that_does_not_read_holds_nobody_up(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let _idle = store.subscribe().await.unwrap();
    let mut subscription = store.subscribe().await.unwrap();
    for _ in 0..2_000 {
        within_deadline("an end", store.end_families_of(EVE, EndReason::Revoked)).await.unwrap();
        next_event(&mut *subscription).await;
    }
}
