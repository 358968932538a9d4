//! A journal in memory: the suite runs on it, and so do tests of what uses the port.

use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::watch;

use super::JournalFactory;
use crate::{Journal, JournalDepth, JournalEntry, JournalError, JournalRecord};

const TAIL_MAX: usize = 2_000;

pub struct MemoryJournals {
    id: Arc<str>,
    held: Arc<Mutex<Held>>,
}

impl Default for MemoryJournals {
    fn default() -> Self {
        Self::named("memory")
    }
}

impl MemoryJournals {
    /// A journal of this identity, `[a-z0-9]{1,32}`.
    #[must_use]
    pub fn named(id: &str) -> Self {
        Self { id: id.into(), held: Arc::default() }
    }
}

#[derive(Default, Clone)]
struct Held {
    entries: Vec<JournalEntry>,
    tail: Vec<JournalEntry>,
    last: u64,
    committed: u64,
    bytes: u64,
    full: bool,
}

struct MemoryJournal {
    id: Arc<str>,
    held: Arc<Mutex<Held>>,
    bytes_max: u64,
    last: watch::Sender<u64>,
    room: Condvar,
}

impl MemoryJournal {
    fn open(id: &Arc<str>, held: Arc<Mutex<Held>>, bytes_max: u64) -> Arc<dyn Journal> {
        let last = watch::Sender::new(held.lock().unwrap().last);
        held.lock().unwrap().full = false;
        Arc::new(Self { id: Arc::clone(id), held, bytes_max, last, room: Condvar::new() })
    }
}

#[async_trait]
impl JournalFactory for MemoryJournals {
    async fn open(&self, bytes_max: u64) -> Arc<dyn Journal> {
        MemoryJournal::open(&self.id, Arc::clone(&self.held), bytes_max)
    }

    async fn open_as_after_kill(&self, bytes_max: u64) -> Arc<dyn Journal> {
        MemoryJournal::open(&self.id, Arc::new(Mutex::new(self.held.lock().unwrap().clone())), bytes_max)
    }
}

fn bytes_of(record: &JournalRecord) -> u64 {
    (record.topic.len() + record.payload.len() + 64) as u64
}

#[async_trait]
impl Journal for MemoryJournal {
    fn id(&self) -> &str {
        &self.id
    }

    fn append(&self, record: &JournalRecord) -> Result<u64, JournalError> {
        let mut held = self.held.lock().unwrap();
        if held.bytes + bytes_of(record) > self.bytes_max {
            held.full = true;
            return Err(JournalError::Full { bytes: held.bytes, bytes_max: self.bytes_max });
        }
        held.last += 1;
        held.bytes += bytes_of(record);
        let entry = JournalEntry { sequence: held.last, record: record.clone() };
        held.entries.push(entry.clone());
        held.tail.push(entry);
        if held.tail.len() >= 2 * TAIL_MAX {
            held.tail.drain(..TAIL_MAX);
        }
        self.last.send_replace(held.last);
        Ok(held.last)
    }

    async fn durable(&self, _sequence: u64) -> Result<(), JournalError> {
        Ok(())
    }

    fn durable_blocking(&self, _sequence: u64) -> Result<(), JournalError> {
        Ok(())
    }

    fn wait_for_room_blocking(&self, wait_max: Duration) {
        let held = self.held.lock().unwrap();
        drop(self.room.wait_timeout_while(held, wait_max, |held| held.full).unwrap());
    }

    fn read_after(&self, sequence: u64, bytes_max: usize) -> Result<Vec<JournalEntry>, JournalError> {
        let held = self.held.lock().unwrap();
        let mut bytes = 0;
        let mut entries = Vec::new();
        let from = held.entries.partition_point(|entry| entry.sequence <= sequence);
        for entry in &held.entries[from..] {
            bytes += bytes_of(&entry.record);
            if bytes > bytes_max as u64 && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn tail(&self, records_max: usize) -> Vec<JournalEntry> {
        let tail = &self.held.lock().unwrap().tail;
        tail[tail.len().saturating_sub(records_max)..].to_vec()
    }

    async fn wait_after(&self, sequence: u64) {
        _ = self.last.subscribe().wait_for(|last| *last > sequence).await;
    }

    fn commit(&self, sequence: u64) -> Result<(), JournalError> {
        let mut held = self.held.lock().unwrap();
        held.committed = sequence.clamp(held.committed, held.last);
        let gone = held.entries.partition_point(|entry| entry.sequence <= held.committed);
        held.entries.drain(..gone);
        held.bytes = held.entries.iter().map(|entry| bytes_of(&entry.record)).sum();
        held.full = false;
        self.room.notify_all();
        Ok(())
    }

    fn committed(&self) -> u64 {
        self.held.lock().unwrap().committed
    }

    fn depth(&self) -> JournalDepth {
        let held = self.held.lock().unwrap();
        let records = held.last - held.committed;
        JournalDepth { records, bytes: held.bytes, bytes_max: self.bytes_max, full: held.full }
    }
}
