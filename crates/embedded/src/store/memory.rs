//! What readers see without SQL: epochs, latest values, and the frames that the tables don't have yet. As committed.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Bound,
    sync::{Arc, PoisonError, RwLock},
};

use orinoco_domain::{DeviceId, Frame};
use orinoco_ports::{HistoryPage, SnapshotEntry, SnapshotPage};

use super::batch::{Update, Updates};

#[derive(Debug, Default)]
pub(super) struct Memory(RwLock<HashMap<u32, PartitionMemory>>);

#[derive(Debug, Default)]
pub(super) struct PartitionMemory {
    pub(super) epoch: Arc<str>,
    pub(super) devices: BTreeMap<DeviceId, DeviceMemory>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct DeviceMemory {
    /// Offset of the last CoordinateData, 0 before any.
    pub(super) head: u64,
    /// First offset in history; `head + 1` where that is empty.
    pub(super) first: u64,
    pub(super) latest: Option<Frame>,
    /// The last frames of history: those that are not in the table of frames.
    pub(super) recent: VecDeque<Frame>,
}

/// What memory knows of a page of history.
#[derive(Debug)]
pub(super) enum HistoryView {
    Whole(HistoryPage),
    /// Frames from `page.first`, or the one after `after`, up to `before` (exclusive) are in the table; those in the page follow them.
    Rest {
        page: HistoryPage,
        before: u64,
    },
}

impl Memory {
    pub(super) fn replace(&self, partition: u32, memory: PartitionMemory) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(partition, memory);
    }

    fn with<T>(&self, partition: u32, look: impl FnOnce(&PartitionMemory) -> T) -> Option<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&partition).map(look)
    }

    fn with_mut(&self, partition: u32, change: impl FnOnce(&mut PartitionMemory)) {
        if let Some(memory) = self.0.write().unwrap_or_else(PoisonError::into_inner).get_mut(&partition) {
            change(memory);
        }
    }

    /// After a commit.
    pub(super) fn update(&self, partition: u32, updates: &Updates) {
        self.with_mut(partition, |memory| memory.update(updates));
    }

    /// After the frames were put into the table.
    pub(super) fn forget_recent<'a>(&self, partition: u32, devices: impl Iterator<Item = &'a DeviceId>) {
        self.with_mut(partition, |memory| {
            for device in devices {
                if let Some(held) = memory.devices.get_mut(device) {
                    held.recent = VecDeque::new();
                }
            }
        });
    }

    pub(super) fn device(&self, partition: u32, device: &DeviceId) -> Option<DeviceMemory> {
        self.with(partition, |memory| memory.devices.get(device).cloned()).flatten()
    }

    pub(super) fn epoch(&self, partition: u32) -> Option<Arc<str>> {
        self.with(partition, |memory| Arc::clone(&memory.epoch))
    }

    pub(super) fn latest(&self, partition: u32, device: &DeviceId) -> Option<SnapshotEntry> {
        self.with(partition, |memory| memory.devices.get(device).and_then(DeviceMemory::entry)).flatten()
    }

    /// The cursor is the last name of the page before: names don't move, so none is left out.
    pub(super) fn snapshot(&self, partition: u32, cursor: Option<&str>, entries_max: usize) -> SnapshotPage {
        let page = self.with(partition, |memory| {
            let after = cursor.map_or(Bound::Unbounded, Bound::Excluded);
            let rest = memory.devices.range::<str, _>((after, Bound::Unbounded));
            let mut rest = rest.filter_map(|(_, held)| held.entry());
            let entries: Vec<SnapshotEntry> = rest.by_ref().take(entries_max.max(1)).collect();
            let last = entries.last().map(|entry| entry.latest.device.to_string());
            SnapshotPage { epoch: Arc::clone(&memory.epoch), entries, next: rest.next().and(last) }
        });
        page.unwrap_or_default()
    }

    /// `None` where the partition is not known yet.
    pub(super) fn history(
        &self,
        partition: u32,
        device: &DeviceId,
        after: u64,
        frames_max: usize,
    ) -> Option<HistoryView> {
        self.with(partition, |memory| {
            let epoch = Arc::clone(&memory.epoch);
            match memory.devices.get(device) {
                Some(held) => held.history(epoch, after, frames_max),
                None => HistoryView::Whole(HistoryPage { epoch, frames: Vec::new(), first: 1, head: 0 }),
            }
        })
    }
}

impl PartitionMemory {
    pub(super) fn update(&mut self, updates: &Updates) {
        for update in &updates.devices {
            match self.devices.get_mut(&update.device) {
                Some(held) => held.update(update, updates.history_max),
                None => {
                    let mut held = DeviceMemory::default();
                    held.update(update, updates.history_max);
                    self.devices.insert(update.device.clone(), held);
                }
            }
        }
    }
}

impl DeviceMemory {
    fn update(&mut self, update: &Update, history_max: u64) {
        if let Some(published) = update.frames.first() {
            if published.frame.offset != self.head + 1 {
                // History has no gap: it begins anew here.
                self.first = published.frame.offset;
                self.recent.clear();
            }
            self.recent.extend(update.frames.iter().map(|published| published.frame.clone()));
            self.first = self.first.max((update.head + 1).saturating_sub(history_max)).max(1);
            while self.recent.front().is_some_and(|frame| frame.offset < self.first) {
                self.recent.pop_front();
            }
        } else if self.first == 0 {
            self.first = update.head + 1;
        }
        if let Some(latest) = update.latest() {
            self.latest = Some(latest.clone());
        }
        self.head = update.head;
    }

    fn entry(&self) -> Option<SnapshotEntry> {
        self.latest.clone().map(|latest| SnapshotEntry { latest, head: self.head })
    }

    fn history(&self, epoch: Arc<str>, after: u64, frames_max: usize) -> HistoryView {
        let before = self.recent.front().map_or(self.head + 1, |frame| frame.offset);
        let start = after.saturating_add(1).max(self.first);
        let frames = self.recent.iter().filter(|frame| frame.offset >= start).take(frames_max).cloned().collect();
        let page = HistoryPage { epoch, frames, first: self.first, head: self.head };
        if start >= before || frames_max == 0 { HistoryView::Whole(page) } else { HistoryView::Rest { page, before } }
    }
}
