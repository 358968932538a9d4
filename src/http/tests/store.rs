//! Coordinates in memory, as the ports read them: published by the test, and unreachable when it says so.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use orinoco_domain::{Axis, CoordinateData, DeviceId, Frame, Timestamp, partition_of};
use orinoco_ports::{
    Applied, BackendInfo, Batch, CoordinateStore, HistoryPage, PartitionState, Publication, PublishedFrame,
    SnapshotEntry, SnapshotPage, StoreError, Subscription,
};
use tokio::sync::broadcast;

use super::world::PARTITIONS;

const PUBLICATIONS_MAX: usize = 4096;
const EPOCH: &str = "e1";

pub(crate) struct MemoryStore {
    devices: Mutex<BTreeMap<DeviceId, Vec<Frame>>>,
    publications: Vec<broadcast::Sender<Publication>>,
    is_down: AtomicBool,
    history_max: usize,
}

impl MemoryStore {
    pub(crate) fn new(history_max: usize) -> Arc<Self> {
        let publications = (0..PARTITIONS).map(|_| broadcast::channel(PUBLICATIONS_MAX).0).collect();
        Arc::new(Self { devices: Mutex::default(), publications, is_down: AtomicBool::new(false), history_max })
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    /// The device's next CoordinateData, which is stored and published.
    pub(crate) fn publish(&self, device: &str, coord_x: f64) -> String {
        let device = DeviceId::parse(device).unwrap();
        let mut devices = self.devices.lock().unwrap();
        let frames = devices.entry(device.clone()).or_default();
        let data = CoordinateData {
            coord_x,
            coord_y: 0.5,
            timestamp: Timestamp::parse("2026-01-02T03:04:05.678Z").unwrap(),
            source: Axis::X,
            device: device.clone(),
            offset: frames.last().map_or(1, |last| last.offset + 1),
            epoch: EPOCH.into(),
            unpaired: false,
            late: false,
        };
        let frame = data.encode();
        frames.push(frame.clone());
        if frames.len() > self.history_max {
            frames.remove(0);
        }
        let partition = partition_of(device.as_str().as_bytes(), PARTITIONS);
        let frames = vec![PublishedFrame { frame: frame.clone(), is_latest: true }];
        // Refused where nobody has subscribed yet.
        let _ = self.publications[partition as usize].send(Publication { partition, epoch: EPOCH.into(), frames });
        frame.json.to_string()
    }

    fn reach(&self) -> Result<(), StoreError> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable { place: "memory".to_owned(), reason: "as the test says".to_owned() });
        }
        Ok(())
    }
}

fn entry(frames: &[Frame]) -> SnapshotEntry {
    let latest = frames.last().unwrap().clone();
    SnapshotEntry { head: latest.offset, latest }
}

#[async_trait]
impl CoordinateStore for MemoryStore {
    async fn load(&self, _: u32, _: u64) -> Result<PartitionState, StoreError> {
        unreachable!("the ports only read")
    }

    async fn apply(&self, _: &Batch) -> Result<Applied, StoreError> {
        unreachable!("the ports only read")
    }

    async fn reset(&self, _: u32, _: u64) -> Result<(), StoreError> {
        unreachable!("the ports only read")
    }

    async fn epoch(&self, _: u32) -> Result<Arc<str>, StoreError> {
        self.reach()?;
        Ok(EPOCH.into())
    }

    async fn snapshot(&self, partition: u32, _: Option<&str>, _: usize) -> Result<SnapshotPage, StoreError> {
        self.reach()?;
        let devices = self.devices.lock().unwrap();
        let here = |device: &DeviceId| partition_of(device.as_str().as_bytes(), PARTITIONS) == partition;
        let entries = devices.iter().filter(|(device, _)| here(device)).map(|(_, frames)| entry(frames)).collect();
        Ok(SnapshotPage { epoch: EPOCH.into(), entries, next: None })
    }

    async fn latest(&self, _: u32, device: &DeviceId) -> Result<Option<SnapshotEntry>, StoreError> {
        self.reach()?;
        Ok(self.devices.lock().unwrap().get(device).map(|frames| entry(frames)))
    }

    async fn history(&self, _: u32, device: &DeviceId, after: u64, max: usize) -> Result<HistoryPage, StoreError> {
        self.reach()?;
        let devices = self.devices.lock().unwrap();
        let frames = devices.get(device).map_or(&[][..], Vec::as_slice);
        let head = frames.last().map_or(0, |last| last.offset);
        let first = frames.first().map_or(head + 1, |first| first.offset);
        let frames = frames.iter().filter(|frame| frame.offset > after).take(max).cloned().collect();
        Ok(HistoryPage { epoch: EPOCH.into(), frames, first, head })
    }

    async fn subscribe(&self, partition: u32) -> Result<Box<dyn Subscription>, StoreError> {
        self.reach()?;
        Ok(Box::new(MemorySubscription(self.publications[partition as usize].subscribe())))
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
