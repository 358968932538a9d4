//! The coordinate store as an SQLite file: positions, marks, device states, latest values, bounded history; and publication in memory.
//!
//! All SQL runs in two threads of its own, behind bounded queues: one writes, one reads older history. A batch is appended as one row;
//! what many batches did to a device goes to its place in the tables later, at once (see `fold`). Until then it is in memory too, with
//! the latest values, so that a snapshot or a short resume asks nobody.
//!
//! Invariants: a batch is one transaction, seen whole or not at all. It survives kill -9: the write-ahead log is in the operating
//! system's hands when `apply` returns. A power cut may take the last transactions (`synchronous = NORMAL`), each whole: then the
//! position goes back together with the data, and the record log is read again from there. What is published was committed before.

mod batch;
mod fold;
mod history;
mod memory;
mod publish;
mod renewal;
mod schema;
mod standing;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

use async_trait::async_trait;
use orinoco_domain::DeviceId;
use orinoco_ports::{
    Applied, BackendInfo, Batch, CoordinateStore, HistoryPage, PartitionState, SnapshotEntry, SnapshotPage, StoreError,
    Subscription,
};
use tokio::sync::{mpsc, oneshot};

use self::{
    batch::EncodedBatch,
    history::HistoryRequest,
    memory::{HistoryView, Memory},
    publish::Publications,
    writer::WriteRequest,
};
pub(crate) use self::{renewal::renew_epochs, schema::database};

/// Limits of a store.
#[derive(Debug, Clone, Copy)]
pub struct SqliteStoreOptions {
    /// Calls that may wait for a thread; further ones wait for their turn. Default 64.
    pub requests_max: usize,
    /// Publications that a subscriber may be behind, before its subscription ends. Default 256.
    pub publications_max: usize,
    /// Bytes of batches, a partition, that wait to be put in their places; they are in memory as well. Default 8 MiB.
    pub recent_bytes_max: usize,
}

impl Default for SqliteStoreOptions {
    fn default() -> Self {
        Self { requests_max: 64, publications_max: 256, recent_bytes_max: 8 << 20 }
    }
}

/// The embedded coordinate store. One to a file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    writer: Option<mpsc::Sender<WriteRequest>>,
    reader: Option<mpsc::Sender<HistoryRequest>>,
    threads: Vec<JoinHandle<()>>,
    memory: Arc<Memory>,
    publications: Arc<Publications>,
}

impl SqliteStore {
    /// Opens the database file `path`, made if missing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; [`StoreError::Corrupt`] where it is damaged, or of another version.
    pub fn open(path: &Path, options: SqliteStoreOptions) -> Result<Self, StoreError> {
        let place = path.display().to_string();
        let connection = schema::open_for_writing(path)?;
        let memory = Arc::new(Memory::default());
        let publications = Arc::new(Publications::new(options.publications_max, place.clone()));
        let mut writer = writer::Writer::new(
            connection,
            place.clone(),
            Arc::clone(&memory),
            Arc::clone(&publications),
            options.recent_bytes_max,
        );
        writer.load_all()?;
        let connection = schema::open_for_reading(path)?;
        let mut reader = history::Reader::new(connection, place.clone());
        let (write_sender, mut write_receiver) = mpsc::channel(options.requests_max);
        let (read_sender, mut read_receiver) = mpsc::channel(options.requests_max);
        let threads = vec![
            spawn("orinoco-store-w", &place, move || {
                while let Some(request) = write_receiver.blocking_recv() {
                    writer.serve(request);
                }
            })?,
            spawn("orinoco-store-r", &place, move || {
                while let Some(request) = read_receiver.blocking_recv() {
                    reader.serve(request);
                }
            })?,
        ];
        Ok(Self {
            path: path.to_owned(),
            writer: Some(write_sender),
            reader: Some(read_sender),
            threads,
            memory,
            publications,
        })
    }

    async fn write<T>(&self, request: impl FnOnce(Reply<T>) -> WriteRequest) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(self.writer.as_ref(), request(reply), answer).await
    }

    async fn ask<R, T>(
        &self,
        thread: Option<&mpsc::Sender<R>>,
        request: R,
        answer: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let ended = || StoreError::Unavailable {
            place: self.path.display().to_string(),
            reason: "its thread has ended".to_owned(),
        };
        thread.ok_or_else(ended)?.send(request).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

/// Tries to read history from one epoch.
const TRIES_MAX: usize = 5;

/// Where an answer goes. Nobody waits for it where the caller gave up.
type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

fn spawn(name: &str, place: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map_err(|error| StoreError::Unavailable { place: place.to_owned(), reason: error.to_string() })
}

impl Drop for SqliteStore {
    /// Waits for what is under way, so that the file can be opened anew at once.
    fn drop(&mut self) {
        self.writer = None;
        self.reader = None;
        for thread in self.threads.drain(..) {
            // It only ends early by a panic, which has been reported.
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl CoordinateStore for SqliteStore {
    async fn load(&self, partition: u32, fence: u64) -> Result<PartitionState, StoreError> {
        self.write(|reply| WriteRequest::Load { partition, fence, reply }).await
    }

    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        let batch = EncodedBatch::new(batch);
        self.write(|reply| WriteRequest::Apply { batch, reply }).await
    }

    async fn epoch(&self, partition: u32) -> Result<Arc<str>, StoreError> {
        match self.memory.epoch(partition) {
            Some(epoch) => Ok(epoch),
            None => self.write(|reply| WriteRequest::Epoch { partition, reply }).await,
        }
    }

    async fn reset(&self, partition: u32, fence: u64) -> Result<(), StoreError> {
        self.write(|reply| WriteRequest::Reset { partition, fence, reply }).await
    }

    async fn snapshot(
        &self,
        partition: u32,
        cursor: Option<&str>,
        entries_max: usize,
    ) -> Result<SnapshotPage, StoreError> {
        self.epoch(partition).await?;
        Ok(self.memory.snapshot(partition, cursor, entries_max))
    }

    async fn latest(&self, partition: u32, device: &DeviceId) -> Result<Option<SnapshotEntry>, StoreError> {
        Ok(self.memory.latest(partition, device))
    }

    async fn history(
        &self,
        partition: u32,
        device: &DeviceId,
        after: u64,
        frames_max: usize,
    ) -> Result<HistoryPage, StoreError> {
        // A new epoch in between makes for another try; it is rare.
        for _ in 0..TRIES_MAX {
            let (page, before) = match self.memory.history(partition, device, after, frames_max) {
                Some(HistoryView::Whole(page)) => return Ok(page),
                Some(HistoryView::Rest { page, before }) => (page, before),
                None => {
                    self.epoch(partition).await?;
                    continue;
                }
            };
            let start = after.saturating_add(1).max(page.first);
            let (reply, answer) = oneshot::channel();
            let (device, epoch) = (device.clone(), Arc::clone(&page.epoch));
            let request = HistoryRequest { partition, epoch, device, start, before, frames_max, reply };
            if let Some(older) = self.ask(self.reader.as_ref(), request, answer).await? {
                return Ok(history::join(page, older, start, before, frames_max));
            }
        }
        let reason = "its history begins anew again and again".to_owned();
        Err(StoreError::Unavailable { place: self.path.display().to_string(), reason })
    }

    async fn subscribe(&self, partition: u32) -> Result<Box<dyn Subscription>, StoreError> {
        Ok(self.publications.subscribe(partition))
    }

    async fn probe(&self) -> Result<BackendInfo, StoreError> {
        self.write(|reply| WriteRequest::Probe { reply }).await
    }
}
