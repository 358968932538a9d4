//! Writing and reading logins.

use orinoco_domain::refresh::{Family, FamilyId};

use super::{
    LoginStoreFactory,
    fixture::{
        ADA, Act, EVE, LONG_MS, act_on, approved, families_of, keys, load_family, log_in, new_family, next_event,
        refresh,
    },
};
use crate::{EndReason, FamilyPage, LoginEvent, LoginStoreError, Swap};

pub async fn a_login_is_kept_whole(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let (family, mut token) = log_in(&*store, ADA, LONG_MS).await;
    let loaded = store.load_family(&family.id).await.unwrap();
    assert_eq!(loaded.record, Some(family.clone()));
    assert!(loaded.now_ms >= family.created_at_ms);
    for version in 2..10 {
        let (successor, _) = refresh(&*store, &token).await.unwrap();
        let held = load_family(&*store, family.id).await.unwrap();
        assert_eq!((held.version, held.head_sequence, held.head_hash), (version, version as u32, successor.digest()));
        assert_eq!((held.expires_at_ms, held.created_at_ms), (family.expires_at_ms, family.created_at_ms));
        assert_eq!(held.client.user_agent(), "tab");
        token = successor;
    }
}

pub async fn an_unknown_login_is_not_there(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    log_in(&*store, ADA, LONG_MS).await;
    let now_ms = store.now_ms().await.unwrap();
    let stranger = new_family(EVE, LONG_MS).begin(keys().current(), now_ms).0;
    assert_eq!(load_family(&*store, stranger.id).await, None);
    let next = Family { version: 2, ..stranger.clone() };
    assert_eq!(store.swap_family(&next).await.unwrap(), Swap::Gone);
    assert_eq!(store.end_family(&stranger.id, EndReason::Logout).await.unwrap(), None);
    assert_eq!(store.end_families_of(EVE, EndReason::Logout).await.unwrap(), 0);
    assert_eq!(store.families_of(EVE, None, 10).await.unwrap(), FamilyPage::default());
}

pub async fn a_login_s_id_is_taken_once(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let (family, _) = log_in(&*store, ADA, LONG_MS).await;
    let other = Family { user_id: EVE, ..family.clone() };
    let again = store.create_family(&other).await;
    assert!(matches!(again, Err(LoginStoreError::Taken { .. })), "{again:?}");
    assert_eq!(load_family(&*store, family.id).await, Some(family));
    assert_eq!(families_of(&*store, EVE, 10).await, []);
}

pub async fn a_rotation_from_another_version_changes_nothing(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let (family, token) = log_in(&*store, ADA, LONG_MS).await;
    refresh(&*store, &token).await.unwrap();
    let held = load_family(&*store, family.id).await.unwrap();
    for version in [1, 2, 4, 100] {
        let next = Family { version, head_sequence: 77, ..family.clone() };
        let swap = store.swap_family(&next).await.unwrap();
        assert!(matches!(swap, Swap::Conflict { ref current, .. } if *current == held), "version {version}: {swap:?}");
    }
    assert_eq!(load_family(&*store, family.id).await, Some(held));
}

pub async fn a_user_s_logins_are_listed_the_latest_to_end_first(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let mut made = Vec::new();
    for number in 0..7 {
        // Two of them end at (about) one time.
        let (family, token) = log_in(&*store, ADA, LONG_MS + (number / 2) * 1_000_000).await;
        log_in(&*store, EVE, LONG_MS).await;
        if number == 3 {
            refresh(&*store, &token).await.unwrap();
        }
        made.push(load_family(&*store, family.id).await.unwrap());
    }
    let exchanged = act_on(&*store, &approved(&*store).await, Act::Exchange).await.unwrap().1.unwrap();
    made.push(exchanged);
    made.sort_by_key(|family| std::cmp::Reverse((family.expires_at_ms, family.id)));
    for page_max in [1, 3, 8, 9] {
        let listed = families_of(&*store, ADA, page_max).await;
        assert!(listed.windows(2).all(|pair| pair[0].expires_at_ms >= pair[1].expires_at_ms), "pages of {page_max}");
        let mut sorted = listed;
        sorted.sort_by_key(|family| std::cmp::Reverse((family.expires_at_ms, family.id)));
        assert_eq!(sorted, made, "pages of {page_max}");
    }
}

pub async fn beyond_the_bound_the_login_that_would_end_first_makes_room(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let most = factory.families_per_user_max();
    let mut ids: Vec<FamilyId> = Vec::new();
    for number in 0..most {
        ids.push(log_in(&*store, ADA, LONG_MS + number as i64 * 60_000).await.0.id);
    }
    let (other, _) = log_in(&*store, EVE, LONG_MS).await;
    let mut subscription = store.subscribe().await.unwrap();
    // By a login, and by an exchange.
    log_in(&*store, ADA, 10 * LONG_MS).await;
    let displaced =
        |id: FamilyId| LoginEvent::LoginsEnded { user_id: ADA, family: Some(id), reason: EndReason::Displaced };
    assert_eq!(next_event(&mut *subscription).await, displaced(ids[0]));
    let browser = approved(&*store).await;
    act_on(&*store, &browser, Act::Exchange).await.unwrap();
    let mut events = Vec::new();
    for _ in 0..4 {
        events.push(next_event(&mut *subscription).await);
    }
    let most_recent = if most > 1 { ids[1] } else { ids[0] };
    assert!(events.contains(&displaced(most_recent)), "{events:?}");
    let listed = families_of(&*store, ADA, 50).await;
    assert_eq!(listed.len(), most);
    for id in [ids[0], most_recent] {
        assert!(listed.iter().all(|family| family.id != id));
        assert_eq!(load_family(&*store, id).await, None);
    }
    assert_eq!(families_of(&*store, EVE, 10).await, [other]);
}
