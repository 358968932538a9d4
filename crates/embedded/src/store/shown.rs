//! What readers may see without SQL: epochs and latest values, as committed.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Arc, PoisonError, RwLock},
};

use orinoco_domain::DeviceId;
use orinoco_ports::{SnapshotEntry, SnapshotPage};

use super::batch::EncodedUpdate;

#[derive(Debug, Default)]
pub(super) struct Shown(RwLock<HashMap<u32, ShownPartition>>);

/// One partition. Devices without a latest value are not in it.
#[derive(Debug, Default)]
pub(super) struct ShownPartition {
    pub(super) epoch: Arc<str>,
    pub(super) devices: BTreeMap<DeviceId, SnapshotEntry>,
}

impl Shown {
    pub(super) fn replace(&self, partition: u32, shown: ShownPartition) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(partition, shown);
    }

    /// After a commit.
    pub(super) fn update(&self, partition: u32, updates: &[EncodedUpdate]) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Some(shown) = all.get_mut(&partition) else { return };
        for update in updates {
            match (shown.devices.get_mut(&update.device), &update.latest) {
                (Some(entry), latest) => {
                    entry.head = update.head;
                    if let Some(latest) = latest {
                        entry.latest = latest.clone();
                    }
                }
                (None, Some(latest)) => {
                    let entry = SnapshotEntry { latest: latest.clone(), head: update.head };
                    shown.devices.insert(update.device.clone(), entry);
                }
                (None, None) => {}
            }
        }
    }

    fn with<T>(&self, partition: u32, look: impl FnOnce(&ShownPartition) -> T) -> Option<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&partition).map(look)
    }

    pub(super) fn epoch(&self, partition: u32) -> Option<Arc<str>> {
        self.with(partition, |shown| Arc::clone(&shown.epoch))
    }

    pub(super) fn latest(&self, partition: u32, device: &DeviceId) -> Option<SnapshotEntry> {
        self.with(partition, |shown| shown.devices.get(device).cloned()).flatten()
    }

    /// The cursor is the last name of the page before: names don't move, so none is left out.
    pub(super) fn snapshot(&self, partition: u32, cursor: Option<&str>, entries_max: usize) -> SnapshotPage {
        let page = self.with(partition, |shown| {
            let after = cursor.map_or(Bound::Unbounded, Bound::Excluded);
            let mut rest = shown.devices.range::<str, _>((after, Bound::Unbounded)).map(|(_, entry)| entry);
            let entries: Vec<SnapshotEntry> = rest.by_ref().take(entries_max.max(1)).cloned().collect();
            let last = entries.last().map(|entry| entry.latest.device.to_string());
            SnapshotPage { epoch: Arc::clone(&shown.epoch), entries, next: rest.next().and(last) }
        });
        page.unwrap_or_default()
    }
}
