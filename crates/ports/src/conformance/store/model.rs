//! What a partition is, in memory: the yardstick of [`super::any_sequence_of_calls_agrees_with_the_model`].

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use orinoco_domain::{DeviceId, Frame, Position, pairing::DeviceState};

use crate::{Applied, Batch, HistoryPage, PartitionState, SnapshotEntry, StoreError};

#[derive(Debug, Default, Clone)]
pub(super) struct PartitionModel {
    pub(super) epoch: Arc<str>,
    pub(super) fence: u64,
    pub(super) revision: u64,
    pub(super) position: Position,
    pub(super) marks: BTreeMap<String, u64>,
    pub(super) devices: BTreeMap<DeviceId, DeviceState>,
    latest: BTreeMap<DeviceId, Frame>,
    history: BTreeMap<DeviceId, VecDeque<Frame>>,
}

impl PartitionModel {
    pub(super) fn new(epoch: Arc<str>) -> Self {
        Self { epoch, ..Self::default() }
    }

    pub(super) fn load(&mut self, fence: u64) -> Result<PartitionState, StoreError> {
        self.fence_off(fence)?;
        Ok(PartitionState {
            position: self.position,
            revision: self.revision,
            epoch: Arc::clone(&self.epoch),
            marks: self.marks.clone().into_iter().collect(),
            devices: self.devices.clone().into_iter().collect(),
        })
    }

    fn fence_off(&mut self, fence: u64) -> Result<(), StoreError> {
        if fence < self.fence {
            return Err(StoreError::Fenced { fence: self.fence });
        }
        self.fence = fence;
        Ok(())
    }

    pub(super) fn apply(&mut self, batch: &Batch) -> Applied {
        if batch.fence < self.fence {
            return Applied::Fenced { fence: self.fence };
        }
        if batch.revision != self.revision || batch.from != self.position {
            return Applied::Conflict { revision: self.revision, position: self.position };
        }
        self.revision += 1;
        self.position = batch.to;
        self.marks.extend(batch.marks.iter().cloned());
        for update in &batch.devices {
            self.devices.insert(update.device.clone(), update.state.clone());
            if let Some(latest) = update.latest() {
                self.latest.insert(update.device.clone(), latest.clone());
            }
            let history = self.history.entry(update.device.clone()).or_default();
            history.extend(update.frames.iter().map(|published| published.frame.clone()));
            if !update.frames.is_empty() {
                history.drain(..history.len().saturating_sub(batch.history_max));
            }
        }
        Applied::Done
    }

    /// Goes on under another epoch; how the revision goes on is the store's affair.
    pub(super) fn reset(&mut self, fence: u64, epoch: Arc<str>) -> Result<(), StoreError> {
        self.fence_off(fence)?;
        *self = Self { fence: self.fence, revision: self.revision + 1, ..Self::new(epoch) };
        Ok(())
    }

    fn head(&self, device: &DeviceId) -> u64 {
        self.devices.get(device).map_or(0, |state| state.head)
    }

    pub(super) fn latest(&self, device: &DeviceId) -> Option<SnapshotEntry> {
        self.latest.get(device).map(|latest| SnapshotEntry { latest: latest.clone(), head: self.head(device) })
    }

    pub(super) fn snapshot(&self) -> BTreeMap<DeviceId, (Frame, u64)> {
        let entry = |(device, latest): (&DeviceId, &Frame)| (device.clone(), (latest.clone(), self.head(device)));
        self.latest.iter().map(entry).collect()
    }

    pub(super) fn history(&self, device: &DeviceId, after: u64, frames_max: usize) -> HistoryPage {
        let head = self.head(device);
        let held = self.history.get(device).map(|history| history.iter().cloned().collect::<Vec<_>>());
        let held = held.unwrap_or_default();
        HistoryPage {
            epoch: Arc::clone(&self.epoch),
            first: held.first().map_or(head + 1, |frame| frame.offset),
            head,
            frames: held.into_iter().filter(|frame| frame.offset > after).take(frames_max).collect(),
        }
    }
}
