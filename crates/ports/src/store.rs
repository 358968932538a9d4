//! Coordinates: latest values, bounded history, publication. Redis "WS", or files of our own.
//!
//! Invariants: a batch is applied whole or not at all, together with the position in the log that it leads to; a batch from an older owner
//! (`fence`), or one that does not start where the store stands (`revision`, `from`), changes nothing.

use std::sync::Arc;

use async_trait::async_trait;
use orinoco_domain::{DeviceId, Frame, Position, pairing::DeviceState};

use crate::BackendInfo;

/// All that a writer must know to go on with a partition.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PartitionState {
    /// Where the log is to be read on.
    pub position: Position,
    /// +1 with each applied batch.
    pub revision: u64,
    /// The stream epoch: made before any data, the same until history is lost. `[a-z0-9]{1,32}`.
    pub epoch: Arc<str>,
    /// Highest sequence applied, by mark key (axis and origin).
    pub marks: Vec<(String, u64)>,
    pub devices: Vec<(DeviceId, DeviceState)>,
}

/// What a batch does to one device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceUpdate {
    pub device: DeviceId,
    pub state: DeviceState,
    /// For history and publication, offsets rising by 1.
    pub frames: Vec<PublishedFrame>,
}

impl DeviceUpdate {
    /// The device's latest value from now on, if the batch changes it.
    #[must_use]
    pub fn latest(&self) -> Option<&Frame> {
        self.frames.iter().rev().find(|published| published.is_latest).map(|published| &published.frame)
    }
}

/// A frame, and whether it is its device's latest value (late ones are not).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedFrame {
    pub frame: Frame,
    pub is_latest: bool,
}

/// One atomic step of a partition.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    pub partition: u32,
    /// Epoch of the owner's lease.
    pub fence: u64,
    /// The revision that the writer saw last; the store has it + 1 afterwards.
    pub revision: u64,
    pub from: Position,
    /// Equal to `from` where the clock, not a record, led to the batch.
    pub to: Position,
    /// Marks that changed.
    pub marks: Vec<(String, u64)>,
    /// One entry a device at most.
    pub devices: Vec<DeviceUpdate>,
    /// Frames to keep a device (`stream.history_max`).
    pub history_max: usize,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    Done,
    /// The store stands elsewhere; nothing changed. Load it again and go on from there.
    Conflict {
        revision: u64,
        position: Position,
    },
    /// A newer owner was there; nothing changed. Stop.
    Fenced {
        fence: u64,
    },
}

/// Frames that a batch led to, as published. At most once, in order: a gap in a device's offsets is filled from history.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    pub partition: u32,
    pub epoch: Arc<str>,
    pub frames: Vec<PublishedFrame>,
}

/// A running subscription to one partition's publications.
#[async_trait]
pub trait Subscription: Send + 'static {
    /// The next publication. Cancel safe.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the subscription has ended, publications may have been missed; subscribe anew.
    async fn next(&mut self) -> Result<Publication, StoreError>;
}

#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotEntry {
    pub latest: Frame,
    /// Offset of the last CoordinateData; above `latest.offset` where late ones followed.
    pub head: u64,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct SnapshotPage {
    pub epoch: Arc<str>,
    /// In no particular order.
    pub entries: Vec<SnapshotEntry>,
    /// Opaque; `None` after the last page.
    pub next: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct HistoryPage {
    pub epoch: Arc<str>,
    /// Offsets rising by 1; all above the `after` that was asked for.
    pub frames: Vec<Frame>,
    /// First offset that history still holds (or would hold next, where it is empty).
    pub first: u64,
    /// Offset of the device's last CoordinateData; 0 before any.
    pub head: u64,
}

#[async_trait]
pub trait CoordinateStore: Send + Sync + 'static {
    /// Everything of a partition, for a writer with lease epoch `fence`; from then on a lower one is fenced off. Makes the stream epoch
    /// of a partition that has none.
    ///
    /// # Errors
    /// [`StoreError`]; `Fenced` where a newer owner was there.
    async fn load(&self, partition: u32, fence: u64) -> Result<PartitionState, StoreError>;

    /// One atomic step.
    ///
    /// # Errors
    /// [`StoreError`]: it is not known whether the batch was applied; `load` tells.
    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError>;

    /// The stream epoch, made if there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn epoch(&self, partition: u32) -> Result<Arc<str>, StoreError>;

    /// Begins a new stream epoch: history was lost and positions of before mean nothing any more. Devices, history, marks and position
    /// are cleared.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn reset(&self, partition: u32, fence: u64) -> Result<(), StoreError>;

    /// Latest values of the partition, a page at a time; a device may appear twice where values change meanwhile, none is left out.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn snapshot(
        &self,
        partition: u32,
        cursor: Option<&str>,
        entries_max: usize,
    ) -> Result<SnapshotPage, StoreError>;

    /// The latest value of a device; `None` where it has none.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn latest(&self, partition: u32, device: &DeviceId) -> Result<Option<SnapshotEntry>, StoreError>;

    /// Frames of a device after offset `after`, oldest first, `frames_max` at most.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn history(
        &self,
        partition: u32,
        device: &DeviceId,
        after: u64,
        frames_max: usize,
    ) -> Result<HistoryPage, StoreError>;

    /// # Errors
    /// [`StoreError`].
    async fn subscribe(&self, partition: u32) -> Result<Box<dyn Subscription>, StoreError>;

    /// # Errors
    /// [`StoreError`].
    async fn probe(&self) -> Result<BackendInfo, StoreError>;
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Try again later.
    #[error("coordinate store {place} can't be reached: {reason}")]
    Unavailable { place: String, reason: String },
    /// A newer owner was there: stop.
    #[error("partition has a newer owner, lease epoch {fence}")]
    Fenced { fence: u64 },
    /// What is stored can't be understood: somebody must look.
    #[error("coordinate store {place} holds what can't be read: {reason}")]
    Corrupt { place: String, reason: String },
}
