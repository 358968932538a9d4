//! Changing accounts.

use std::sync::Arc;

use orinoco_domain::account::{Account, Role, UserId};

use super::{
    AccountsFactory,
    fixture::{at_time_of, bound, create, device, get, hash, roles},
};
use crate::{AccountsError, Rehash, conformance::within_deadline};

pub async fn a_change_is_kept_and_touches_nothing_else(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    let mut expected = accounts.create(&bound("ada@example.org", "samu31")).await.unwrap();
    let bystander = accounts.create(&bound("eve@example.org", "other")).await.unwrap();
    let id = expected.id;

    let changed = accounts.set_roles(id, &roles(&[Role::User, Role::Admin])).await.unwrap().unwrap();
    expected = Account { roles: roles(&[Role::User, Role::Admin]), ..at_time_of(expected, &changed) };
    assert_eq!((&changed, &get(&*accounts, id).await), (&expected, &expected));

    let changed = accounts.set_roles(id, &roles(&[])).await.unwrap().unwrap();
    expected = Account { roles: roles(&[]), ..at_time_of(expected, &changed) };
    assert_eq!((&changed, &get(&*accounts, id).await), (&expected, &expected));

    let changed = accounts.set_orin_id(id, Some(&device("samu32"))).await.unwrap().unwrap();
    expected = Account { orin_id: Some(device("samu32")), ..at_time_of(expected, &changed) };
    assert_eq!((&changed, &get(&*accounts, id).await), (&expected, &expected));

    let changed = accounts.set_orin_id(id, None).await.unwrap().unwrap();
    expected = Account { orin_id: None, ..at_time_of(expected, &changed) };
    assert_eq!((&changed, &get(&*accounts, id).await), (&expected, &expected));

    let changed = accounts.bump_generation(id).await.unwrap().unwrap();
    expected = Account { generation: 1, ..at_time_of(expected, &changed) };
    assert_eq!((&changed, &get(&*accounts, id).await), (&expected, &expected));

    assert!(expected.updated_at_ms >= expected.created_at_ms);
    assert_eq!(get(&*accounts, bystander.id).await, bystander);
}

pub async fn disabling_ends_a_generation_and_enabling_does_not(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    let id = create(&*accounts, "ada@example.org").await.id;
    for (enabled, generation) in [(true, 0), (false, 1), (false, 2), (true, 2), (false, 3)] {
        let changed = accounts.set_enabled(id, enabled).await.unwrap().unwrap();
        assert_eq!((changed.enabled, changed.generation), (enabled, generation));
        assert_eq!(get(&*accounts, id).await, changed);
    }
}

pub async fn a_password_hash_is_replaced_where_the_expected_one_stands(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    let first = create(&*accounts, "ada@example.org").await;
    let (newer, other) = (hash("$scrypt$ln=18$newer"), hash("$scrypt$ln=18$other"));

    let rehashed = accounts.replace_password_hash(first.id, &first.password_hash, &newer, Rehash::Parameters).await;
    let rehashed = rehashed.unwrap().unwrap();
    assert_eq!((&rehashed.password_hash, rehashed.generation), (&newer, 0));
    assert_eq!(get(&*accounts, first.id).await, rehashed);

    let stale = accounts.replace_password_hash(first.id, &first.password_hash, &other, Rehash::Password).await;
    assert_eq!(stale.unwrap(), None);
    assert_eq!(get(&*accounts, first.id).await, rehashed);

    let changed = accounts.replace_password_hash(first.id, &newer, &other, Rehash::Password).await.unwrap().unwrap();
    assert_eq!((&changed.password_hash, changed.generation), (&other, 1));
    assert_eq!(get(&*accounts, first.id).await, changed);
}

pub async fn of_password_changes_that_race_one_is_done(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    let first = create(&*accounts, "ada@example.org").await;
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let (accounts, first) = (Arc::clone(&accounts), first.clone());
            tokio::spawn(async move {
                let replacement = hash(&format!("$scrypt${number}"));
                accounts.replace_password_hash(first.id, &first.password_hash, &replacement, Rehash::Password).await
            })
        })
        .collect();
    let mut done = Vec::new();
    for task in tasks {
        done.extend(within_deadline("password changes that race", task).await.unwrap().unwrap());
    }
    assert_eq!(done.len(), 1);
    assert_eq!((get(&*accounts, first.id).await, done[0].generation), (done[0].clone(), 1));
}

pub async fn every_call_that_ends_a_generation_counts(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    let id = create(&*accounts, "ada@example.org").await.id;
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let accounts = Arc::clone(&accounts);
            tokio::spawn(async move {
                let changed = match number % 2 {
                    0 => accounts.bump_generation(id).await,
                    _ => accounts.set_enabled(id, false).await,
                };
                changed.unwrap().unwrap().generation
            })
        })
        .collect();
    let mut generations = Vec::new();
    for task in tasks {
        generations.push(within_deadline("generations that race", task).await.unwrap());
    }
    generations.sort_unstable();
    assert_eq!(generations, (1..=20).collect::<Vec<u64>>());
    assert_eq!(get(&*accounts, id).await.generation, 20);
}

pub async fn a_device_is_bound_where_it_is_free(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    let holder = accounts.create(&bound("ada@example.org", "samu31")).await.unwrap();
    let other = create(&*accounts, "eve@example.org").await;
    let refused = accounts.set_orin_id(other.id, Some(&device("samu31"))).await;
    assert!(matches!(refused, Err(AccountsError::OrinIdTaken)), "{refused:?}");
    assert_eq!(get(&*accounts, other.id).await, other);
    // One's own is free.
    assert!(accounts.set_orin_id(holder.id, Some(&device("samu31"))).await.unwrap().is_some());
    accounts.set_orin_id(holder.id, None).await.unwrap();
    let changed = accounts.set_orin_id(other.id, Some(&device("samu31"))).await.unwrap().unwrap();
    assert_eq!(changed.orin_id, Some(device("samu31")));
    let back = accounts.set_orin_id(holder.id, Some(&device("samu31"))).await;
    assert!(matches!(back, Err(AccountsError::OrinIdTaken)), "{back:?}");
}

pub async fn of_accounts_that_race_for_a_device_one_gets_it(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    let mut tasks = Vec::new();
    for number in 0..8 {
        let id = create(&*accounts, &format!("u{number}@example.org")).await.id;
        let accounts = Arc::clone(&accounts);
        tasks.push(async move { accounts.set_orin_id(id, Some(&device("samu31"))).await });
    }
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut bound = 0;
    for task in tasks {
        match within_deadline("accounts that race for a device", task).await.unwrap() {
            Ok(Some(_)) => bound += 1,
            Err(AccountsError::OrinIdTaken) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bound, 1);
}

pub async fn changing_an_unknown_account_changes_nothing(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    let made = accounts.create(&bound("ada@example.org", "samu31")).await.unwrap();
    let id = UserId(made.id.0 + 1);
    let replacement = hash("$scrypt$x");
    assert_eq!(accounts.set_enabled(id, false).await.unwrap(), None);
    assert_eq!(accounts.set_roles(id, &roles(&[Role::Admin])).await.unwrap(), None);
    assert_eq!(accounts.set_orin_id(id, Some(&device("free"))).await.unwrap(), None);
    assert_eq!(accounts.bump_generation(id).await.unwrap(), None);
    let replaced = accounts.replace_password_hash(id, &made.password_hash, &replacement, Rehash::Password).await;
    assert_eq!(replaced.unwrap(), None);
    assert_eq!(get(&*accounts, made.id).await, made);
    assert_eq!(accounts.by_id(id).await.unwrap(), None);
}
