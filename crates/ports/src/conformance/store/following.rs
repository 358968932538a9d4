//! Publications.

use std::{collections::BTreeMap, time::Duration};

use super::{
    StoreFactory,
    fixture::{Writer, device},
};
use crate::{Applied, Batch, Publication, PublishedFrame, StoreError, Subscription, conformance::within_deadline};

pub async fn publications_come_in_order_and_complete(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut subscription = store.subscribe(0).await.unwrap();
    let mut writer = Writer::load(&*store, 0, 1).await;
    let mut expected = Vec::new();
    for round in 0..=200 {
        let late = round % 10 == 3;
        let update = if late { writer.late_update("a") } else { writer.update("a", 1 + round % 4) };
        let batch = writer.batch(vec![update, writer.update("b", round % 2)]);
        writer.commit(&batch).await;
        expected.push(batch);
        if round % 20 == 0 {
            for batch in expected.drain(..) {
                assert_publication(&next(&mut *subscription).await, &batch, &writer);
            }
        }
    }
}

pub async fn batches_that_are_not_applied_publish_nothing(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut subscription = store.subscribe(0).await.unwrap();
    let mut writer = Writer::load(&*store, 0, 2).await;
    let first = writer.write(&[("a", 1)]).await;
    let wrong = Batch { revision: writer.revision + 1, ..writer.batch(vec![writer.update("a", 1)]) };
    let fenced = Batch { fence: 1, ..writer.batch(vec![writer.update("a", 1)]) };
    for refused in [&first, &wrong, &fenced] {
        assert_ne!(store.apply(refused).await.unwrap(), Applied::Done);
    }
    let second = writer.write(&[("a", 1)]).await;
    for batch in [&first, &second] {
        assert_publication(&next(&mut *subscription).await, batch, &writer);
    }
}

pub async fn every_subscriber_gets_every_publication(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    let mut subscriptions = Vec::new();
    for _ in 0..3 {
        subscriptions.push(store.subscribe(0).await.unwrap());
    }
    let first = writer.write(&[("a", 1)]).await;
    subscriptions.pop();
    let second = writer.write(&[("a", 1)]).await;
    for subscription in &mut subscriptions {
        for batch in [&first, &second] {
            assert_publication(&next(&mut **subscription).await, batch, &writer);
        }
    }
}

pub async fn a_subscriber_gets_its_own_partition_only(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut subscriptions = [store.subscribe(1).await.unwrap(), store.subscribe(11).await.unwrap()];
    let mut writers = [Writer::load(&*store, 1, 1).await, Writer::load(&*store, 11, 1).await];
    for count in 1..=3 {
        let mut batches = Vec::new();
        for writer in &mut writers {
            batches.push(writer.write(&[("a", count)]).await);
        }
        for (index, subscription) in subscriptions.iter_mut().enumerate() {
            assert_publication(&next(&mut **subscription).await, &batches[index], &writers[index]);
        }
    }
}

pub async fn what_was_published_before_subscribing_is_filled_from_history(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    writer.write(&[("a", 5)]).await;
    let mut subscription = store.subscribe(0).await.unwrap();
    let seen = store.latest(0, &device("a")).await.unwrap().unwrap().head;
    drop(subscription);
    writer.write(&[("a", 3)]).await;
    subscription = store.subscribe(0).await.unwrap();
    let batch = writer.write(&[("a", 1)]).await;
    let publication = next(&mut *subscription).await;
    assert_publication(&publication, &batch, &writer);
    let page = store.history(0, &device("a"), seen, 100).await.unwrap();
    let offsets: Vec<u64> = page.frames.iter().map(|frame| frame.offset).collect();
    assert_eq!(offsets, [6, 7, 8, 9]);
    assert_eq!(page.frames.last(), Some(&publication.frames[0].frame));
}

pub async fn waiting_for_a_publication_may_be_cancelled(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut subscription = store.subscribe(0).await.unwrap();
    let mut writer = Writer::load(&*store, 0, 1).await;
    for _ in 0..20 {
        // Given up at once, given up in the middle: what comes meanwhile is there the next time.
        for wait in [Duration::ZERO, Duration::from_millis(1)] {
            let early = tokio::time::timeout(wait, subscription.next()).await;
            assert!(early.is_err(), "nothing was published: {early:?}");
        }
        let mut batches = Vec::new();
        for _ in 0..5 {
            batches.push(writer.write(&[("a", 1)]).await);
        }
        for batch in &batches {
            let publication = within_deadline("a publication, asked for in very short waits", async {
                loop {
                    if let Ok(next) = tokio::time::timeout(Duration::from_micros(50), subscription.next()).await {
                        return next.unwrap();
                    }
                }
            });
            assert_publication(&publication.await, batch, &writer);
        }
    }
}

pub async fn a_subscriber_that_does_not_read_holds_nobody_up(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut idle = store.subscribe(0).await.unwrap();
    let mut writer = Writer::load(&*store, 0, 1).await;
    for _ in 0..3_000 {
        within_deadline("a batch beside an idle subscriber", writer.write(&[("a", 5)])).await;
    }
    // It has missed some, or none. Either it is told so by an error, or what it gets is in order, up to the end.
    let mut offset_last = 0;
    let outcome = within_deadline("the idle subscriber's turn", async {
        while offset_last < writer.devices[&device("a")].head {
            match tokio::time::timeout(Duration::from_millis(20), idle.next()).await {
                Ok(Err(error)) => return Err(error),
                Ok(Ok(publication)) => {
                    for published in publication.frames {
                        assert!(published.frame.offset > offset_last, "publications went back");
                        offset_last = published.frame.offset;
                    }
                }
                Err(_) => _ = writer.write(&[("a", 1)]).await,
            }
        }
        Ok(())
    })
    .await;
    assert!(matches!(outcome, Ok(()) | Err(StoreError::Unavailable { .. })), "{outcome:?}");
    let mut anew = store.subscribe(0).await.unwrap();
    let batch = writer.write(&[("a", 1)]).await;
    assert_publication(&next(&mut *anew).await, &batch, &writer);
}

/// The next publication that has frames.
async fn next(subscription: &mut dyn Subscription) -> Publication {
    loop {
        let publication = within_deadline("a publication", subscription.next()).await.unwrap();
        if !publication.frames.is_empty() {
            return publication;
        }
    }
}

/// All frames of the batch, in order per device.
fn assert_publication(publication: &Publication, batch: &Batch, writer: &Writer<'_>) {
    assert_eq!((publication.partition, &publication.epoch), (writer.partition, &writer.epoch));
    let expected = by_device(batch.devices.iter().flat_map(|update| &update.frames));
    assert_eq!(by_device(&publication.frames), expected);
}

fn by_device<'a>(frames: impl IntoIterator<Item = &'a PublishedFrame>) -> BTreeMap<&'a str, Vec<&'a PublishedFrame>> {
    let mut devices: BTreeMap<&str, Vec<&PublishedFrame>> = BTreeMap::new();
    for published in frames {
        devices.entry(published.frame.device.as_str()).or_default().push(published);
    }
    devices
}
