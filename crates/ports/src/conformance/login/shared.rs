//! Several daemons on one store.

use super::{
    LoginStoreFactory,
    fixture::{ADA, Act, LONG_MS, act_on, browser, changed, load, load_family, log_in, next_event, refresh},
    racing::{end_from_all, exchange_from_all, refresh_from_all},
};
use crate::{EndReason, LoginEvent};

pub async fn what_one_daemon_writes_another_reads_and_hears_of(factory: &dyn LoginStoreFactory) {
    let (one, two) = (factory.open().await, factory.open().await);
    let mut subscription = two.subscribe().await.unwrap();
    let browser = browser(&*one).await;
    for (act, store) in [(Act::Scan, &one), (Act::Approve, &two), (Act::Exchange, &one)] {
        let (next, _) = act_on(&**store, &browser, act).await.unwrap();
        assert_eq!(next_event(&mut *subscription).await, changed(&next));
        assert_eq!(load(&*two, browser.key()).await, next);
    }
    let (family, token) = log_in(&*one, ADA, LONG_MS).await;
    let (token, _) = refresh(&*two, &token).await.unwrap();
    assert!(refresh(&*one, &token).await.is_some());
    one.end_family(&family.id, EndReason::Reuse).await.unwrap();
    let ended = LoginEvent::LoginsEnded { user_id: ADA, family: Some(family.id), reason: EndReason::Reuse };
    assert_eq!(next_event(&mut *subscription).await, ended);
    assert_eq!(load_family(&*two, family.id).await, None);
}

pub async fn of_a_thousand_exchanges_on_two_daemons_one_is_done(factory: &dyn LoginStoreFactory) {
    exchange_from_all(&[factory.open().await, factory.open().await]).await;
}

pub async fn of_a_thousand_refreshes_on_two_daemons_one_successor_comes(factory: &dyn LoginStoreFactory) {
    refresh_from_all(&[factory.open().await, factory.open().await]).await;
}

pub async fn of_those_who_end_a_challenge_on_two_daemons_one_wins(factory: &dyn LoginStoreFactory) {
    let stores = [factory.open().await, factory.open().await];
    end_from_all(factory, &stores).await;
}
