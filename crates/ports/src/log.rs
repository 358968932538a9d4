//! The log of records: Kafka, or files of our own. Topics `coordX`, `coordY` (same partition count) and the dead letters.

use std::time::Duration;

use async_trait::async_trait;
use orinoco_domain::{Axis, DeadLetter, Position, RawRecord};

use crate::BackendInfo;

/// A record with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedRecord {
    pub axis: Axis,
    pub offset: i64,
    pub record: RawRecord,
}

/// What one fetch of a partition of both topics brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fetched {
    /// Per axis in order of offset; across the axes in order of `orinoco-id` where both were written from one journal, else of the
    /// records' times. An embedded log keeps the order of writing exactly.
    pub records: Vec<FetchedRecord>,
    /// Where the next fetch starts. May pass offsets that held nothing (compaction, control records).
    pub next: Position,
    /// The end of the log, exclusive: `next` lags behind by so much.
    pub end: Position,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDeadLetter {
    /// Position in the list: opaque, grows, unique.
    pub cursor: String,
    /// The header `orinoco-id`.
    pub id: Option<String>,
    pub letter: DeadLetter,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetterPage {
    pub letters: Vec<StoredDeadLetter>,
    /// Where the next page starts; `None` after the last.
    pub next: Option<String>,
}

#[async_trait]
pub trait RecordLog: Send + Sync + 'static {
    /// Partition count of `coordX` and `coordY`; makes missing topics if configured to.
    ///
    /// # Errors
    /// [`LogError::Unavailable`], [`LogError::Misconfigured`] (topic missing, counts differ).
    async fn partitions(&self) -> Result<u32, LogError>;

    /// Appends to partition `partition` of both topics, in order per axis, acknowledged by all in-sync replicas. One call in flight a
    /// partition. After an error any prefix per axis may have been written: the caller repeats the identical call, readers
    /// de-duplicate by `orinoco-id`.
    ///
    /// # Errors
    /// [`LogError`]. `TooLarge` names the record that can never be written; nothing of the call needs to have been.
    async fn produce(&self, partition: u32, records: &[(Axis, RawRecord)]) -> Result<(), LogError>;

    /// Appends dead letters, acknowledged likewise.
    ///
    /// # Errors
    /// As [`RecordLog::produce`].
    async fn produce_dead_letters(&self, letters: &[RawRecord]) -> Result<(), LogError>;

    /// Records of both topics from `from` on, about `bytes_max` bytes at most, waiting up to `wait_max` for the first one.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] where `from` lies before the first or behind the last offset.
    async fn fetch(
        &self,
        partition: u32,
        from: Position,
        bytes_max: usize,
        wait_max: Duration,
    ) -> Result<Fetched, LogError>;

    /// First offsets held, and the end (exclusive).
    ///
    /// # Errors
    /// [`LogError`].
    async fn bounds(&self, partition: u32) -> Result<(Position, Position), LogError>;

    /// Dead letters after `cursor` (from the first on where `None`), oldest first.
    ///
    /// # Errors
    /// [`LogError`].
    async fn dead_letters(&self, cursor: Option<&str>, letters_max: usize) -> Result<DeadLetterPage, LogError>;

    /// # Errors
    /// [`LogError`] where the backend can't be reached.
    async fn probe(&self) -> Result<BackendInfo, LogError>;
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Try again later.
    #[error("record log {place} can't be reached: {reason}")]
    Unavailable { place: String, reason: String },
    /// Data was lost, or the topic was made anew: alarm, then the configured policy.
    #[error("{topic}/{partition}: offset {wanted} is out of range, the log holds {first} to {end} (exclusive)")]
    OutOfRange { topic: String, partition: u32, wanted: i64, first: i64, end: i64 },
    /// This one record can never be written: a dead letter.
    #[error("record {index} of the call is too large: {reason}")]
    TooLarge { index: usize, reason: String },
    /// Somebody must mend the configuration or the topics.
    #[error("{0}")]
    Misconfigured(String),
}
