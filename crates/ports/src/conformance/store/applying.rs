//! Batches: applied whole or not at all, by the present owner only.

use std::collections::BTreeMap;

use orinoco_domain::{
    Axis, Position, Timestamp,
    pairing::{AxisValue, DeviceState, Half},
};

use super::{
    StoreFactory,
    fixture::{MARK_X, Observed, Writer, device, observe},
};
use crate::{Applied, Batch, CoordinateStore, DeviceUpdate, StoreError, conformance::within_deadline};

pub async fn a_new_partition_is_empty_and_has_an_epoch(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let seen = observe(&*store, 0, 1).await;
    assert_eq!((seen.position, seen.marks.len(), seen.devices.len()), (Position::default(), 0, 0));
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    assert!((1..=32).contains(&seen.epoch.len()) && seen.epoch.bytes().all(legal), "epoch {:?}", seen.epoch);
    assert_eq!(store.latest(0, &device("a")).await.unwrap(), None);
}

pub async fn a_batch_is_applied_whole(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    let before = writer.revision;
    let batch = writer.write(&[("a", 3), ("b", 1)]).await;

    let seen = observe(&*store, 0, 1).await;
    assert_eq!((seen.position, seen.revision), (batch.to, before + 1));
    assert_eq!(seen.marks, writer.marks);
    assert_eq!(seen.devices, writer.devices);
    for update in &batch.devices {
        let frames: Vec<_> = update.frames.iter().map(|published| published.frame.clone()).collect();
        let history = &seen.history[&update.device];
        assert_eq!((history.first, history.head, &history.epoch), (1, update.state.head, &writer.epoch));
        assert_eq!(history.frames, frames);
        assert_eq!(seen.snapshot[&update.device], (frames[frames.len() - 1].clone(), update.state.head));
        let latest = seen.latest[&update.device].as_ref().unwrap();
        assert_eq!((&latest.latest, latest.head), (&frames[frames.len() - 1], update.state.head));
    }
}

pub async fn load_returns_exactly_what_batches_left(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 3, 7).await;
    let mut update = writer.update("a", 2);
    let half = |axis, value, message: &str, text: &str, arrived_ms| Half {
        axis,
        axis_value: AxisValue { value, message: message.to_owned(), timestamp: Timestamp::parse(text).unwrap() },
        arrived_ms,
    };
    update.state.x = Some(half(Axis::X, -0.0, "-0", "2026-01-02T03:04:05.678+09:00", 0).axis_value);
    update.state.ingest_epoch = 42;
    update.state.pending = vec![
        half(Axis::Y, 0.1 + 0.2, "0.30000000000000004", "2026-01-02T03:04:05.123456789Z", 1_767_323_045_678),
        half(Axis::X, f64::MIN_POSITIVE, "\"'\\\t2.2250738585072014e-308", "1969-12-31T23:59:59.999Z", -1),
        half(Axis::X, f64::MAX, "1.7976931348623157e308", "9999-12-31T23:59:59Z", i64::MAX),
    ];
    let batch = writer.batch(vec![update, writer.update("b", 1)]);
    writer.commit(&batch).await;
    writer.write(&[("b", 1)]).await;
    assert_eq!(observe(&*store, 3, 7).await.devices, writer.devices);
}

pub async fn marks_are_merged_by_key(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    let long = format!("coordY kafka/{}/4294967295", "t.-_".repeat(62));
    let steps: [&[(&str, u64)]; 3] = [&[("a/1", 1), (&long, 10)], &[], &[("a/1", 5), ("coordY mqtt/9f2c", 3)]];
    for marks in steps {
        let mut batch = writer.batch(vec![writer.update("a", 1)]);
        batch.marks = marks.iter().map(|(key, sequence)| ((*key).to_owned(), *sequence)).collect();
        writer.commit(&batch).await;
    }
    let expected: BTreeMap<_, _> = [("a/1".to_owned(), 5), (long, 10), ("coordY mqtt/9f2c".to_owned(), 3)].into();
    assert_eq!(observe(&*store, 0, 1).await.marks, expected);
}

pub async fn a_batch_of_the_clock_moves_nothing_in_the_log(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    writer.write(&[("a", 1)]).await;
    let mut batch = writer.batch(vec![writer.update("a", 2)]);
    batch.to = batch.from;
    batch.marks.clear();
    writer.commit(&batch).await;
    let seen = observe(&*store, 0, 1).await;
    assert_eq!((seen.position, seen.revision), (batch.from, batch.revision + 1));
    assert_eq!(seen.history[&device("a")].head, 3);
    assert_unchanged(&*store, &batch, conflict(&writer)).await;
}

pub async fn a_state_without_frames_is_kept_and_shows_no_value(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    let value = AxisValue { value: 1.0, message: "1".to_owned(), timestamp: Timestamp::from_epoch_ms(0).unwrap() };
    let state = DeviceState { x: Some(value), ..DeviceState::default() };
    let update = DeviceUpdate { device: device("half"), state, frames: Vec::new() };
    let batch = writer.batch(vec![update, writer.update("whole", 1)]);
    writer.commit(&batch).await;
    let seen = observe(&*store, 0, 1).await;
    assert_eq!(seen.devices, writer.devices);
    assert_eq!(seen.latest[&device("half")], None);
    assert_eq!(seen.snapshot.keys().collect::<Vec<_>>(), [&device("whole")]);
    let history = &seen.history[&device("half")];
    assert_eq!((history.frames.len(), history.first, history.head), (0, 1, 0));
}

pub async fn a_replayed_batch_changes_nothing(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    let first = writer.write(&[("a", 2)]).await;
    assert_unchanged(&*store, &first, conflict(&writer)).await;
    let second = writer.write(&[("a", 1), ("b", 1)]).await;
    for batch in [&first, &second] {
        assert_unchanged(&*store, batch, conflict(&writer)).await;
    }
}

pub async fn a_batch_with_the_wrong_revision_changes_nothing(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    writer.write(&[("a", 1)]).await;
    writer.write(&[("a", 1)]).await;
    for revision in [writer.revision - 1, writer.revision + 1, 0] {
        let batch = Batch { revision, ..writer.batch(vec![writer.update("a", 1), writer.update("new", 1)]) };
        assert_unchanged(&*store, &batch, conflict(&writer)).await;
    }
    writer.write(&[("a", 1)]).await;
}

pub async fn a_batch_from_the_wrong_position_changes_nothing(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    writer.write(&[("a", 2)]).await;
    let Position { x, y } = writer.position;
    for from in [Position { x: x + 1, y }, Position { x, y: y + 1 }, Position { x: y, y: x }, Position::default()] {
        let batch = Batch { from, ..writer.batch(vec![writer.update("a", 1), writer.update("new", 1)]) };
        assert_unchanged(&*store, &batch, conflict(&writer)).await;
    }
    writer.write(&[("a", 1)]).await;
}

pub async fn an_older_owner_is_fenced_off(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut older = Writer::load(&*store, 0, 9).await;
    older.write(&[("a", 1)]).await;
    // 10 is lower than 9 as text.
    let mut newer = Writer::load(&*store, 0, 10).await;
    assert_eq!((newer.revision, newer.position), (older.revision, older.position));
    let batch = older.batch(vec![older.update("a", 1)]);
    assert_eq!(store.apply(&batch).await.unwrap(), Applied::Fenced { fence: 10 });
    let refused = store.load(0, 9).await;
    assert!(matches!(refused, Err(StoreError::Fenced { fence: 10 })), "{refused:?}");
    newer.write(&[("a", 1)]).await;
    assert_eq!(observe(&*store, 0, 10).await.devices, newer.devices);
}

pub async fn an_older_owner_s_stale_batch_is_fenced_off_rather_than_in_conflict(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let older = Writer::load(&*store, 0, 1).await;
    let stale = older.batch(vec![older.update("a", 1)]);
    let mut newer = Writer::load(&*store, 0, 2).await;
    newer.write(&[("a", 2)]).await;
    let before = observe(&*store, 0, 2).await;
    assert_eq!(store.apply(&stale).await.unwrap(), Applied::Fenced { fence: 2 });
    assert_eq!(observe(&*store, 0, 2).await, before);
}

pub async fn loading_again_with_the_same_fence_changes_nothing(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 5).await;
    writer.write(&[("a", 1)]).await;
    let before = observe(&*store, 0, 5).await;
    assert_eq!(observe(&*store, 0, 5).await, before);
    writer.write(&[("a", 1)]).await;
}

pub async fn of_batches_that_race_exactly_one_is_applied(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut writer = Writer::load(&*store, 0, 1).await;
    for _round in 0..20 {
        let rivals: Vec<Batch> = (0..8)
            .map(|rival| {
                let mut batch = writer.batch(vec![writer.update("a", 1)]);
                batch.marks = vec![(MARK_X.to_owned(), rival)];
                batch
            })
            .collect();
        let outcomes = apply_at_once(&store, &rivals).await;
        let winners: Vec<_> = (0..rivals.len()).filter(|index| outcomes[*index] == Applied::Done).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        let winner = &rivals[winners[0]];
        writer = Writer::load(&*store, 0, 1).await;
        assert_eq!(writer.marks[MARK_X], winner.marks[0].1);
        let losers = outcomes.iter().filter(|outcome| **outcome == conflict(&writer)).count();
        assert_eq!(losers, rivals.len() - 1, "{outcomes:?}");
    }
    assert_eq!(writer.devices[&device("a")].head, 20);
}

async fn apply_at_once(store: &std::sync::Arc<dyn CoordinateStore>, batches: &[Batch]) -> Vec<Applied> {
    let tasks: Vec<_> = batches
        .iter()
        .map(|batch| {
            let (store, batch) = (std::sync::Arc::clone(store), batch.clone());
            tokio::spawn(async move { store.apply(&batch).await.unwrap() })
        })
        .collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(within_deadline("a batch that races", task).await.unwrap());
    }
    outcomes
}

pub async fn an_owner_that_goes_on_writing_can_t_slip_past_the_next_one_s_load(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    Writer::load(&*store, 0, 1).await;
    for fence in 1..=5 {
        let older_store = std::sync::Arc::clone(&store);
        let older = tokio::spawn(async move {
            let mut older = Writer::load(&*older_store, 0, fence).await;
            let mut applied = 0;
            loop {
                let batch = older.batch(vec![older.update("a", 1)]);
                match older_store.apply(&batch).await.unwrap() {
                    Applied::Done => older.commit_seen(&batch),
                    fenced => return (fenced, applied),
                }
                applied += 1;
            }
        });
        let head = async || store.latest(0, &device("a")).await.unwrap().map_or(0, |entry| entry.head);
        let at_start = head().await;
        while head().await < at_start + 5 && !older.is_finished() {}
        let mut newer = Writer::load(&*store, 0, fence + 1).await;
        // Had the older one written after that load, this would be in conflict.
        newer.write(&[("a", 1)]).await;
        let (outcome, applied) = within_deadline("the older owner", older).await.unwrap();
        assert_eq!(outcome, Applied::Fenced { fence: fence + 1 });
        assert!(applied >= 5, "the older owner wrote while it was the owner");
    }
}

pub async fn partitions_don_t_mix(factory: &dyn StoreFactory) {
    let store = factory.open().await;
    let mut zero = Writer::load(&*store, 0, 1).await;
    let mut one = Writer::load(&*store, 1, 9).await;
    // The same device, and a partition whose number starts with the other's.
    let mut eleven = Writer::load(&*store, 11, 3).await;
    zero.write(&[("a", 1)]).await;
    one.write(&[("a", 2), ("b", 1)]).await;
    zero.write(&[("a", 1), ("c", 1)]).await;
    eleven.write(&[("a", 5)]).await;
    for writer in [&zero, &one, &eleven] {
        let seen = observe(&*store, writer.partition, writer.fence).await;
        assert_eq!((seen.position, seen.revision), (writer.position, writer.revision));
        assert_eq!((&seen.devices, &seen.marks, &seen.epoch), (&writer.devices, &writer.marks, &writer.epoch));
        assert_eq!(seen.snapshot.len(), writer.devices.len());
        assert_eq!(seen.history[&device("a")].frames.len() as u64, writer.devices[&device("a")].head);
    }
}

/// What the store answers to a batch that does not follow what `writer` committed last.
pub(super) fn conflict(writer: &Writer<'_>) -> Applied {
    Applied::Conflict { revision: writer.revision, position: writer.position }
}

/// Applies a batch of the present owner that must be refused, and compares all that the partition shows.
async fn assert_unchanged(store: &dyn CoordinateStore, batch: &Batch, expected: Applied) -> Observed {
    let before = observe(store, batch.partition, batch.fence).await;
    assert_eq!(store.apply(batch).await.unwrap(), expected);
    let after = observe(store, batch.partition, batch.fence).await;
    assert_eq!(after, before, "a refused batch left traces");
    after
}
