//! The journal: what was acknowledged to devices and not yet by Kafka. A file, in every mode.

use async_trait::async_trait;

/// An accepted MQTT message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRecord {
    pub topic: String,
    pub payload: Vec<u8>,
    pub traceparent: Option<String>,
    /// Packet identifier of the delivery, if the link is one to a broker that keeps our session.
    pub packet_id: Option<u16>,
    /// Delivered with DUP, and not found in the journal's tail.
    pub redelivered: bool,
    /// Fencing epoch of the ingest lease under which it was accepted.
    pub ingest_epoch: u64,
    /// Milliseconds since 1970.
    pub received_ms: i64,
}

/// A record with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Counts from 1, +1 each, across restarts.
    pub sequence: u64,
    pub record: JournalRecord,
}

/// How full the journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalDepth {
    /// Records that Kafka has not acknowledged.
    pub records: u64,
    /// Bytes on disk.
    pub bytes: u64,
    pub bytes_max: u64,
    /// Set while appending is refused: the limit, or the disk.
    pub full: bool,
}

/// An append-only file of accepted messages, read once in order by the producer.
///
/// Invariants: what `append` returned survives kill -9 (in mode `power`, once `durable` returned: a power cut); sequences have no gap and
/// grow across restarts; `commit` never passes what was appended; a torn tail is cut off, a broken record before the tail is an error
/// that names file and byte.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Identity of this journal, `[a-z0-9]{1,32}`, made with the directory: the origin in `orinoco-id`.
    fn id(&self) -> &str;

    /// Appends without waiting; returns the sequence. Order of appends is order of sequences.
    ///
    /// # Errors
    /// [`JournalError::Full`], [`JournalError::Io`]: nothing was appended.
    fn append(&self, record: &JournalRecord) -> Result<u64, JournalError>;

    /// Waits until `sequence` is as safe as the journal's mode promises: at once in `process`, after an fsync (one for all who
    /// wait) in `power`.
    ///
    /// # Errors
    /// [`JournalError::Io`]: it may not be on disk and must not be acknowledged. The record stays where it is, so who tries again must
    /// not append it again.
    async fn durable(&self, sequence: u64) -> Result<(), JournalError>;

    /// `durable` for a thread that may block.
    ///
    /// # Errors
    /// As [`Journal::durable`].
    fn durable_blocking(&self, sequence: u64) -> Result<(), JournalError>;

    /// Blocks a thread until appending may succeed again, or `wait_max` is over.
    fn wait_for_room_blocking(&self, wait_max: std::time::Duration);

    /// Records after `sequence`, in order, of at most `bytes_max` bytes (but one at least, where there is one).
    ///
    /// # Errors
    /// [`JournalError::Corrupt`], [`JournalError::Io`].
    fn read_after(&self, sequence: u64, bytes_max: usize) -> Result<Vec<JournalEntry>, JournalError>;

    /// The last records that were appended, committed or not, oldest first: what a redelivery is compared with.
    fn tail(&self, records_max: usize) -> Vec<JournalEntry>;

    /// Waits until a record after `sequence` exists. Cancel safe.
    async fn wait_after(&self, sequence: u64);

    /// All up to `sequence` (inclusive) is safe in Kafka; remembered across restarts (at the latest a second later), space is given back.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    fn commit(&self, sequence: u64) -> Result<(), JournalError>;

    /// The last committed sequence; 0 at first. After a restart it may lie a little behind, never ahead.
    fn committed(&self) -> u64;

    fn depth(&self) -> JournalDepth;
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The limit is reached: stop acknowledging, try again when there is room.
    #[error("journal holds {bytes} bytes, journal.bytes_max is {bytes_max}")]
    Full { bytes: u64, bytes_max: u64 },
    /// The disk: stop acknowledging, try again.
    #[error("journal {path}: {source}")]
    Io { path: String, source: std::io::Error },
    /// Not a torn tail: somebody must look.
    #[error(
        "journal {path} is damaged at byte {at}: {reason}; restore it from a copy, or move it away to go on without its records"
    )]
    Corrupt { path: String, at: u64, reason: String },
}
