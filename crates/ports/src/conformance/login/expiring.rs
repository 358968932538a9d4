//! What the store's clock does.

use orinoco_domain::{
    challenge::{Challenge, READABLE_AFTER_END_MS, Refusal, Status, expire},
    refresh::Family,
};

use super::{
    LoginStoreFactory,
    fixture::{
        ADA, Act, Browser, SHORT_MS, act_on, approved, browser, families_of, load, load_family, log_in, refresh,
    },
};
use crate::{LoginStore, Swap, conformance::until};

/// Moves the store's clock to `at_ms`, or waits until it is there.
async fn pass(factory: &dyn LoginStoreFactory, store: &dyn LoginStore, at_ms: i64) {
    let now_ms = store.now_ms().await.unwrap();
    assert!(at_ms - now_ms <= 2 * SHORT_MS, "too long to wait for");
    factory.advance((at_ms - now_ms).max(0)).await;
    until("the store's clock", async || (store.now_ms().await.unwrap() >= at_ms).then_some(())).await;
}

pub async fn past_its_deadline_a_challenge_can_only_expire(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let browser = Browser::new(SHORT_MS);
    let made = store.create_challenge(&browser.new).await.unwrap();
    // Decided while there was time, written when there is none left.
    let scanned = Challenge { status: Status::Scanned, version: 2, ..made.clone() };
    pass(factory, &*store, made.deadline_ms).await;
    let Swap::Conflict { current, now_ms } = store.swap_challenge(&scanned, None).await.unwrap() else {
        panic!("a step past the deadline was written");
    };
    assert_eq!(current, made);
    assert!(now_ms >= made.deadline_ms, "who decides again must see that the deadline passed");
    let expired = expire(&current, now_ms).unwrap();
    assert_eq!(store.swap_challenge(&expired, None).await.unwrap(), Swap::Swapped);
    assert_eq!(load(&*store, browser.key()).await, expired);
    assert_eq!(act_on(&*store, &browser, Act::Scan).await, Err(Refusal::Conflict(Status::Expired)));
}

pub async fn before_its_deadline_a_challenge_can_t_expire(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let browser = browser(&*store).await;
    let made = load(&*store, browser.key()).await;
    let expired = expire(&made, made.deadline_ms).unwrap();
    let swap = store.swap_challenge(&expired, None).await.unwrap();
    assert!(matches!(swap, Swap::Conflict { ref current, now_ms } if *current == made && now_ms < made.deadline_ms));
    assert_eq!(load(&*store, browser.key()).await, made);
}

pub async fn the_deadline_that_was_written_last_counts(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let browser = approved(&*store).await;
    let held = load(&*store, browser.key()).await;
    let sooner = Challenge { deadline_ms: store.now_ms().await.unwrap() - 1, version: held.version + 1, ..held };
    assert_eq!(store.swap_challenge(&sooner, None).await.unwrap(), Swap::Swapped);
    let exchange = act_on(&*store, &browser, Act::Exchange).await;
    assert_eq!(exchange, Err(Refusal::Conflict(Status::Expired)));
    assert_eq!(families_of(&*store, ADA, 10).await, []);
}

pub async fn a_challenge_that_nobody_ended_is_forgotten_a_minute_after_its_deadline(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    // Its deadline has passed for most of that minute.
    let browser = Browser::new(SHORT_MS - READABLE_AFTER_END_MS);
    let made = store.create_challenge(&browser.new).await.unwrap();
    let seen = store.load_challenge(&browser.key()).await.unwrap();
    assert!(seen.record.is_some() || seen.now_ms >= made.purge_at_ms(), "forgotten too early");
    pass(factory, &*store, made.purge_at_ms()).await;
    assert_forgotten(&*store, &made).await;
    store.create_challenge(&Browser { new: browser.new, proof: browser.proof }.new).await.unwrap();
}

pub async fn a_challenge_that_ended_is_forgotten_a_minute_later(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let browser = browser(&*store).await;
    let held = load(&*store, browser.key()).await;
    let ended_at_ms = store.now_ms().await.unwrap() + SHORT_MS - READABLE_AFTER_END_MS;
    let ended = Challenge { status: Status::Cancelled, ended_at_ms: Some(ended_at_ms), version: 2, ..held };
    assert_eq!(store.swap_challenge(&ended, None).await.unwrap(), Swap::Swapped);
    let seen = store.load_challenge(&browser.key()).await.unwrap();
    assert!(seen.record.is_some() || seen.now_ms >= ended.purge_at_ms(), "forgotten too early");
    pass(factory, &*store, ended.purge_at_ms()).await;
    assert_forgotten(&*store, &ended).await;
}

async fn assert_forgotten(store: &dyn LoginStore, challenge: &Challenge) {
    assert_eq!(store.load_challenge(&challenge.key).await.unwrap().record, None);
    let next = Challenge { version: challenge.version + 1, ..challenge.clone() };
    assert_eq!(store.swap_challenge(&next, None).await.unwrap(), Swap::Gone);
}

pub async fn a_login_is_forgotten_at_its_expiry_whatever_was_rotated(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let (family, token) = log_in(&*store, ADA, SHORT_MS).await;
    let (lasting, _) = log_in(&*store, ADA, 10 * READABLE_AFTER_END_MS).await;
    // A busy machine may have taken all the time that there was.
    if let Some((successor, true)) = refresh(&*store, &token).await {
        refresh(&*store, &successor).await;
    }
    pass(factory, &*store, family.expires_at_ms).await;
    assert_eq!(load_family(&*store, family.id).await, None);
    assert_eq!(families_of(&*store, ADA, 10).await, [lasting]);
    for version in 2..=4 {
        let next = Family { version, ..family.clone() };
        assert_eq!(store.swap_family(&next).await.unwrap(), Swap::Gone);
    }
    assert_eq!(store.end_family(&family.id, crate::EndReason::Logout).await.unwrap(), None);
}
