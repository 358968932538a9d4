//! The model as a store: the suite runs on it, and so do tests of what uses the port.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use orinoco_domain::DeviceId;
use tokio::sync::broadcast;

use super::{StoreFactory, model::PartitionModel};
use crate::{
    Applied, BackendInfo, Batch, CoordinateStore, HistoryPage, PartitionState, Publication, SnapshotEntry,
    SnapshotPage, StoreError, Subscription,
};

const PUBLICATIONS_MAX: usize = 512;

#[derive(Default)]
pub struct MemoryStores(Arc<MemoryStore>);

#[derive(Default)]
struct MemoryStore(Mutex<BTreeMap<u32, Partition>>);

struct Partition {
    model: PartitionModel,
    publications: broadcast::Sender<Publication>,
}

#[async_trait]
impl StoreFactory for MemoryStores {
    async fn open(&self) -> Arc<dyn CoordinateStore> {
        self.0.clone()
    }

    async fn open_as_after_kill(&self) -> Arc<dyn CoordinateStore> {
        let copy = self.0.0.lock().unwrap().iter().map(|(number, held)| (*number, held.copy())).collect();
        Arc::new(MemoryStore(Mutex::new(copy)))
    }
}

impl Partition {
    fn new(model: PartitionModel) -> Self {
        Self { model, publications: broadcast::channel(PUBLICATIONS_MAX).0 }
    }

    fn copy(&self) -> Self {
        Self::new(self.model.clone())
    }
}

fn new_epoch() -> Arc<str> {
    format!("e{}", fastrand::u64(..)).into()
}

impl MemoryStore {
    fn with<T>(&self, partition: u32, act: impl FnOnce(&mut Partition) -> T) -> T {
        let mut partitions = self.0.lock().unwrap();
        act(partitions.entry(partition).or_insert_with(|| Partition::new(PartitionModel::new(new_epoch()))))
    }
}

#[async_trait]
impl CoordinateStore for MemoryStore {
    async fn load(&self, partition: u32, fence: u64) -> Result<PartitionState, StoreError> {
        self.with(partition, |held| held.model.load(fence))
    }

    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        // What a server's round trip lets others do.
        tokio::task::yield_now().await;
        Ok(self.with(batch.partition, |held| {
            let applied = held.model.apply(batch);
            if applied == Applied::Done {
                let frames = batch.devices.iter().flat_map(|update| update.frames.iter().cloned()).collect();
                let epoch = Arc::clone(&held.model.epoch);
                _ = held.publications.send(Publication { partition: batch.partition, epoch, frames });
            }
            applied
        }))
    }

    async fn epoch(&self, partition: u32) -> Result<Arc<str>, StoreError> {
        Ok(self.with(partition, |held| Arc::clone(&held.model.epoch)))
    }

    async fn reset(&self, partition: u32, fence: u64) -> Result<(), StoreError> {
        self.with(partition, |held| held.model.reset(fence, new_epoch()))
    }

    async fn snapshot(
        &self,
        partition: u32,
        cursor: Option<&str>,
        entries_max: usize,
    ) -> Result<SnapshotPage, StoreError> {
        Ok(self.with(partition, |held| {
            let after = cursor.map(|cursor| DeviceId::parse(cursor).unwrap());
            let all = held.model.snapshot();
            let mut rest = all.into_iter().filter(|(device, _)| after.as_ref().is_none_or(|after| device > after));
            let page = rest.by_ref().take(entries_max);
            let entries: Vec<_> = page.map(|(_, (latest, head))| SnapshotEntry { latest, head }).collect();
            let last = entries.last().map(|entry| entry.latest.device.to_string());
            SnapshotPage { epoch: Arc::clone(&held.model.epoch), entries, next: rest.next().and(last) }
        }))
    }

    async fn latest(&self, partition: u32, device: &DeviceId) -> Result<Option<SnapshotEntry>, StoreError> {
        Ok(self.with(partition, |held| held.model.latest(device)))
    }

    async fn history(
        &self,
        partition: u32,
        device: &DeviceId,
        after: u64,
        frames_max: usize,
    ) -> Result<HistoryPage, StoreError> {
        Ok(self.with(partition, |held| held.model.history(device, after, frames_max)))
    }

    async fn subscribe(&self, partition: u32) -> Result<Box<dyn Subscription>, StoreError> {
        Ok(Box::new(MemorySubscription(self.with(partition, |held| held.publications.subscribe()))))
    }

    async fn probe(&self) -> Result<BackendInfo, StoreError> {
        Ok(BackendInfo { version: "memory".to_owned(), advice: Vec::new() })
    }
}

struct MemorySubscription(broadcast::Receiver<Publication>);

#[async_trait]
impl Subscription for MemorySubscription {
    async fn next(&mut self) -> Result<Publication, StoreError> {
        let lost = |error| StoreError::Unavailable { place: "memory".to_owned(), reason: format!("{error}") };
        self.0.recv().await.map_err(lost)
    }
}
