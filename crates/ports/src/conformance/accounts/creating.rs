//! Making and finding accounts.

use std::{collections::BTreeSet, sync::Arc};

use orinoco_domain::account::{Account, Role, UserId};

use super::{
    AccountsFactory,
    fixture::{bound, create, device, email, get, hash, list_all, plain, roles},
};
use crate::{AccountPage, AccountsError, NewAccount, conformance::within_deadline};

pub async fn a_new_account_is_found_by_id_and_by_email(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    let new = NewAccount { roles: roles(&[Role::User, Role::Admin]), ..bound("Ada@example.org", "samu31") };
    let made = accounts.create(&new).await.unwrap();
    assert!(made.id.0 > 0);
    assert!(made.created_at_ms > 1_700_000_000_000, "ms since 1970: {}", made.created_at_ms);
    assert_eq!(made.updated_at_ms, made.created_at_ms);
    let expected = Account {
        id: made.id,
        email: email("ada@example.org"),
        password_hash: new.password_hash.clone(),
        orin_id: Some(device("samu31")),
        roles: new.roles.clone(),
        enabled: true,
        generation: 0,
        created_at_ms: made.created_at_ms,
        updated_at_ms: made.updated_at_ms,
    };
    assert_eq!(made, expected);
    assert_eq!(get(&*accounts, made.id).await, expected);
    assert_eq!(accounts.by_email(&email("ADA@example.org")).await.unwrap(), Some(expected));
}

pub async fn an_unknown_account_is_not_found(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    let made = create(&*accounts, "ada@example.org").await;
    for id in [0, -1, made.id.0 + 1, i64::MAX, i64::MIN] {
        assert_eq!(accounts.by_id(UserId(id)).await.unwrap(), None);
    }
    for address in ["ada@example.or", "da@example.org", "_da@example.org", "a%@example.org"] {
        assert_eq!(accounts.by_email(&email(address)).await.unwrap(), None, "{address}");
    }
}

pub async fn accounts_of_every_legal_shape_are_kept(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    let labels = ["x".repeat(63), "y".repeat(63), "z".repeat(61)].join(".");
    let longest = format!("{}@{labels}", "a".repeat(64));
    assert_eq!(longest.len(), 254);
    let shapes = [
        NewAccount { roles: roles(&[]), ..plain(&longest) },
        NewAccount { roles: roles(&[Role::Admin]), ..plain("o'brien+%_$$@localhost") },
        NewAccount { password_hash: hash(&"h".repeat(512)), ..bound("{a}@b", &"d".repeat(64)) },
        NewAccount { password_hash: hash("'; drop table x; -- é\u{1f511}"), ..bound("a.b@c", "-._A") },
    ];
    for new in shapes {
        let made = accounts.create(&new).await.unwrap();
        let held = get(&*accounts, made.id).await;
        assert_eq!((&held.email, &held.roles, &held.orin_id), (&new.email, &new.roles, &new.orin_id));
        assert_eq!(held.password_hash, new.password_hash);
        assert_eq!(accounts.by_email(&new.email).await.unwrap(), Some(held));
    }
}

pub async fn an_email_and_an_orin_id_are_taken_once(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    let first = accounts.create(&bound("ada@example.org", "samu31")).await.unwrap();
    let same_email = accounts.create(&bound("ada@example.org", "other")).await;
    assert!(matches!(same_email, Err(AccountsError::EmailTaken)), "{same_email:?}");
    let same_device = accounts.create(&bound("eve@example.org", "samu31")).await;
    assert!(matches!(same_device, Err(AccountsError::OrinIdTaken)), "{same_device:?}");
    let both = accounts.create(&bound("ada@example.org", "samu31")).await;
    assert!(matches!(both, Err(AccountsError::EmailTaken)), "{both:?}");

    assert_eq!(list_all(&*accounts, 10).await, [first], "a refused account was left behind");
    accounts.create(&bound("eve@example.org", "other")).await.unwrap();
    accounts.create(&bound("bob@example.org", "SAMU31")).await.unwrap();
    // Any number of accounts have no device.
    create(&*accounts, "one@example.org").await;
    create(&*accounts, "two@example.org").await;
}

pub async fn of_accounts_that_race_one_is_made(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    for round in 0..5 {
        let tasks: Vec<_> = (0..10)
            .map(|number| {
                let accounts = Arc::clone(&accounts);
                // Half of them want one address, and the other half one device.
                let new = match number % 2 {
                    0 => bound(&format!("r{round}@example.org"), &format!("d{round}-{number}")),
                    _ => bound(&format!("r{round}-{number}@example.org"), &format!("d{round}")),
                };
                tokio::spawn(async move { (number % 2, accounts.create(&new).await) })
            })
            .collect();
        let mut made = [0, 0];
        for task in tasks {
            match within_deadline("accounts that race", task).await.unwrap() {
                (half, Ok(_)) => made[half] += 1,
                (0, Err(AccountsError::EmailTaken)) | (1, Err(AccountsError::OrinIdTaken)) => {}
                (half, other) => panic!("half {half}: {other:?}"),
            }
        }
        assert_eq!(made, [1, 1]);
    }
    let ids: BTreeSet<UserId> = list_all(&*accounts, 100).await.into_iter().map(|account| account.id).collect();
    assert_eq!(ids.len(), 10, "each has an id of its own");
}

pub async fn accounts_are_listed_page_by_page(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    assert_eq!(accounts.list(None, 10).await.unwrap(), AccountPage::default());
    let mut made = Vec::new();
    for number in 0..12 {
        made.push(create(&*accounts, &format!("u{number}@example.org")).await);
    }
    made.sort_by_key(|account| account.id);
    for page_max in [1, 5, 6, 12, 13] {
        assert_eq!(list_all(&*accounts, page_max).await, made, "pages of {page_max}");
    }
    let last = made[11].id;
    assert_eq!(accounts.list(Some(last), 10).await.unwrap(), AccountPage::default());
    assert_eq!(accounts.list(Some(UserId(i64::MAX)), 10).await.unwrap(), AccountPage::default());
}

pub async fn a_probe_of_the_accounts_says_the_version(factory: &dyn AccountsFactory) {
    assert!(!factory.open().await.probe().await.unwrap().version.is_empty());
}
