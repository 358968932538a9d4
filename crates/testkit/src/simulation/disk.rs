//! The disk below a daemon's journal: it can be full, fail, or take its time.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use orinoco_ports::{Journal, JournalDepth, JournalEntry, JournalError, JournalRecord};
use tokio::time::{Instant, sleep};

use super::DiskTrouble;

/// What one sync takes on a slow disk.
const SLOW_SYNC: Duration = Duration::from_millis(300);

/// See the module. It stays as it is when its daemon is started anew.
#[derive(Default)]
pub struct Disk(Mutex<Option<(DiskTrouble, Instant)>>);

impl Disk {
    /// In place of the trouble that it has.
    pub fn trouble(&self, trouble: DiskTrouble, time: Duration) {
        *self.state() = Some((trouble, Instant::now() + time));
    }

    /// All is well from now on.
    pub fn heal(&self) {
        *self.state() = None;
    }

    fn now(&self) -> Option<DiskTrouble> {
        self.state().filter(|(_, until)| *until > Instant::now()).map(|(trouble, _)| trouble)
    }

    fn is_broken(&self) -> bool {
        self.now() == Some(DiskTrouble::Broken)
    }

    /// Whether what was asked of the disk can be done.
    fn works(&self) -> Result<(), JournalError> {
        if self.is_broken() { Err(failure()) } else { Ok(()) }
    }

    fn state(&self) -> MutexGuard<'_, Option<(DiskTrouble, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failure() -> JournalError {
    JournalError::Io { path: "simulated".to_owned(), source: io::Error::other("the disk fails") }
}

/// A journal on a [`Disk`].
pub struct JournalOnDisk {
    near: Arc<dyn Journal>,
    disk: Arc<Disk>,
}

impl JournalOnDisk {
    #[must_use]
    pub fn new(near: Arc<dyn Journal>, disk: &Arc<Disk>) -> Self {
        Self { near, disk: Arc::clone(disk) }
    }
}

#[async_trait]
impl Journal for JournalOnDisk {
    fn id(&self) -> &str {
        self.near.id()
    }

    fn append(&self, record: &JournalRecord) -> Result<u64, JournalError> {
        self.disk.works()?;
        if self.disk.now() == Some(DiskTrouble::Full) {
            let JournalDepth { bytes, bytes_max, .. } = self.near.depth();
            return Err(JournalError::Full { bytes, bytes_max });
        }
        self.near.append(record)
    }

    async fn durable(&self, sequence: u64) -> Result<(), JournalError> {
        match self.disk.now() {
            Some(DiskTrouble::Slow) => sleep(SLOW_SYNC).await,
            Some(DiskTrouble::Unsynced) => return Err(failure()),
            _ => {}
        }
        self.disk.works()?;
        self.near.durable(sequence).await
    }

    fn durable_blocking(&self, sequence: u64) -> Result<(), JournalError> {
        self.disk.works()?;
        self.near.durable_blocking(sequence)
    }

    fn wait_for_room_blocking(&self, wait_max: Duration) {
        self.near.wait_for_room_blocking(wait_max);
    }

    fn read_after(&self, sequence: u64, bytes_max: usize) -> Result<Vec<JournalEntry>, JournalError> {
        self.disk.works()?;
        self.near.read_after(sequence, bytes_max)
    }

    fn tail(&self, records_max: usize) -> Vec<JournalEntry> {
        self.near.tail(records_max)
    }

    async fn wait_after(&self, sequence: u64) {
        self.near.wait_after(sequence).await;
    }

    fn commit(&self, sequence: u64) -> Result<(), JournalError> {
        self.disk.works()?;
        self.near.commit(sequence)
    }

    fn committed(&self) -> u64 {
        self.near.committed()
    }

    fn depth(&self) -> JournalDepth {
        let mut depth = self.near.depth();
        depth.full |= self.disk.is_broken() || self.disk.now() == Some(DiskTrouble::Full);
        depth
    }
}
