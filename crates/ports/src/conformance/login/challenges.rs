//! Writing and reading challenges.

use orinoco_domain::challenge::{Challenge, Refusal, Status};

use super::{
    LoginStoreFactory,
    fixture::{
        ADA, Act, Browser, LONG_MS, act_on, approved, browser, keys, load, load_family, log_in, new_family, phone,
    },
};
use crate::{LoginStoreError, Swap};

pub async fn a_new_challenge_has_the_store_s_times(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let browser = Browser::new(120_000);
    let before_ms = store.now_ms().await.unwrap();
    let made = store.create_challenge(&browser.new).await.unwrap();
    let loaded = store.load_challenge(&browser.key()).await.unwrap();
    assert!(before_ms > 1_700_000_000_000, "ms since 1970: {before_ms}");
    assert!((before_ms..=loaded.now_ms).contains(&made.created_at_ms));
    assert_eq!(made, browser.new.at(made.created_at_ms));
    assert_eq!(loaded.record, Some(made));
}

pub async fn an_unknown_challenge_is_not_there(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let other = browser(&*store).await;
    let stranger = Browser::new(LONG_MS);
    let loaded = store.load_challenge(&stranger.key()).await.unwrap();
    assert!(loaded.record.is_none() && loaded.now_ms > 1_700_000_000_000);
    let challenge = stranger.new.at(loaded.now_ms);
    let next = Challenge { version: 2, ..challenge };
    assert_eq!(store.swap_challenge(&next, None).await.unwrap(), Swap::Gone);
    let began = new_family(ADA, LONG_MS).begin(keys().current(), loaded.now_ms).0;
    assert_eq!(store.swap_challenge(&next, Some(&began)).await.unwrap(), Swap::Gone);
    assert_eq!(load_family(&*store, began.id).await, None);
    assert_eq!(load(&*store, other.key()).await.version, 1);
}

pub async fn a_challenge_s_key_is_taken_once(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let browser = browser(&*store).await;
    let (scanned, _) = act_on(&*store, &browser, Act::Scan).await.unwrap();
    let again = store.create_challenge(&browser.new).await;
    assert!(matches!(again, Err(LoginStoreError::Taken { .. })), "{again:?}");
    assert_eq!(load(&*store, browser.key()).await, scanned);
}

pub async fn each_step_is_kept_whole(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    for last in [Act::Exchange, Act::Deny, Act::Cancel] {
        let browser = browser(&*store).await;
        let steps = if last == Act::Exchange { vec![Act::Scan, Act::Approve, last] } else { vec![Act::Scan, last] };
        let mut began = None;
        for step in steps {
            let (next, family) = act_on(&*store, &browser, step).await.unwrap();
            assert_eq!(load(&*store, browser.key()).await, next);
            began = family;
        }
        if let Some(family) = began {
            assert_eq!(load_family(&*store, family.id).await, Some(family));
        }
        let end = load(&*store, browser.key()).await;
        for act in [Act::Scan, Act::Approve, Act::Deny, Act::Cancel, Act::Exchange, Act::Expire] {
            assert_eq!(act_on(&*store, &browser, act).await, Err(Refusal::Conflict(end.status)), "{act:?}");
        }
        assert_eq!(load(&*store, browser.key()).await, end);
    }
}

pub async fn a_swap_from_another_version_changes_nothing(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let browser = browser(&*store).await;
    let first = load(&*store, browser.key()).await;
    let (scanned, _) = act_on(&*store, &browser, Act::Scan).await.unwrap();
    for version in [1, 2, 4, 100] {
        let next = Challenge { status: Status::Cancelled, version, ..first.clone() };
        let Swap::Conflict { current, now_ms } = store.swap_challenge(&next, None).await.unwrap() else {
            panic!("version {version} follows {}", scanned.version);
        };
        assert_eq!(current, scanned);
        assert!(now_ms >= scanned.created_at_ms);
    }
    assert_eq!(load(&*store, browser.key()).await, scanned);
}

pub async fn an_exchange_that_loses_begins_no_login(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let browser = approved(&*store).await;
    let stale = load(&*store, browser.key()).await;
    act_on(&*store, &browser, Act::Cancel).await.unwrap();
    let now_ms = store.now_ms().await.unwrap();
    let began = new_family(ADA, LONG_MS).begin(keys().current(), now_ms).0;
    let next = Challenge { status: Status::Exchanged, version: stale.version + 1, ..stale };
    let swap = store.swap_challenge(&next, Some(&began)).await.unwrap();
    assert!(matches!(swap, Swap::Conflict { ref current, .. } if current.status == Status::Cancelled), "{swap:?}");
    assert_eq!(load_family(&*store, began.id).await, None);
    assert_eq!(store.families_of(ADA, None, 10).await.unwrap().families, []);
}

pub async fn an_exchange_into_a_login_that_is_there_changes_nothing(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let browser = approved(&*store).await;
    let before = load(&*store, browser.key()).await;
    let (held, _) = log_in(&*store, ADA, LONG_MS).await;
    let mut began = new_family(ADA, LONG_MS).begin(keys().current(), before.created_at_ms).0;
    began.id = held.id;
    let next = Challenge { status: Status::Exchanged, version: before.version + 1, ..before.clone() };
    let refused = store.swap_challenge(&next, Some(&began)).await;
    assert!(matches!(refused, Err(LoginStoreError::Taken { .. })), "{refused:?}");
    assert_eq!(load(&*store, browser.key()).await, before);
    assert_eq!(load_family(&*store, held.id).await, Some(held));
}

pub async fn wrong_otc_are_counted_in_the_store(factory: &dyn LoginStoreFactory) {
    use orinoco_domain::{
        challenge::{Event, WRONG_OTC_MAX, decide},
        secret::Otc,
    };
    let store = factory.open().await;
    let browser = approved(&*store).await;
    for count in 1..=WRONG_OTC_MAX {
        let loaded = store.load_challenge(&browser.key()).await.unwrap();
        let event = Event::Exchange { proof: &browser.proof, otc: &Otc::from_bytes([1; 32]) };
        let decision = decide(&loaded.record.unwrap(), event, &keys(), loaded.now_ms);
        assert_eq!(decision.answer, Err(Refusal::WrongOtc { tries_left: WRONG_OTC_MAX - count }));
        assert_eq!(store.swap_challenge(&decision.next.unwrap(), None).await.unwrap(), Swap::Swapped);
        assert_eq!(load(&*store, browser.key()).await.wrong_otc_count, count);
    }
    let answer = act_on(&*store, &browser, Act::Exchange).await;
    assert_eq!(answer, Err(Refusal::Conflict(Status::Cancelled)));
    assert_eq!(load(&*store, browser.key()).await.scanner, Some(phone()));
}

pub async fn a_probe_of_the_login_store_says_the_version(factory: &dyn LoginStoreFactory) {
    assert!(!factory.open().await.probe().await.unwrap().version.is_empty());
}
