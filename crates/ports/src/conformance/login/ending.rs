//! Ending logins, also while they are refreshed.

use std::sync::Arc;

use super::{
    LoginStoreFactory,
    fixture::{ADA, EVE, LONG_MS, families_of, load_family, log_in, refresh},
};
use crate::{EndReason, Swap, conformance::within_deadline};

const ROUNDS: usize = 50;

pub async fn a_login_that_ended_is_gone_and_no_other(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let (first, token) = log_in(&*store, ADA, LONG_MS).await;
    let (second, _) = log_in(&*store, ADA, LONG_MS).await;
    let (others, _) = log_in(&*store, EVE, LONG_MS).await;
    assert_eq!(store.end_family(&first.id, EndReason::Revoked).await.unwrap(), Some(first.clone()));
    assert_eq!(load_family(&*store, first.id).await, None);
    assert_eq!(refresh(&*store, &token).await, None);
    let next = orinoco_domain::refresh::Family { version: 2, ..first.clone() };
    assert_eq!(store.swap_family(&next).await.unwrap(), Swap::Gone);
    assert_eq!(store.end_family(&first.id, EndReason::Revoked).await.unwrap(), None);
    assert_eq!(families_of(&*store, ADA, 10).await, [second]);
    assert_eq!(families_of(&*store, EVE, 10).await, [others]);
}

pub async fn all_logins_of_a_user_end_and_no_other_s(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let mut tokens = Vec::new();
    for _ in 0..9 {
        tokens.push(log_in(&*store, ADA, LONG_MS).await.1);
    }
    let (others, other_token) = log_in(&*store, EVE, LONG_MS).await;
    assert_eq!(store.end_families_of(ADA, EndReason::Disabled).await.unwrap(), 9);
    assert_eq!(store.end_families_of(ADA, EndReason::Disabled).await.unwrap(), 0);
    for token in &tokens {
        assert_eq!(refresh(&*store, token).await, None);
    }
    assert_eq!(families_of(&*store, ADA, 10).await, []);
    assert_eq!(families_of(&*store, EVE, 10).await, [others]);
    assert!(refresh(&*store, &other_token).await.is_some());
    let (again, _) = log_in(&*store, ADA, LONG_MS).await;
    assert_eq!(families_of(&*store, ADA, 10).await, [again]);
}

pub async fn a_refresh_never_survives_the_end_of_its_login(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    for round in 0..ROUNDS {
        let (family, token) = log_in(&*store, ADA, LONG_MS).await;
        let refreshing = {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut token = token;
                while let Some((successor, _)) = refresh(&*store, &token).await {
                    token = successor;
                }
            })
        };
        let ending = {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                if round % 2 == 0 {
                    assert!(store.end_family(&family.id, EndReason::Logout).await.unwrap().is_some());
                } else {
                    assert_eq!(store.end_families_of(ADA, EndReason::Revoked).await.unwrap(), 1);
                }
            })
        };
        within_deadline("an end", ending).await.unwrap();
        within_deadline("the last refresh", refreshing).await.unwrap();
        assert_eq!(load_family(&*store, family.id).await, None, "a refresh brought it back");
        assert_eq!(families_of(&*store, ADA, 10).await, []);
    }
}
