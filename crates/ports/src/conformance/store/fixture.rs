//! A writer of batches as the RedisWriter makes them, and a view of all that a partition shows.

use std::{collections::BTreeMap, sync::Arc};

use orinoco_domain::{
    Axis, CoordinateData, DeviceId, Frame, Position, Timestamp,
    pairing::{AxisValue, DeviceState},
};

use crate::{
    Applied, Batch, CoordinateStore, DeviceUpdate, HistoryPage, PartitionState, PublishedFrame, SnapshotEntry,
};

pub(super) const HISTORY_MAX: usize = 100;
/// Of one axis and journal, as a writer names it.
pub(super) const MARK_X: &str = "coordX mqtt/9f2c";

pub(super) fn device(name: &str) -> DeviceId {
    DeviceId::parse(name).unwrap()
}

/// The owner of a partition.
pub(super) struct Writer<'a> {
    store: &'a dyn CoordinateStore,
    pub(super) partition: u32,
    pub(super) fence: u64,
    pub(super) history_max: usize,
    pub(super) revision: u64,
    pub(super) position: Position,
    pub(super) epoch: Arc<str>,
    pub(super) marks: BTreeMap<String, u64>,
    pub(super) devices: BTreeMap<DeviceId, DeviceState>,
}

impl<'a> Writer<'a> {
    pub(super) async fn load(store: &'a dyn CoordinateStore, partition: u32, fence: u64) -> Self {
        let state = store.load(partition, fence).await.unwrap();
        Self {
            store,
            partition,
            fence,
            history_max: HISTORY_MAX,
            revision: state.revision,
            position: state.position,
            epoch: state.epoch,
            marks: state.marks.into_iter().collect(),
            devices: state.devices.into_iter().collect(),
        }
    }

    /// The device's next `count` frames, each its latest value.
    pub(super) fn update(&self, name: &str, count: usize) -> DeviceUpdate {
        let device = device(name);
        let mut state = self.devices.get(&device).cloned().unwrap_or_default();
        let frames = (0..count).map(|_| self.next_frame(&device, &mut state)).collect();
        DeviceUpdate { device, state, frames }
    }

    /// The device's next frame, from an older ingest owner.
    pub(super) fn late_update(&self, name: &str) -> DeviceUpdate {
        let mut update = self.update(name, 1);
        update.frames[0].is_latest = false;
        update
    }

    fn next_frame(&self, device: &DeviceId, state: &mut DeviceState) -> PublishedFrame {
        state.head += 1;
        let axis_value = AxisValue {
            value: state.head as f64 + 0.5,
            message: format!("{}.50", state.head),
            timestamp: Timestamp::from_epoch_ms(1_767_323_045_678 + state.head as i64).unwrap(),
        };
        state.y = Some(axis_value.clone());
        state.x = Some(axis_value.clone());
        let data = CoordinateData {
            coord_x: axis_value.value,
            coord_y: axis_value.value,
            timestamp: axis_value.timestamp,
            source: Axis::X,
            device: device.clone(),
            offset: state.head,
            epoch: Arc::clone(&self.epoch),
            unpaired: false,
            late: false,
        };
        PublishedFrame { frame: data.encode(), is_latest: true }
    }

    /// A batch that follows what this writer knows: one record of each axis a frame.
    pub(super) fn batch(&self, devices: Vec<DeviceUpdate>) -> Batch {
        let records = devices.iter().map(|update| update.frames.len() as i64).sum::<i64>();
        let to = Position { x: self.position.x + records, y: self.position.y + records + 1 };
        Batch {
            partition: self.partition,
            fence: self.fence,
            revision: self.revision,
            from: self.position,
            to,
            marks: vec![(MARK_X.to_owned(), to.x.unsigned_abs() + 1)],
            devices,
            history_max: self.history_max,
        }
    }

    /// Applies a batch that must succeed, and goes on from there.
    pub(super) async fn commit(&mut self, batch: &Batch) {
        assert_eq!(self.store.apply(batch).await.unwrap(), Applied::Done);
        self.commit_seen(batch);
    }

    /// Goes on from a batch that was applied.
    pub(super) fn commit_seen(&mut self, batch: &Batch) {
        self.revision += 1;
        self.position = batch.to;
        self.marks.extend(batch.marks.iter().cloned());
        self.devices.extend(batch.devices.iter().map(|update| (update.device.clone(), update.state.clone())));
    }

    /// Commits one batch with so many frames a device.
    pub(super) async fn write(&mut self, devices: &[(&str, usize)]) -> Batch {
        let updates = devices.iter().map(|(name, count)| self.update(name, *count)).collect();
        let batch = self.batch(updates);
        self.commit(&batch).await;
        batch
    }
}

/// Everything that a partition shows. The fence that it is taken with must be that of the present owner.
#[derive(Debug, PartialEq)]
pub(super) struct Observed {
    pub(super) position: Position,
    pub(super) revision: u64,
    pub(super) epoch: Arc<str>,
    pub(super) marks: BTreeMap<String, u64>,
    pub(super) devices: BTreeMap<DeviceId, DeviceState>,
    pub(super) snapshot: BTreeMap<DeviceId, (Frame, u64)>,
    pub(super) latest: BTreeMap<DeviceId, Option<SnapshotEntry>>,
    pub(super) history: BTreeMap<DeviceId, HistoryPage>,
}

pub(super) async fn observe(store: &dyn CoordinateStore, partition: u32, fence: u64) -> Observed {
    let PartitionState { position, revision, epoch, marks, devices } = store.load(partition, fence).await.unwrap();
    let count = (marks.len(), devices.len());
    let devices: BTreeMap<_, _> = devices.into_iter().collect();
    let marks: BTreeMap<_, _> = marks.into_iter().collect();
    assert_eq!((marks.len(), devices.len()), count, "a mark or a device was loaded twice");
    let mut latest = BTreeMap::new();
    let mut history = BTreeMap::new();
    for device in devices.keys() {
        latest.insert(device.clone(), store.latest(partition, device).await.unwrap());
        history.insert(device.clone(), store.history(partition, device, 0, usize::from(u16::MAX)).await.unwrap());
    }
    let snapshot = snapshot(store, partition, 7).await;
    Observed { position, revision, epoch, marks, devices, snapshot, latest, history }
}

/// All pages of a snapshot: latest frame and head by device. Fails on pages far above `entries_max` (a store may have to return a little
/// more than it was asked for) and on a snapshot without end.
pub(super) async fn snapshot(
    store: &dyn CoordinateStore,
    partition: u32,
    entries_max: usize,
) -> BTreeMap<DeviceId, (Frame, u64)> {
    let mut entries = BTreeMap::new();
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let page = store.snapshot(partition, cursor.as_deref(), entries_max).await.unwrap();
        assert!(page.entries.len() <= 2 * entries_max + 128, "a page of {} entries", page.entries.len());
        for entry in page.entries {
            entries.insert(entry.latest.device.clone(), (entry.latest, entry.head));
        }
        cursor = page.next;
        // A store that never waits must let a writer in between the pages as well.
        tokio::task::yield_now().await;
        if cursor.is_none() {
            return entries;
        }
    }
    panic!("a snapshot of {} entries had more than {PAGES_MAX} pages", entries.len());
}

const PAGES_MAX: usize = 10_000;
