//! Any sequence of calls, against the model.

use std::sync::Arc;

use super::{
    StoreFactory,
    fixture::{Writer, device, observe, snapshot},
    model::PartitionModel,
};
use crate::{Batch, CoordinateStore, StoreError, conformance::random_seed};

const STEPS: usize = 600;
const DEVICES: [&str; 4] = ["a", "b", "c", "d"];

/// Random calls, good ones and wrong ones; after each the store must answer and stand as the model does.
pub async fn any_sequence_of_calls_agrees_with_the_model(factory: &dyn StoreFactory) {
    let mut random = fastrand::Rng::with_seed(random_seed("any_sequence_of_calls_agrees_with_the_model"));
    let mut store = factory.open().await;
    let mut model = PartitionModel::new(store.epoch(0).await.unwrap());
    assert_same_load(&*store, &mut model, 1).await;
    let mut last: Option<Batch> = None;
    for step in 0..STEPS {
        match random.u8(0..100) {
            0..50 => {
                let batch = random_batch(&*store, &model, &mut random).await;
                let batch = spoil(batch, last.as_ref(), &mut random);
                assert_eq!(store.apply(&batch).await.unwrap(), model.apply(&batch), "step {step}: {batch:?}");
                last = Some(batch);
            }
            50..80 => assert_same_reads(&*store, &model, &mut random).await,
            80..90 => {
                let fence = model.fence + u64::from(random.bool());
                assert_same_load(&*store, &mut model, fence).await;
            }
            90..94 => {
                let older = model.fence.saturating_sub(1);
                assert_same_load(&*store, &mut model, older).await;
            }
            94..96 => reset(&*store, &mut model, &mut random).await,
            96..98 => {
                drop(store);
                store = factory.open().await;
            }
            _ => assert_same_all(&*store, &model).await,
        }
    }
    assert_same_all(&*store, &model).await;
    assert_same_all(&*factory.open_as_after_kill().await, &model).await;
}

/// A batch that follows the model's state: some frames of some devices, sometimes late ones, sometimes none.
async fn random_batch(store: &dyn CoordinateStore, model: &PartitionModel, random: &mut fastrand::Rng) -> Batch {
    let mut writer = Writer::load(store, 0, model.fence).await;
    writer.history_max = [0, 1, 5, 5, 5, 20][random.usize(0..6)];
    let mut updates = Vec::new();
    for name in DEVICES {
        if random.bool() {
            let mut update = writer.update(name, random.usize(0..4));
            let has_latest = model.latest(&device(name)).is_some();
            for (index, published) in update.frames.iter_mut().enumerate() {
                published.is_latest = random.u8(0..5) > 0 || (index == 0 && !has_latest);
            }
            updates.push(update);
        }
    }
    let mut batch = writer.batch(updates);
    batch.marks.push((format!("coordY mqtt/{}", random.u8(0..3)), random.u64(0..1 << 40)));
    if random.u8(0..5) == 0 {
        batch.to = batch.from;
    }
    batch
}

/// Four batches of five go as they are; the others are replays, or are wrong in one way.
fn spoil(batch: Batch, last: Option<&Batch>, random: &mut fastrand::Rng) -> Batch {
    let mut batch = batch;
    match random.u8(0..20) {
        0 => return last.cloned().unwrap_or(batch),
        1 => batch.revision += 1,
        2 => batch.from.x += 1,
        3 => batch.fence = batch.fence.saturating_sub(1),
        _ => {}
    }
    batch
}

async fn reset(store: &dyn CoordinateStore, model: &mut PartitionModel, random: &mut fastrand::Rng) {
    let fence = model.fence - u64::from(random.bool());
    let outcome = store.reset(0, fence).await;
    let epoch = store.epoch(0).await.unwrap();
    assert_eq!(epoch == model.epoch, outcome.is_err(), "a reset begins another epoch, a refused one does not");
    match model.reset(fence, epoch) {
        Ok(()) => {
            outcome.unwrap();
            // The port leaves open how revisions go on after a reset.
            model.revision = store.load(0, model.fence).await.unwrap().revision;
        }
        Err(_) => assert!(matches!(outcome, Err(StoreError::Fenced { .. })), "{outcome:?}"),
    }
}

async fn assert_same_load(store: &dyn CoordinateStore, model: &mut PartitionModel, fence: u64) {
    match (store.load(0, fence).await, model.load(fence)) {
        (Ok(mut state), Ok(expected)) => {
            state.marks.sort();
            state.devices.sort_by(|one, other| one.0.cmp(&other.0));
            assert_eq!(state, expected);
        }
        (Err(StoreError::Fenced { fence }), Err(StoreError::Fenced { fence: expected })) => {
            assert_eq!(fence, expected);
        }
        (outcome, expected) => panic!("load: {outcome:?}, not {expected:?}"),
    }
}

async fn assert_same_reads(store: &dyn CoordinateStore, model: &PartitionModel, random: &mut fastrand::Rng) {
    for name in DEVICES {
        let device = device(name);
        assert_eq!(store.latest(0, &device).await.unwrap(), model.latest(&device));
        let head = model.devices.get(&device).map_or(0, |state| state.head);
        let (after, frames_max) = (random.u64(0..=head + 2), random.usize(0..10));
        let page = store.history(0, &device, after, frames_max).await.unwrap();
        assert_eq!(page, model.history(&device, after, frames_max), "{name} after {after}, {frames_max} at most");
    }
}

async fn assert_same_all(store: &dyn CoordinateStore, model: &PartitionModel) {
    let seen = observe(store, 0, model.fence).await;
    assert_eq!((seen.position, seen.revision, &seen.epoch), (model.position, model.revision, &model.epoch));
    assert_eq!((&seen.marks, &seen.devices), (&model.marks, &model.devices));
    assert_eq!(snapshot(store, 0, 2).await, model.snapshot());
    for (device, page) in seen.history {
        assert_eq!(page, model.history(&device, 0, usize::MAX));
    }
    assert_eq!(Arc::clone(&seen.epoch), store.epoch(0).await.unwrap());
}
