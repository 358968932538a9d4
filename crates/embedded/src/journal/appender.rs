//! The writing side of the journal: what one lock guards.

use std::{path::Path, sync::Arc};

use orinoco_ports::{JournalDepth, JournalEntry, JournalError, JournalRecord};

use super::{Durability, JournalOptions, checkpoint::Checkpoint, record, tail::Tail};
use crate::{
    power::{LEAP, RunMark},
    segment::{FrameBuffer, SegmentError, SegmentOptions, SegmentSet, SegmentWriter, Step, SyncTask},
};

const SEGMENT_BYTES_MIN: u64 = 1 << 10;
const SEGMENT_BYTES_MAX: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Appender {
    writer: SegmentWriter,
    options: JournalOptions,
    /// The record to append, encoded. Its memory is used again and again.
    frames: FrameBuffer,
    tail: Tail,
    /// On disk.
    bytes: u64,
    /// Refused at the limit; until a tenth is free again.
    at_limit: bool,
    /// The disk refused the last append.
    disk_failed: bool,
}

impl Appender {
    pub(super) fn open(
        directory: &Path,
        options: JournalOptions,
        checkpoint: Option<Checkpoint>,
    ) -> Result<Self, SegmentError> {
        // Small against the limit: space is given back a segment at a time.
        let segment_bytes_max = (options.bytes_max / 16).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        let power_was_lost = RunMark::tells_of_power_loss(directory)
            .map_err(|source| SegmentError::Io { path: directory.to_owned(), source })?;
        let mut writer = SegmentWriter::open(directory, SegmentOptions { segment_bytes_max }, 1, 0)?;
        let known = checkpoint.unwrap_or(Checkpoint { committed: 0, active_base: 1 });
        let least = known.active_base.max(known.committed + 1);
        if power_was_lost || writer.next() < least {
            let to = writer.next().max(least) + LEAP;
            tracing::warn!(
                from = writer.next(),
                to,
                power_was_lost,
                "the journal's last records may be missing: its sequences leap, so that none is used twice"
            );
            writer.leap(to, 0)?;
        }
        if power_was_lost || options.durability == Durability::Power {
            // What a killed daemon wrote and did not sync; the leap as well.
            writer.set().sync_all()?;
        }
        let frames = writer.frames();
        let tail = restore_tail(&writer, &options)?;
        let bytes = writer.set().bytes();
        Ok(Self { writer, options, frames, tail, bytes, at_limit: false, disk_failed: false })
    }

    pub(super) fn set(&self) -> &Arc<SegmentSet> {
        self.writer.set()
    }

    /// Sequence of the last record, 0 before the first.
    pub(super) fn last(&self) -> u64 {
        self.writer.end() - 1
    }

    pub(super) fn active_base(&self) -> u64 {
        self.writer.active_base()
    }

    pub(super) fn begins_segment(&self) -> bool {
        self.writer.is_active_full()
    }

    pub(super) fn is_full(&self) -> bool {
        self.at_limit || self.disk_failed
    }

    /// Encodes the record, to be appended next, and says whether the limit allows that.
    pub(super) fn has_room(&mut self, record: &JournalRecord) -> Result<bool, SegmentError> {
        if self.at_limit {
            return Ok(false);
        }
        self.frames.clear();
        self.frames
            .push(|bytes| record::encode(record, bytes))
            .map_err(|length| SegmentError::too_large(self.writer.set().directory(), length))?;
        Ok(self.bytes + self.writer.cost_bytes(&self.frames) <= self.options.bytes_max)
    }

    pub(super) fn refuse(&mut self) -> JournalError {
        if !self.at_limit {
            tracing::warn!(
                bytes = self.bytes,
                bytes_max = self.options.bytes_max,
                "journal is full, acknowledging stops"
            );
        }
        self.at_limit = true;
        JournalError::Full { bytes: self.bytes, bytes_max: self.options.bytes_max }
    }

    /// Appends what `has_room` encoded.
    pub(super) fn append(&mut self) -> Result<u64, SegmentError> {
        let cost_bytes = self.writer.cost_bytes(&self.frames);
        let appended = self.writer.append(&self.frames, 0);
        if appended.is_err() != self.disk_failed {
            self.disk_failed = appended.is_err();
            match &appended {
                Err(error) => tracing::warn!(%error, "journal can't be written, acknowledging stops"),
                Ok(_) => tracing::info!("journal can be written again"),
            }
        }
        let sequence = appended?;
        self.bytes += cost_bytes;
        for payload in FrameBuffer::payloads(self.frames.as_bytes()) {
            self.tail.push(sequence, payload);
        }
        Ok(sequence)
    }

    /// Removes segments that are committed. The last ones stay for the sake of the tail, unless room is needed.
    pub(super) fn remove_committed(&mut self, committed: u64, room_is_needed: bool) -> Result<(), SegmentError> {
        let tight = room_is_needed || self.at_limit || self.bytes > self.room_bytes();
        if tight && committed >= self.last() {
            self.writer.seal(0)?;
        }
        let tail_bytes = if tight { 0 } else { self.options.tail_bytes_max as u64 };
        let removed = self
            .writer
            .set()
            .remove_oldest(|oldest| oldest.end <= committed + 1 && oldest.bytes_in_all - oldest.bytes >= tail_bytes)?;
        if removed > 0 || tight {
            self.bytes = self.writer.set().bytes();
        }
        if self.at_limit && self.bytes <= self.room_bytes() {
            tracing::info!(bytes = self.bytes, "journal has room again");
            self.at_limit = false;
        }
        Ok(())
    }

    /// Nine tenths of the limit.
    fn room_bytes(&self) -> u64 {
        self.options.bytes_max - self.options.bytes_max / 10
    }

    pub(super) fn tail(&self, records_max: usize) -> Vec<JournalEntry> {
        self.tail.last(records_max)
    }

    pub(super) fn depth(&self, committed: u64) -> JournalDepth {
        JournalDepth {
            records: self.writer.set().records_from(committed + 1, self.writer.next()),
            bytes: self.bytes,
            bytes_max: self.options.bytes_max,
            full: self.is_full(),
        }
    }

    pub(super) fn unsynced(&mut self) -> (SyncTask, u64) {
        self.writer.unsynced()
    }

    pub(super) fn unsynced_sealed(&mut self) -> SyncTask {
        self.writer.unsynced_sealed()
    }
}

fn restore_tail(writer: &SegmentWriter, options: &JournalOptions) -> Result<Tail, SegmentError> {
    let mut tail = Tail::new(options.tail_records_max, options.tail_bytes_max);
    let set = writer.set();
    let first = set.ordinal_from_end(options.tail_records_max as u64, writer.next());
    if let Some(mut place) = set.place_of(first)? {
        set.read(&mut place, options.tail_bytes_max, &mut |sequence, payload| {
            tail.push(sequence, payload);
            Ok(Step::Next)
        })?;
    }
    Ok(tail)
}
