//! The coordinate store as an SQLite file: positions, marks, device states, latest values, bounded history; and publication in memory.
//!
//! All SQL runs in two threads of its own, behind bounded queues: one writes, one reads history. Latest values are held in memory too,
//! so that a snapshot asks nobody.
//!
//! Invariants: a batch is one transaction, seen whole or not at all. It survives kill -9: the write-ahead log is in the operating
//! system's hands when `apply` returns. A power cut may take the last transactions (`synchronous = NORMAL`), each whole: then the
//! position goes back together with the data, and the record log is read again from there. What is published was committed before.

mod apply;
mod batch;
mod history;
mod publish;
mod schema;
mod shown;
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

use self::{batch::EncodedBatch, history::HistoryRequest, publish::Publications, shown::Shown, writer::WriteRequest};

/// Limits of a store.
#[derive(Debug, Clone, Copy)]
pub struct SqliteStoreOptions {
    /// Calls that may wait for a thread; further ones wait for their turn. Default 64.
    pub requests_max: usize,
    /// Publications that a subscriber may be behind, before its subscription ends. Default 256.
    pub publications_max: usize,
}

impl Default for SqliteStoreOptions {
    fn default() -> Self {
        Self { requests_max: 64, publications_max: 256 }
    }
}

/// The embedded coordinate store. One to a file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    writer: Option<mpsc::Sender<WriteRequest>>,
    reader: Option<mpsc::Sender<HistoryRequest>>,
    threads: Vec<JoinHandle<()>>,
    shown: Arc<Shown>,
    publications: Arc<Publications>,
}

impl SqliteStore {
    /// Opens the database file `path`, made if missing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; [`StoreError::Corrupt`] where it is damaged, or of another version.
    pub fn open(path: &Path, options: SqliteStoreOptions) -> Result<Self, StoreError> {
        let place = path.display().to_string();
        let failed = |error| schema::error_at(&place, &error);
        let connection = schema::open_for_writing(path)?;
        let shown = Arc::new(Shown::default());
        let publications = Arc::new(Publications::new(options.publications_max, place.clone()));
        let mut writer = writer::Writer::new(connection, place.clone(), Arc::clone(&shown), Arc::clone(&publications));
        writer.load_all()?;
        let connection = schema::open_for_reading(path).map_err(failed)?;
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
            shown,
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
        match self.shown.epoch(partition) {
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
        Ok(self.shown.snapshot(partition, cursor, entries_max))
    }

    async fn latest(&self, partition: u32, device: &DeviceId) -> Result<Option<SnapshotEntry>, StoreError> {
        Ok(self.shown.latest(partition, device))
    }

    async fn history(
        &self,
        partition: u32,
        device: &DeviceId,
        after: u64,
        frames_max: usize,
    ) -> Result<HistoryPage, StoreError> {
        self.epoch(partition).await?;
        let (reply, answer) = oneshot::channel();
        let request = HistoryRequest { partition, device: device.clone(), after, frames_max, reply };
        self.ask(self.reader.as_ref(), request, answer).await
    }

    async fn subscribe(&self, partition: u32) -> Result<Box<dyn Subscription>, StoreError> {
        Ok(self.publications.subscribe(partition))
    }

    async fn probe(&self) -> Result<BackendInfo, StoreError> {
        self.write(|reply| WriteRequest::Probe { reply }).await
    }
}
