//! Latest values, history, snapshots.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::{
    StoreFactory,
    fixture::{HISTORY_MAX, Writer, device, snapshot},
};
use crate::{CoordinateStore, HistoryPage, conformance::DEADLINE};

pub async fn late_frames_don_t_change_the_latest_value(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    let first = writer.write(&[("a", 2)]).await;
    let late = writer.batch(vec![writer.late_update("a")]);
    writer.commit(&late).await;
    let latest = store.latest(0, &device("a")).await.unwrap().unwrap();
    assert_eq!((&latest.latest, latest.head), (&first.devices[0].frames[1].frame, 3));
    assert_eq!(snapshot(&*store, 0, 10).await[&device("a")], (latest.latest, 3));
    let history = store.history(0, &device("a"), 2, 10).await.unwrap();
    assert_eq!(history.frames, [late.devices[0].frames[0].frame.clone()]);

    // Latest, late, latest, late in one batch.
    let mut update = writer.update("a", 4);
    update.frames[1].is_latest = false;
    update.frames[3].is_latest = false;
    let batch = writer.batch(vec![update]);
    writer.commit(&batch).await;
    let latest = store.latest(0, &device("a")).await.unwrap().unwrap();
    assert_eq!((&latest.latest, latest.head), (&batch.devices[0].frames[2].frame, 7));
}

pub async fn a_device_without_a_value_has_no_latest_value(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    assert_eq!(store.latest(0, &device("never")).await.unwrap(), None, "before anything was loaded");
    let mut writer = Writer::load(&*store, 0, 1).await;
    writer.write(&[("a", 1)]).await;
    assert_eq!(store.latest(0, &device("never")).await.unwrap(), None);
    assert_eq!(store.latest(1, &device("a")).await.unwrap(), None, "of another partition");
}

pub async fn history_is_bounded_and_contiguous(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    writer.history_max = 10;
    for count in [1, 8, 1, 1, 3, 25, 1] {
        writer.write(&[("a", count), ("b", 1)]).await;
        let head = writer.devices[&device("a")].head;
        assert_history(&*store, "a", 0, 100, (head.saturating_sub(10) + 1, head)).await;
    }
    assert_history(&*store, "b", 0, 100, (1, 7)).await;
}

pub async fn history_answers_at_every_edge(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    assert_history(&*store, "a", 0, 10, (1, 0)).await;
    assert_history(&*store, "a", 5, 10, (1, 0)).await;
    writer.history_max = 10;
    writer.write(&[("a", 25)]).await;
    // Held: 16 to 25.
    for after in [0, 1, 14, 15, 16, 20, 23, 24, 25, 26, 1_000, u64::from(u32::MAX)] {
        for frames_max in [0, 1, 2, 9, 10, 11, usize::from(u16::MAX)] {
            assert_history(&*store, "a", after, frames_max, (16, 25)).await;
        }
    }
}

/// The answer must hold exactly the offsets that are held, above `after`, the oldest `frames_max` of them.
async fn assert_history(
    store: &dyn CoordinateStore,
    name: &str,
    after: u64,
    frames_max: usize,
    (first, head): (u64, u64),
) -> HistoryPage {
    let page = store.history(0, &device(name), after, frames_max).await.unwrap();
    let expected: Vec<u64> = (first.max(after + 1)..=head).take(frames_max).collect();
    let offsets: Vec<u64> = page.frames.iter().map(|frame| frame.offset).collect();
    assert_eq!(offsets, expected, "after {after}, {frames_max} at most, held {first} to {head}");
    assert_eq!((page.first, page.head), (first, head), "after {after}, {frames_max} at most");
    for frame in &page.frames {
        let data = frame.decode().unwrap();
        assert_eq!((data.offset, data.device.as_str()), (frame.offset, name), "a frame is not the one it is called");
    }
    page
}

pub async fn history_follows_a_changed_bound(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    writer.history_max = 20;
    writer.write(&[("a", 30)]).await;
    assert_history(&*store, "a", 0, 100, (11, 30)).await;
    writer.history_max = 5;
    writer.write(&[("a", 1)]).await;
    assert_history(&*store, "a", 0, 100, (27, 31)).await;
    writer.history_max = 20;
    writer.write(&[("a", 1)]).await;
    assert_history(&*store, "a", 0, 100, (27, 32)).await;
}

pub async fn history_may_be_switched_off(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    writer.write(&[("a", 3)]).await;
    writer.history_max = 0;
    writer.write(&[("a", 3), ("b", 1)]).await;
    assert_history(&*store, "a", 0, 100, (7, 6)).await;
    assert_history(&*store, "b", 0, 100, (2, 1)).await;
    assert_eq!(store.latest(0, &device("a")).await.unwrap().unwrap().latest.offset, 6);
    writer.history_max = HISTORY_MAX;
    writer.write(&[("a", 1)]).await;
    assert_history(&*store, "a", 0, 100, (7, 7)).await;
}

pub async fn a_snapshot_comes_in_pages_and_holds_every_device(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    for count in [1, 9, 10, 11, 700] {
        let names: Vec<String> = (0..count).map(|number| format!("d{number}")).collect();
        let updates = names.iter().map(|name| writer.update(name, 1)).collect();
        let batch = writer.batch(updates);
        writer.commit(&batch).await;
        for entries_max in [1, 10, 1_000] {
            let entries = snapshot(&*store, 0, entries_max).await;
            assert_eq!(entries.len(), count);
            for (device, (latest, head)) in entries {
                assert_eq!((latest.offset, head), (writer.devices[&device].head, writer.devices[&device].head));
            }
        }
    }
    let page = store.snapshot(0, None, 10).await.unwrap();
    assert_eq!((&page.epoch, page.next.is_some()), (&writer.epoch, true), "700 devices are no single page of 10");
}

pub async fn a_snapshot_of_nothing_is_one_empty_page(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let epoch = store.epoch(0).await.unwrap();
    let page = store.snapshot(0, None, 10).await.unwrap();
    assert_eq!((page.epoch, page.entries.len(), page.next), (epoch, 0, None));
}

pub async fn a_snapshot_leaves_none_out_while_values_change(factory: &dyn StoreFactory) {
    const DEVICES: u64 = 300;
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    let names: Vec<String> = (0..DEVICES).map(|number| format!("d{number}")).collect();
    let everyone: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    writer.write(&everyone).await;
    let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(1));
    let write = async {
        // New devices come as well, so that what holds them grows under the cursor.
        for round in 2_u64.. {
            writer.write(&everyone).await;
            writer.write(&[(&format!("new{round}"), 1)]).await;
            rounds.store(round, Ordering::Release);
            if stop.load(Ordering::Acquire) {
                break;
            }
        }
    };
    let read = async {
        let started = tokio::time::Instant::now();
        while rounds.load(Ordering::Acquire) < 30 {
            assert!(started.elapsed() < 4 * DEADLINE, "the writer stands still");
            let round = rounds.load(Ordering::Acquire);
            let entries = snapshot(&*store, 0, 16).await;
            let missing: BTreeSet<_> = names.iter().filter(|name| !entries.contains_key(name.as_str())).collect();
            assert!(missing.is_empty(), "left out: {missing:?}");
            for name in &names {
                let offset = entries[name.as_str()].0.offset;
                assert!(offset >= round, "{name} is older than when the snapshot began: {offset} < {round}");
            }
        }
        stop.store(true, Ordering::Release);
    };
    tokio::join!(write, read);
}
