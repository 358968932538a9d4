//! The journal as files: what was acknowledged to devices and not yet by the log.
//!
//! ```text
//! journal/id                made once          journal/run.json          see `power`
//! journal/checkpoint.json   commit position    journal/ORDINAL.segment   records, sequence = ordinal
//! ```
//! Appending is one `pwrite` under a lock, on the caller's thread: it survives kill -9, and allocates nothing once its buffers have
//! grown. In mode [`Durability::Power`] the keeper thread syncs for all who wait, together. The keeper also writes the commit position,
//! at most [`CHECKPOINT_EVERY`] behind.
//!
//! Invariants beyond the port's: sequences grow even where all segments were moved away, or a power cut took the last records back
//! (then they leap, see `power`), so that a sequence never names two messages. When `bytes_max` is reached, appending is refused
//! until a tenth of it is free again.

mod appender;
mod checkpoint;
mod keeper;
mod record;
mod tail;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use orinoco_ports::{Journal, JournalDepth, JournalEntry, JournalError, JournalRecord};
use tokio::sync::Notify;

use self::{appender::Appender, keeper::Keeper};
use crate::{
    power::RunMark,
    segment::{Place, SegmentError, SegmentSet, Step},
};

/// How far the commit position on disk may lie behind.
pub const CHECKPOINT_EVERY: Duration = Duration::from_millis(500);

/// What an acknowledgement stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The operating system has it: survives kill -9.
    #[default]
    Process,
    /// The disk has it (fdatasync): survives a power cut.
    Power,
}

/// Limits of a journal.
#[derive(Debug, Clone, Copy)]
pub struct JournalOptions {
    pub durability: Durability,
    /// Bytes on disk; appending is refused beyond. Should be many times `mqtt.packet_size_max`. Default 1 GiB.
    pub bytes_max: u64,
    /// Last records kept in memory, for `tail`. Default 8192.
    pub tail_records_max: usize,
    /// Bytes of them. Default 4 MiB.
    pub tail_bytes_max: usize,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { durability: Durability::Process, bytes_max: 1 << 30, tail_records_max: 8192, tail_bytes_max: 4 << 20 }
    }
}

/// The embedded journal; also that of mode `services`. One to a directory.
#[derive(Debug)]
pub struct FileJournal {
    shared: Arc<Shared>,
    run_mark: RunMark,
    keeper: Option<JoinHandle<()>>,
}

/// What callers and the keeper thread share.
#[derive(Debug)]
struct Shared {
    id: String,
    directory: PathBuf,
    options: JournalOptions,
    set: Arc<SegmentSet>,
    appender: Mutex<Appender>,
    /// With `appender`: appending may succeed again.
    room: Condvar,
    /// Sequence of the last record.
    appended: AtomicU64,
    arrived: Notify,
    committed: AtomicU64,
    /// Where the last read ended, for the next one.
    reader: Mutex<Option<Place>>,
    keeper: Keeper,
}

impl FileJournal {
    /// Opens the journal in `directory`, made if missing.
    ///
    /// # Errors
    /// [`JournalError::Corrupt`], [`JournalError::Io`].
    pub fn open(directory: &Path, options: JournalOptions) -> Result<Self, JournalError> {
        let io = |source| JournalError::Io { path: directory.display().to_string(), source };
        crate::files::create_directory(directory).map_err(io)?;
        let id = checkpoint::read_or_make_id(directory)?;
        let checkpoint = checkpoint::Checkpoint::read(directory)?;
        let appender = Appender::open(directory, options, checkpoint)?;
        let run_mark = RunMark::begin(directory).map_err(io)?;
        let set = Arc::clone(appender.set());
        let (last, first) = (appender.last(), set.first().0);
        // Removed records were committed, even where the checkpoint was lost.
        let committed = checkpoint.map_or(0, |checkpoint| checkpoint.committed).max(first.saturating_sub(1)).min(last);
        let shared = Arc::new(Shared {
            id,
            directory: directory.to_owned(),
            options,
            keeper: Keeper::new(last),
            set,
            appender: Mutex::new(appender),
            room: Condvar::new(),
            appended: AtomicU64::new(last),
            arrived: Notify::new(),
            committed: AtomicU64::new(committed),
            reader: Mutex::new(None),
        });
        let run = {
            let shared = Arc::clone(&shared);
            move || keeper::run(&shared)
        };
        let keeper = std::thread::Builder::new().name("orinoco-journal".to_owned()).spawn(run).map_err(io)?;
        Ok(Self { shared, run_mark, keeper: Some(keeper) })
    }
}

impl Drop for FileJournal {
    fn drop(&mut self) {
        self.shared.keeper.stop();
        if let Some(keeper) = self.keeper.take() {
            // It only ends early by a panic, which has been reported.
            let _ = keeper.join();
        }
        let ended = self.shared.set.sync_all().and_then(|()| self.shared.write_checkpoint()).and_then(|()| {
            self.run_mark.end().map_err(|source| SegmentError::Io { path: self.shared.directory.clone(), source })
        });
        if let Err(error) = ended {
            tracing::warn!(%error, "journal was not closed in order; the next start copes with that");
        }
    }
}

impl Shared {
    fn appender(&self) -> MutexGuard<'_, Appender> {
        self.appender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    fn write_checkpoint(&self) -> Result<(), SegmentError> {
        let active_base = self.appender().active_base();
        checkpoint::Checkpoint { committed: self.committed(), active_base }.write(&self.directory)
    }

    /// Gives back what is committed, and says so to those who wait for room.
    fn make_room(&self, appender: &mut Appender, room_is_needed: bool) -> Result<(), SegmentError> {
        appender.remove_committed(self.committed(), room_is_needed)?;
        if !appender.is_full() {
            self.room.notify_all();
        }
        Ok(())
    }
}

#[async_trait]
impl Journal for FileJournal {
    fn id(&self) -> &str {
        &self.shared.id
    }

    fn append(&self, record: &JournalRecord) -> Result<u64, JournalError> {
        let shared = &*self.shared;
        shared.keeper.check()?;
        let mut appender = shared.appender();
        if !appender.has_room(record)? {
            shared.make_room(&mut appender, true)?;
            if !appender.has_room(record)? {
                return Err(appender.refuse());
            }
        }
        let begins_segment = appender.begins_segment();
        let sequence = appender.append()?;
        // While the lock is held, so that it only grows.
        shared.appended.store(sequence, Ordering::Release);
        drop(appender);
        shared.arrived.notify_waiters();
        if begins_segment {
            shared.keeper.segment_was_made();
        }
        Ok(sequence)
    }

    async fn durable(&self, sequence: u64) -> Result<(), JournalError> {
        match self.shared.options.durability {
            Durability::Process => Ok(()),
            Durability::Power => {
                let appended = self.shared.appended.load(Ordering::Acquire);
                self.shared.keeper.durable(sequence.min(appended)).await
            }
        }
    }

    fn durable_blocking(&self, sequence: u64) -> Result<(), JournalError> {
        match self.shared.options.durability {
            Durability::Process => Ok(()),
            Durability::Power => {
                let appended = self.shared.appended.load(Ordering::Acquire);
                self.shared.keeper.durable_blocking(sequence.min(appended))
            }
        }
    }

    fn wait_for_room_blocking(&self, wait_max: Duration) {
        let deadline = Instant::now() + wait_max;
        let mut appender = self.shared.appender();
        while appender.is_full() || self.shared.keeper.has_failed() {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return };
            appender = self.shared.room.wait_timeout(appender, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn read_after(&self, sequence: u64, bytes_max: usize) -> Result<Vec<JournalEntry>, JournalError> {
        let shared = &*self.shared;
        let lock_reader = || shared.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let held = lock_reader().take_if(|place| place.ordinal == sequence + 1);
        let place = match held {
            Some(place) => Some(place),
            None => shared.set.place_of(sequence + 1)?,
        };
        let mut entries = Vec::new();
        let Some(mut place) = place else { return Ok(entries) };
        let mut bytes_left = bytes_max;
        shared.set.read(&mut place, bytes_max, &mut |sequence, payload| {
            if payload.len() > bytes_left && !entries.is_empty() {
                return Ok(Step::Stop);
            }
            bytes_left = bytes_left.saturating_sub(payload.len());
            entries.push(JournalEntry { sequence, record: record::decode(payload)? });
            Ok(Step::Next)
        })?;
        *lock_reader() = Some(place);
        Ok(entries)
    }

    fn tail(&self, records_max: usize) -> Vec<JournalEntry> {
        self.shared.appender().tail(records_max)
    }

    async fn wait_after(&self, sequence: u64) {
        loop {
            let mut arrived = std::pin::pin!(self.shared.arrived.notified());
            // Before looking, so that nothing that comes in between is missed.
            arrived.as_mut().enable();
            if self.shared.appended.load(Ordering::Acquire) > sequence {
                return;
            }
            arrived.await;
        }
    }

    fn commit(&self, sequence: u64) -> Result<(), JournalError> {
        let shared = &*self.shared;
        let appended = shared.appended.load(Ordering::Acquire);
        shared.committed.fetch_max(sequence.min(appended), Ordering::AcqRel);
        shared.keeper.checkpoint_is_due();
        let mut appender = shared.appender();
        Ok(shared.make_room(&mut appender, false)?)
    }

    fn committed(&self) -> u64 {
        self.shared.committed()
    }

    fn depth(&self) -> JournalDepth {
        let mut depth = self.shared.appender().depth(self.shared.committed());
        depth.full |= self.shared.keeper.has_failed();
        depth
    }
}

impl From<SegmentError> for JournalError {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Io { path, source } => Self::Io { path: path.display().to_string(), source },
            SegmentError::Corrupt { path, at, reason } => {
                Self::Corrupt { path: path.display().to_string(), at, reason }
            }
        }
    }
}
