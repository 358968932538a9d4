//! Epochs, resets, and what outlives the process.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    StoreFactory,
    fixture::{Writer, device, observe},
};
use crate::{Applied, StoreError, conformance::within_deadline};

pub async fn the_epoch_exists_before_any_data_and_is_the_same_everywhere(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let epoch = store.epoch(0).await.unwrap();
    assert!(!epoch.is_empty());
    assert_eq!(store.snapshot(0, None, 10).await.unwrap().epoch, epoch);
    assert_eq!(store.history(0, &device("a"), 0, 10).await.unwrap().epoch, epoch);
    let mut subscription = store.subscribe(0).await.unwrap();
    let mut writer = Writer::load(&*store, 0, 1).await;
    assert_eq!(writer.epoch, epoch);
    writer.write(&[("a", 1)]).await;
    let publication = within_deadline("a publication", subscription.next()).await.unwrap();
    assert_eq!(publication.epoch, epoch);
    assert_eq!(store.epoch(0).await.unwrap(), epoch);
    assert_ne!(store.epoch(1).await.unwrap(), epoch, "of another partition");
    drop((writer, subscription));
    drop(store);
    let store = factory.open().await;
    assert_eq!(store.epoch(0).await.unwrap(), epoch);
}

pub async fn callers_that_race_for_the_first_epoch_agree(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    for partition in 0..5 {
        let tasks: Vec<_> = (1..=8_u64)
            .map(|caller| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    if caller == 1 {
                        return store.load(partition, 1).await.unwrap().epoch;
                    }
                    store.epoch(partition).await.unwrap()
                })
            })
            .collect();
        let mut epochs = BTreeSet::new();
        for task in tasks {
            epochs.insert(within_deadline("an epoch", task).await.unwrap());
        }
        assert_eq!(epochs.len(), 1, "{epochs:?}");
    }
}

pub async fn everything_is_there_after_reopening(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 4).await;
    for _ in 0..10 {
        writer.write(&[("a", 2), ("b", 1)]).await;
    }
    let late = writer.batch(vec![writer.late_update("b")]);
    writer.commit(&late).await;
    let before = observe(&*store, 0, 4).await;
    drop(writer);
    drop(store);
    let store = factory.open().await;
    assert!(matches!(store.load(0, 3).await, Err(StoreError::Fenced { fence: 4 })), "the fence was forgotten");
    assert_eq!(observe(&*store, 0, 4).await, before);
    Writer::load(&*store, 0, 5).await.write(&[("a", 1)]).await;
}

pub async fn everything_applied_is_there_after_a_kill(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 4).await;
    for round in 1..=5 {
        let batch = writer.write(&[("a", 3), (&format!("b{round}"), 1)]).await;
        let before = observe(&*store, 0, 4).await;
        let reopened = factory.open_as_after_kill().await;
        assert!(matches!(reopened.load(0, 3).await, Err(StoreError::Fenced { fence: 4 })), "the fence was forgotten");
        assert_eq!(observe(&*reopened, 0, 4).await, before);
        let outcome = reopened.apply(&batch).await.unwrap();
        assert!(matches!(outcome, Applied::Conflict { .. }), "a batch of before the kill, again: {outcome:?}");
    }
}

pub async fn a_reset_begins_another_epoch_and_clears_the_partition(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 2).await;
    let mut neighbour = Writer::load(&*store, 1, 1).await;
    writer.write(&[("a", 3), ("b", 1)]).await;
    neighbour.write(&[("a", 1)]).await;
    let stale = writer.batch(vec![writer.update("a", 1)]);
    store.reset(0, 2).await.unwrap();

    let seen = observe(&*store, 0, 2).await;
    assert_ne!(seen.epoch, writer.epoch);
    assert_eq!((seen.position.x, seen.position.y), (0, 0));
    assert_eq!((seen.marks.len(), seen.devices.len(), seen.snapshot.len()), (0, 0, 0));
    assert_eq!(store.latest(0, &device("a")).await.unwrap(), None);
    let history = store.history(0, &device("a"), 0, 10).await.unwrap();
    assert_eq!((history.frames.len(), history.first, history.head, &history.epoch), (0, 1, 0, &seen.epoch));
    let outcome = store.apply(&stale).await.unwrap();
    assert!(matches!(outcome, Applied::Conflict { .. }), "a batch of before the reset: {outcome:?}");
    assert!(matches!(store.load(0, 1).await, Err(StoreError::Fenced { fence: 2 })), "the fence was forgotten");

    let mut writer = Writer::load(&*store, 0, 2).await;
    writer.write(&[("a", 1)]).await;
    assert_eq!(store.history(0, &device("a"), 0, 10).await.unwrap().head, 1);
    assert_eq!(observe(&*store, 1, 1).await.devices, neighbour.devices, "another partition was reset as well");
}

pub async fn a_reset_by_an_older_owner_changes_nothing(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 10).await;
    writer.write(&[("a", 3)]).await;
    let before = observe(&*store, 0, 10).await;
    let refused = store.reset(0, 9).await;
    assert!(matches!(refused, Err(StoreError::Fenced { fence: 10 })), "{refused:?}");
    assert_eq!(observe(&*store, 0, 10).await, before);
}

pub async fn a_reset_outlives_reopening(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    writer.write(&[("a", 3)]).await;
    store.reset(0, 1).await.unwrap();
    let mut writer = Writer::load(&*store, 0, 1).await;
    writer.write(&[("b", 1)]).await;
    let before = observe(&*store, 0, 1).await;
    drop(writer);
    drop(store);
    assert_eq!(observe(&*factory.open().await, 0, 1).await, before);
}
