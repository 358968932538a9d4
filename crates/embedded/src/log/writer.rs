//! Writing one segmented file of the log, and what goes with each write: sync, and retention.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::{Durability, FileLogOptions};
use crate::segment::{FrameBuffer, SegmentError, SegmentOptions, SegmentSet, SegmentWriter};

const SEGMENT_BYTES_MIN: u64 = 4 << 10;
/// How often records beyond their age are looked for, while the log is written to or read.
const RETENTION_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct LogWriter {
    segments: SegmentWriter,
    options: FileLogOptions,
    /// Why syncing failed once. The kernel reports a failed write once and may drop it: nothing is acknowledged any more until the
    /// log is opened anew.
    failure: Option<String>,
    /// When retention was last looked after.
    retained: Instant,
}

impl LogWriter {
    pub(super) fn open(directory: &Path, options: FileLogOptions) -> Result<Self, SegmentError> {
        let segment_bytes_max = options.segment_bytes_max.min(options.retention_bytes / 8).max(SEGMENT_BYTES_MIN);
        let segments = SegmentWriter::open(directory, SegmentOptions { segment_bytes_max }, 0, 0)?;
        if options.durability == Durability::Power {
            // What a killed daemon wrote and did not sync.
            segments.set().sync_all()?;
        }
        Ok(Self { segments, options, failure: None, retained: Instant::now() })
    }

    /// After a power loss: goes on far behind what may have been given out.
    pub(super) fn leap(&mut self, by: u64, mark: u64) -> Result<(), SegmentError> {
        let (from, to) = (self.segments.next(), self.segments.next() + by);
        let directory = self.segments.set().directory().display();
        tracing::warn!(%directory, from, to, "the machine went down, or a backup was restored: the log's numbers leap, so that none is used twice");
        self.segments.leap(to, mark)?;
        self.segments.set().sync_all()
    }

    pub(super) fn set(&self) -> &Arc<SegmentSet> {
        self.segments.set()
    }

    pub(super) fn frames(&self) -> FrameBuffer {
        self.segments.frames()
    }

    pub(super) fn next(&self) -> u64 {
        self.segments.next()
    }

    pub(super) fn end(&self) -> u64 {
        self.segments.end()
    }

    /// Appends all of `frames` and returns the first ordinal. `mark` belongs to that ordinal, `mark_after` to the one after the last.
    pub(super) fn append(&mut self, frames: &FrameBuffer, mark: u64, mark_after: u64) -> Result<u64, SegmentError> {
        self.check()?;
        let rolls = self.segments.is_active_full();
        let first = self.segments.append(frames, mark)?;
        if rolls {
            self.sync_sealed();
        }
        if rolls || self.is_retention_due() {
            self.retain(mark_after);
        }
        Ok(first)
    }

    /// In mode `power`, waits until the disk has all that was appended.
    pub(super) fn make_durable(&mut self) -> Result<(), SegmentError> {
        self.check()?;
        if self.options.durability == Durability::Process {
            return Ok(());
        }
        let synced = self.segments.unsynced().0.run();
        if let Err(error) = &synced {
            self.failure = Some(error.to_string());
        }
        synced
    }

    fn check(&self) -> Result<(), SegmentError> {
        let Some(failure) = &self.failure else { return Ok(()) };
        let source = std::io::Error::other(format!("{failure}; check the disk, then start the daemon again"));
        Err(SegmentError::Io { path: self.segments.set().directory().to_owned(), source })
    }

    /// Full segments are synced aside, so that a power cut takes little; in mode `power` the next `make_durable` does it.
    fn sync_sealed(&mut self) {
        if self.options.durability == Durability::Power {
            return;
        }
        let task = self.segments.unsynced_sealed();
        let run = move || {
            if let Err(error) = task.run() {
                tracing::warn!(%error, "a full segment of the log could not be synced");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(run)),
            Err(_) => run(),
        }
    }

    pub(super) fn is_retention_due(&self) -> bool {
        self.retained.elapsed() >= RETENTION_EVERY
    }

    /// Removes what is beyond the limits of size and age. `mark` is that of the next record.
    pub(super) fn retain(&mut self, mark: u64) {
        self.retained = Instant::now();
        if let Err(error) = self.try_retain(mark) {
            tracing::warn!(%error, "old records of the log could not be removed, trying again later");
        }
    }

    fn try_retain(&mut self, mark: u64) -> Result<(), SegmentError> {
        let age_max = Duration::from_millis(self.options.retention_ms);
        let now = SystemTime::now();
        let is_old = |written: Option<SystemTime>| {
            written.and_then(|written| now.duration_since(written).ok()).is_some_and(|age| age > age_max)
        };
        if is_old(self.segments.last_written()) {
            self.segments.seal(mark)?;
        }
        let removed = self
            .segments
            .set()
            .remove_oldest(|oldest| oldest.bytes_in_all > self.options.retention_bytes || is_old(oldest.written()))?;
        if removed > 0 {
            let directory = self.segments.set().directory().display();
            tracing::debug!(%directory, removed, "removed segments beyond retention");
        }
        Ok(())
    }
}
