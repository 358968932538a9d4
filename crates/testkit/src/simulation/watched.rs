//! Models that notice what must never be, at the moment when it happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use orinoco_domain::{Axis, DeviceId, Origin, Position, RawRecord};
use orinoco_ports::{
    Applied, BackendInfo, Batch, CoordinateStore, DeadLetterPage, Fetched, HistoryPage, Journal, JournalDepth,
    JournalEntry, JournalError, JournalRecord, LogError, PartitionState, RecordLog, SnapshotEntry, SnapshotPage,
    StoreError, Subscription,
};

use super::Trace;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A store: no former owner's batch is applied, a partition's position never goes back, its epoch never changes.
pub struct WatchedStore {
    near: Arc<dyn CoordinateStore>,
    partitions: Mutex<BTreeMap<u32, Seen>>,
    trace: Trace,
}

#[derive(Default)]
struct Seen {
    fence: u64,
    position: Position,
    epoch: Option<Arc<str>>,
}

impl WatchedStore {
    #[must_use]
    pub fn new(near: Arc<dyn CoordinateStore>, trace: Trace) -> Self {
        Self { near, partitions: Mutex::default(), trace }
    }

    /// Where a partition stands.
    #[must_use]
    pub fn position(&self, partition: u32) -> Position {
        lock(&self.partitions).get(&partition).map_or_else(Position::default, |seen| seen.position)
    }

    fn with(&self, partition: u32, look: impl FnOnce(&mut Seen)) {
        look(lock(&self.partitions).entry(partition).or_default());
    }
}

#[async_trait]
impl CoordinateStore for WatchedStore {
    async fn load(&self, partition: u32, fence: u64) -> Result<PartitionState, StoreError> {
        let loaded = self.near.load(partition, fence).await?;
        self.with(partition, |seen| {
            if fence < seen.fence {
                self.trace.violated("no stale owner", format!("load of {partition} with {fence} after {}", seen.fence));
            }
            seen.fence = seen.fence.max(fence);
            if seen.epoch.get_or_insert_with(|| Arc::clone(&loaded.epoch)) != &loaded.epoch {
                self.trace.violated("epoch unchanged", format!("{partition}: {:?}, {}", seen.epoch, loaded.epoch));
            }
        });
        Ok(loaded)
    }

    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        let applied = self.near.apply(batch).await?;
        let Batch { partition, fence, from, to, .. } = *batch;
        self.trace.add(format_args!("applied {partition}: {applied:?}, fence {fence}, {from:?} to {to:?}"));
        if applied == Applied::Done {
            self.with(partition, |seen| {
                if fence < seen.fence {
                    let what = format!("batch for {partition} with {fence} after {}", seen.fence);
                    self.trace.violated("no stale owner", what);
                }
                let goes_back = Axis::BOTH.iter().any(|axis| to.of(*axis) < seen.position.of(*axis));
                if goes_back {
                    self.trace
                        .violated("position never goes back", format!("{partition}: {:?} to {to:?}", seen.position));
                }
                seen.position = to;
            });
        }
        Ok(applied)
    }

    async fn epoch(&self, partition: u32) -> Result<Arc<str>, StoreError> {
        self.near.epoch(partition).await
    }

    async fn reset(&self, partition: u32, fence: u64) -> Result<(), StoreError> {
        self.trace.violated("epoch unchanged", format!("reset of {partition} by {fence}"));
        self.near.reset(partition, fence).await
    }

    async fn snapshot(
        &self,
        partition: u32,
        cursor: Option<&str>,
        entries_max: usize,
    ) -> Result<SnapshotPage, StoreError> {
        self.near.snapshot(partition, cursor, entries_max).await
    }

    async fn latest(&self, partition: u32, device: &DeviceId) -> Result<Option<SnapshotEntry>, StoreError> {
        self.near.latest(partition, device).await
    }

    async fn history(
        &self,
        partition: u32,
        device: &DeviceId,
        after: u64,
        frames_max: usize,
    ) -> Result<HistoryPage, StoreError> {
        self.near.history(partition, device, after, frames_max).await
    }

    async fn subscribe(&self, partition: u32) -> Result<Box<dyn Subscription>, StoreError> {
        self.near.subscribe(partition).await
    }

    async fn probe(&self) -> Result<BackendInfo, StoreError> {
        self.near.probe().await
    }
}

/// A log that remembers what of each journal it holds.
pub struct WatchedLog {
    near: Arc<dyn RecordLog>,
    held: Mutex<BTreeSet<(String, u64)>>,
}

impl WatchedLog {
    #[must_use]
    pub fn new(near: Arc<dyn RecordLog>) -> Arc<Self> {
        Arc::new(Self { near, held: Mutex::default() })
    }

    /// The first sequence in `sequences` of a journal that the log does not hold.
    #[must_use]
    pub fn lacks(&self, journal: &str, mut sequences: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let held = lock(&self.held);
        sequences.find(|sequence| !held.contains(&(journal.to_owned(), *sequence)))
    }

    fn remember<'a>(&self, records: impl Iterator<Item = &'a RawRecord>) {
        let mut held = lock(&self.held);
        for id in records.filter_map(RawRecord::id) {
            if let Origin::Journal { journal, .. } = id.origin {
                held.insert((journal, id.sequence));
            }
        }
    }
}

#[async_trait]
impl RecordLog for WatchedLog {
    async fn partitions(&self) -> Result<u32, LogError> {
        self.near.partitions().await
    }

    async fn produce(&self, partition: u32, records: &[(Axis, RawRecord)]) -> Result<(), LogError> {
        self.near.produce(partition, records).await?;
        self.remember(records.iter().map(|(_, record)| record));
        Ok(())
    }

    async fn produce_dead_letters(&self, letters: &[RawRecord]) -> Result<(), LogError> {
        self.near.produce_dead_letters(letters).await?;
        self.remember(letters.iter());
        Ok(())
    }

    async fn fetch(
        &self,
        partition: u32,
        from: Position,
        bytes_max: usize,
        wait_max: Duration,
    ) -> Result<Fetched, LogError> {
        self.near.fetch(partition, from, bytes_max, wait_max).await
    }

    async fn bounds(&self, partition: u32) -> Result<(Position, Position), LogError> {
        self.near.bounds(partition).await
    }

    async fn dead_letters(&self, cursor: Option<&str>, letters_max: usize) -> Result<DeadLetterPage, LogError> {
        self.near.dead_letters(cursor, letters_max).await
    }

    async fn probe(&self) -> Result<BackendInfo, LogError> {
        self.near.probe().await
    }
}

/// A journal that gives up nothing which the log does not hold.
pub struct WatchedJournal {
    near: Arc<dyn Journal>,
    log: Arc<WatchedLog>,
    trace: Trace,
}

impl WatchedJournal {
    #[must_use]
    pub fn new(near: Arc<dyn Journal>, log: &Arc<WatchedLog>, trace: Trace) -> Self {
        Self { near, log: Arc::clone(log), trace }
    }
}

#[async_trait]
impl Journal for WatchedJournal {
    fn id(&self) -> &str {
        self.near.id()
    }

    fn append(&self, record: &JournalRecord) -> Result<u64, JournalError> {
        let sequence = self.near.append(record)?;
        let redelivered = if record.redelivered { ", redelivered" } else { "" };
        self.trace.add(format_args!("journal {}: {sequence} is {}{redelivered}", self.near.id(), record.topic));
        Ok(sequence)
    }

    async fn durable(&self, sequence: u64) -> Result<(), JournalError> {
        self.near.durable(sequence).await
    }

    fn durable_blocking(&self, sequence: u64) -> Result<(), JournalError> {
        self.near.durable_blocking(sequence)
    }

    fn wait_for_room_blocking(&self, wait_max: Duration) {
        self.near.wait_for_room_blocking(wait_max);
    }

    fn read_after(&self, sequence: u64, bytes_max: usize) -> Result<Vec<JournalEntry>, JournalError> {
        self.near.read_after(sequence, bytes_max)
    }

    fn tail(&self, records_max: usize) -> Vec<JournalEntry> {
        self.near.tail(records_max)
    }

    async fn wait_after(&self, sequence: u64) {
        self.near.wait_after(sequence).await;
    }

    fn commit(&self, sequence: u64) -> Result<(), JournalError> {
        let committed = self.near.committed();
        if let Some(lacking) = self.log.lacks(self.near.id(), committed + 1..=sequence) {
            let what = format!("journal {}: commit of {sequence}, the log lacks {lacking}", self.near.id());
            self.trace.violated("committed after the log has it", what);
        }
        self.near.commit(sequence)
    }

    fn committed(&self) -> u64 {
        self.near.committed()
    }

    fn depth(&self) -> JournalDepth {
        self.near.depth()
    }
}
