//! The record log as files: a Kafka of our own, for one daemon.
//!
//! ```text
//! log/meta.json            partition count, fixed when the log is made      log/run.json            see `power`
//! log/partition-3/         records of both axes, in the order of writing    log/dead-letters/       coord.dlq
//! ```
//! A partition of both topics is one segmented file: each record says its axis and its offset on that axis. So a fetch keeps the exact
//! order of writing, and the ordinal of a record is the sum of the two positions before it.
//!
//! Invariants: what `produce` returned from survives kill -9 (with [`Durability::Power`] a power cut); offsets grow across restarts and
//! are never used twice; retention removes whole segments from the front and nothing else.

mod dead_letters;
mod partition;
mod read;
mod record;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use orinoco_domain::{Axis, Position, RawRecord};
use orinoco_ports::{BackendInfo, DeadLetterPage, Fetched, LogError, RecordLog};
use serde::{Deserialize, Serialize};

pub use self::dead_letters::DeadLetterReader;
use self::{dead_letters::DeadLetterFile, partition::Partition};
pub use crate::journal::Durability;
use crate::{files, power::RunMark, segment::SegmentError};

/// The largest record that `produce` takes, encoded: Kafka's default for `message.max.bytes`.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// Limits of a log.
#[derive(Debug, Clone, Copy)]
pub struct FileLogOptions {
    /// Partitions of `coordX` and `coordY`, 1 or more. Default 4.
    pub partitions: u32,
    pub durability: Durability,
    /// Bytes that a partition (of both topics together), or the dead letters, may hold; the oldest go first. Default 256 MiB.
    pub retention_bytes: u64,
    /// Size of one file, bytes: what goes at once. An eighth of `retention_bytes` at most. Default 16 MiB.
    pub segment_bytes_max: u64,
    /// Age after which records go, ms. Default 7 days.
    pub retention_ms: u64,
    /// Recent records of a partition that are held in memory as well, bytes. Default 1 MiB.
    pub tail_bytes_max: usize,
}

impl Default for FileLogOptions {
    fn default() -> Self {
        Self {
            partitions: 4,
            durability: Durability::Process,
            retention_bytes: 256 << 20,
            segment_bytes_max: 16 << 20,
            retention_ms: 7 * 24 * 60 * 60 * 1000,
            tail_bytes_max: 1 << 20,
        }
    }
}

/// The embedded log. One to a directory.
#[derive(Debug)]
pub struct FileLog {
    directory: PathBuf,
    partitions: Vec<Arc<Partition>>,
    dead_letters: Arc<DeadLetterFile>,
    run_mark: RunMark,
}

/// `meta.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    version: u32,
    partitions: u32,
}

const VERSION: u32 = 1;

impl FileLog {
    /// Opens the log in `directory`, made if missing.
    ///
    /// # Errors
    /// [`LogError::Unavailable`]; [`LogError::Misconfigured`] where it is damaged, or was made with another count of partitions.
    pub fn open(directory: &Path, options: FileLogOptions) -> Result<Self, LogError> {
        let failed = |source: io::Error| unavailable(directory, &source);
        files::create_directory(directory).map_err(failed)?;
        agree_on_meta(directory, options.partitions)?;
        let power_was_lost = RunMark::tells_of_power_loss(directory).map_err(failed)?;
        let open_partition = |number| {
            let path = directory.join(format!("partition-{number}"));
            Partition::open(&path, number, options, power_was_lost).map(Arc::new)
        };
        let partitions = (0..options.partitions).map(open_partition).collect::<Result<_, SegmentError>>()?;
        let dead_letters = DeadLetterFile::open(&dead_letters::directory_in(directory), options, power_was_lost)?;
        let run_mark = RunMark::begin(directory).map_err(failed)?;
        Ok(Self { directory: directory.to_owned(), partitions, dead_letters: Arc::new(dead_letters), run_mark })
    }

    fn partition(&self, number: u32) -> Result<&Arc<Partition>, LogError> {
        self.partitions.get(number as usize).ok_or_else(|| {
            LogError::Misconfigured(format!("there is no partition {number}, the log has {}", self.partitions.len()))
        })
    }
}

impl Drop for FileLog {
    fn drop(&mut self) {
        let sets = self.partitions.iter().map(|partition| partition.set()).chain([self.dead_letters.set()]);
        let synced: Result<(), SegmentError> = sets.into_iter().try_for_each(|set| set.sync_all());
        let ended = synced.map_err(LogError::from);
        let ended = ended.and_then(|()| self.run_mark.end().map_err(|source| unavailable(&self.directory, &source)));
        if let Err(error) = ended {
            tracing::warn!(%error, "log was not closed in order; the next start copes with that");
        }
    }
}

#[async_trait]
impl RecordLog for FileLog {
    async fn partitions(&self) -> Result<u32, LogError> {
        Ok(u32::try_from(self.partitions.len()).unwrap_or(u32::MAX))
    }

    async fn produce(&self, partition: u32, records: &[(Axis, RawRecord)]) -> Result<(), LogError> {
        self.partition(partition)?.produce(records).await
    }

    async fn produce_dead_letters(&self, letters: &[RawRecord]) -> Result<(), LogError> {
        self.dead_letters.produce(letters).await
    }

    async fn fetch(
        &self,
        partition: u32,
        from: Position,
        bytes_max: usize,
        wait_max: Duration,
    ) -> Result<Fetched, LogError> {
        self.partition(partition)?.fetch(from, bytes_max, wait_max).await
    }

    async fn bounds(&self, partition: u32) -> Result<(Position, Position), LogError> {
        Ok(self.partition(partition)?.bounds())
    }

    async fn dead_letters(&self, cursor: Option<&str>, letters_max: usize) -> Result<DeadLetterPage, LogError> {
        self.dead_letters.page(cursor, letters_max).await
    }

    async fn probe(&self) -> Result<BackendInfo, LogError> {
        let version = format!("files of orinoco, format {VERSION}, in {}", self.directory.display());
        Ok(BackendInfo { version, advice: Vec::new() })
    }
}

/// Makes `meta.json`, or compares with it: a record's partition follows from the count.
fn agree_on_meta(directory: &Path, partitions: u32) -> Result<(), LogError> {
    if partitions == 0 {
        return Err(LogError::Misconfigured("a log has 1 partition at least, 0 are configured".to_owned()));
    }
    let path = directory.join("meta.json");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = serde_json::to_vec(&Meta { version: VERSION, partitions }).map_err(io::Error::from);
            let made = made.and_then(|content| files::replace(&path, &content, true));
            return made.map_err(|source| unavailable(&path, &source));
        }
        Err(source) => return Err(unavailable(&path, &source)),
    };
    let place = path.display();
    let meta: Meta = serde_json::from_slice(&bytes)
        .map_err(|error| LogError::Misconfigured(format!("{place} is damaged ({error}); restore it from a copy")))?;
    if meta.version != VERSION {
        let message =
            format!("{place} has format {}, this program knows {VERSION}; use the program that made it", meta.version);
        return Err(LogError::Misconfigured(message));
    }
    if meta.partitions != partitions {
        return Err(LogError::Misconfigured(format!(
            "the log in {} was made with {} partitions, {partitions} are configured; configure {} again, or move that \
             directory away to begin anew without its records",
            directory.display(),
            meta.partitions,
            meta.partitions
        )));
    }
    Ok(())
}

fn unavailable(place: &Path, reason: &dyn std::fmt::Display) -> LogError {
    LogError::Unavailable { place: place.display().to_string(), reason: reason.to_string() }
}

/// A task on a blocking thread that ended early: the runtime is shutting down, or it panicked.
fn interrupted(place: &Path) -> impl FnOnce(tokio::task::JoinError) -> LogError {
    |error| unavailable(place, &error)
}

impl From<SegmentError> for LogError {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Io { path, source } => unavailable(&path, &source),
            error @ SegmentError::Corrupt { .. } => Self::Misconfigured(format!(
                "log file {error}; restore it from a copy, or move it away to go on without its records"
            )),
        }
    }
}
