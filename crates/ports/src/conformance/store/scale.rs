//! Names, numbers and sizes at their edges.

use std::sync::Arc;

use orinoco_domain::{DeviceId, Frame, Position};

use super::{
    StoreFactory,
    fixture::{Writer, device, observe, snapshot},
};
use crate::{PublishedFrame, conformance::within_deadline};

pub async fn devices_are_told_apart_by_every_legal_character(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    let mut names: Vec<String> =
        ["a", "A", "a.", ".", "..", "-", "--", "_", "0", "00", "-1", "1e3", "NaN", "default", "aa", "a-b_c.D"]
            .map(str::to_owned)
            .into();
    names.extend((b'a'..=b'z').chain(b'A'..=b'Z').chain(b'0'..=b'9').map(|byte| format!("x{}", char::from(byte))));
    names.push("z".repeat(DeviceId::LENGTH_MAX));
    names.push(format!("{}.", "z".repeat(DeviceId::LENGTH_MAX - 1)));
    for (index, name) in names.iter().enumerate() {
        writer.write(&[(name, 1 + index % 3)]).await;
    }
    let seen = observe(&*store, 0, 1).await;
    assert_eq!(seen.devices, writer.devices);
    assert_eq!(seen.snapshot.len(), names.len());
    for (index, name) in names.iter().enumerate() {
        let name = device(name);
        assert_eq!(seen.history[&name].frames.len(), 1 + index % 3, "{name}");
        assert!(seen.history[&name].frames.iter().all(|frame| frame.device == name), "{name}");
        assert_eq!(seen.latest[&name].as_ref().map(|entry| &entry.latest.device), Some(&name));
    }
}

pub async fn a_partition_holds_ten_thousand_devices(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    let names: Vec<String> = (0..10_000).map(|number| format!("device-{number}")).collect();
    for some in names.chunks(500) {
        let updates: Vec<(&str, usize)> = some.iter().map(|name| (name.as_str(), 1)).collect();
        writer.write(&updates).await;
    }
    let state = within_deadline("load of 10,000 devices", store.load(0, 1)).await.unwrap();
    assert_eq!(state.devices.len(), names.len());
    assert!(state.devices.iter().all(|(device, state)| writer.devices[device] == *state));
    assert_eq!(snapshot(&*store, 0, 500).await.len(), names.len());
}

pub async fn a_batch_holds_thousands_of_frames(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut subscription = store.subscribe(0).await.unwrap();
    let mut writer = Writer::load(&*store, 0, 1).await;
    writer.history_max = 1_000;
    let names: Vec<String> = (0..2_000).map(|number| format!("d{number}")).collect();
    let mut many: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    many.push(("busy", 10_000));
    writer.write(&many).await;
    let page = store.history(0, &device("busy"), 0, 10_000).await.unwrap();
    assert_eq!((page.first, page.head, page.frames.len()), (9_001, 10_000, 1_000));
    assert_eq!(snapshot(&*store, 0, 500).await.len(), many.len());
    let mut published = 0;
    while published < 12_000 {
        published += within_deadline("its publication", subscription.next()).await.unwrap().frames.len();
    }
    assert_eq!(published, 12_000);
}

pub async fn frames_of_4_kib_are_kept_to_the_letter(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut subscription = store.subscribe(0).await.unwrap();
    let mut writer = Writer::load(&*store, 0, 1).await;
    let mut update = writer.update("a", 20);
    for published in &mut update.frames {
        *published = padded(published);
    }
    let frames: Vec<Frame> = update.frames.iter().map(|published| published.frame.clone()).collect();
    let batch = writer.batch(vec![update]);
    writer.commit(&batch).await;
    assert_eq!(store.history(0, &device("a"), 0, 100).await.unwrap().frames, frames);
    assert_eq!(store.latest(0, &device("a")).await.unwrap().map(|entry| entry.latest), frames.last().cloned());
    let publication = within_deadline("its publication", subscription.next()).await.unwrap();
    assert_eq!(publication.frames, batch.devices[0].frames);
}

/// The same frame with 4 KiB of text of every kind that one line of JSON may hold.
fn padded(published: &PublishedFrame) -> PublishedFrame {
    let noise = r#"é漢🚁 \" \\ \n \t \u0000 {}[]:,' %s $1 \r "#;
    let mut text = noise.repeat(4_096 / noise.len());
    text.push_str(&"x".repeat(4_096 - text.len()));
    let json = published.frame.json.trim_end_matches('}');
    let json: Arc<str> = format!(r#"{json},"note":"{text}"}}"#).into();
    PublishedFrame { frame: Frame { json, ..published.frame.clone() }, is_latest: published.is_latest }
}

pub async fn numbers_are_kept_exactly(factory: &dyn StoreFactory) {
    // The first integer that a 64-bit float can't hold.
    const ODD: u64 = (1 << 53) + 1;
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, u32::MAX, 1).await;
    let mut update = writer.update("a", 1);
    update.state.ingest_epoch = ODD;
    let mut batch = writer.batch(vec![update]);
    batch.to = Position { x: ODD.cast_signed(), y: i64::MAX / 2 };
    batch.marks = vec![("odd".to_owned(), ODD), ("large".to_owned(), i64::MAX.unsigned_abs())];
    writer.commit(&batch).await;
    let near = writer.batch(vec![writer.update("a", 1)]);
    let near = crate::Batch { from: Position { x: near.from.x - 1, ..near.from }, to: near.from, ..near };
    let outcome = store.apply(&near).await.unwrap();
    assert_eq!(outcome, super::applying::conflict(&writer), "a position that is off by one");
    let seen = observe(&*store, u32::MAX, 1).await;
    assert_eq!((seen.position, &seen.marks, &seen.devices), (batch.to, &writer.marks, &writer.devices));
}

pub async fn a_probe_says_the_version(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let info = within_deadline("a probe", store.probe()).await.unwrap();
    assert!(!info.version.trim().is_empty());
}
