//! A log in memory: the suites run on it, and so do tests of what uses the port.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use orinoco_domain::{Axis, Position, RawRecord};
use tokio::sync::Notify;

use super::LogFactory;
use crate::{BackendInfo, DeadLetterPage, Fetched, FetchedRecord, LogError, RecordLog, StoredDeadLetter};

const PARTITIONS: u32 = 2;
const RECORD_BYTES_MAX: usize = 1 << 20;

#[derive(Default)]
pub struct MemoryLogs(Arc<MemoryLog>);

#[derive(Default)]
struct MemoryLog {
    held: Mutex<Held>,
    changed: Notify,
}

#[derive(Default, Clone)]
struct Held {
    partitions: BTreeMap<u32, Partition>,
    letters: Vec<RawRecord>,
}

#[derive(Default, Clone)]
struct Partition {
    first: Position,
    end: Position,
    records: Vec<FetchedRecord>,
}

#[async_trait]
impl LogFactory for MemoryLogs {
    async fn open(&self) -> Arc<dyn RecordLog> {
        self.0.clone()
    }

    async fn open_as_after_kill(&self) -> Arc<dyn RecordLog> {
        let held = Mutex::new(self.0.held.lock().unwrap().clone());
        Arc::new(MemoryLog { held, changed: Notify::new() })
    }

    async fn expire_oldest(&self, log: Arc<dyn RecordLog>, partition: u32) -> Arc<dyn RecordLog> {
        let mut held = self.0.held.lock().unwrap();
        let partition = held.partitions.entry(partition).or_default();
        let half = partition.records.len() / 2;
        for gone in partition.records.drain(..half) {
            partition.first.set(gone.axis, gone.offset + 1);
        }
        log
    }
}

impl Partition {
    fn push(&mut self, axis: Axis, record: RawRecord) {
        let offset = self.end.of(axis);
        self.end.set(axis, offset + 1);
        self.records.push(FetchedRecord { axis, offset, record });
    }

    fn fetch(&self, partition: u32, from: Position, bytes_max: usize) -> Result<Fetched, LogError> {
        for axis in Axis::BOTH {
            let (wanted, first, end) = (from.of(axis), self.first.of(axis), self.end.of(axis));
            if wanted < first || wanted > end {
                let topic = axis.name().to_owned();
                return Err(LogError::OutOfRange { topic, partition, wanted, first, end });
            }
        }
        let mut fetched = Fetched { next: from, end: self.end, records: Vec::new() };
        let mut bytes = 0;
        for held in self.records.iter().filter(|held| held.offset >= from.of(held.axis)) {
            bytes += held.record.value.len();
            if bytes > bytes_max && !fetched.records.is_empty() {
                break;
            }
            fetched.next.set(held.axis, held.offset + 1);
            fetched.records.push(held.clone());
        }
        Ok(fetched)
    }
}

#[async_trait]
impl RecordLog for MemoryLog {
    async fn partitions(&self) -> Result<u32, LogError> {
        Ok(PARTITIONS)
    }

    async fn produce(&self, partition: u32, records: &[(Axis, RawRecord)]) -> Result<(), LogError> {
        if let Some(index) = records.iter().position(|(_, record)| record.value.len() > RECORD_BYTES_MAX) {
            return Err(LogError::TooLarge { index, reason: format!("{RECORD_BYTES_MAX} bytes at most") });
        }
        let mut held = self.held.lock().unwrap();
        let partition = held.partitions.entry(partition).or_default();
        for (axis, record) in records {
            partition.push(*axis, record.clone());
        }
        self.changed.notify_waiters();
        Ok(())
    }

    async fn produce_dead_letters(&self, letters: &[RawRecord]) -> Result<(), LogError> {
        self.held.lock().unwrap().letters.extend(letters.iter().cloned());
        Ok(())
    }

    async fn fetch(
        &self,
        partition: u32,
        from: Position,
        bytes_max: usize,
        wait_max: Duration,
    ) -> Result<Fetched, LogError> {
        let deadline = tokio::time::Instant::now() + wait_max;
        loop {
            // Wakes in the order of waiting, which a watch channel does not: simulations run on this.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let fetched = {
                let mut held = self.held.lock().unwrap();
                held.partitions.entry(partition).or_default().fetch(partition, from, bytes_max)?
            };
            if !fetched.records.is_empty() || tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Ok(fetched);
            }
        }
    }

    async fn bounds(&self, partition: u32) -> Result<(Position, Position), LogError> {
        let mut held = self.held.lock().unwrap();
        let partition = held.partitions.entry(partition).or_default();
        Ok((partition.first, partition.end))
    }

    async fn dead_letters(&self, cursor: Option<&str>, letters_max: usize) -> Result<DeadLetterPage, LogError> {
        let held = self.held.lock().unwrap();
        let from = cursor.map_or(0, |cursor| cursor.parse::<usize>().unwrap());
        let stored = |(index, record): (usize, &RawRecord)| StoredDeadLetter {
            cursor: (index + 1).to_string(),
            id: record.id().map(|id| id.to_string()),
            letter: serde_json::from_slice(&record.value).unwrap(),
        };
        let letters: Vec<_> = held.letters.iter().enumerate().skip(from).take(letters_max).map(stored).collect();
        let more = from + letters.len() < held.letters.len();
        let next = letters.last().filter(|_| more).map(|last| last.cursor.clone());
        Ok(DeadLetterPage { letters, next })
    }

    async fn probe(&self) -> Result<BackendInfo, LogError> {
        Ok(BackendInfo { version: "memory".to_owned(), advice: Vec::new() })
    }
}
