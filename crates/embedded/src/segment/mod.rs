//! An append-only file of records, cut into segments: the ground of the journal and of the record log.
//!
//! A record is bytes, and has an ordinal: its number since the first, +1 each. A segment is one file, `ORDINAL.segment`,
//! named by the ordinal of its first record: a header, then frames (length, CRC-32, payload; see [`frame`]).
//!
//! Invariants:
//! - One append is one `pwrite`, of one record or of many; readers see all of it or nothing.
//! - An append that failed left the file as it was: what a short write left is cut off before anything else is written.
//! - A frame at the very end that is not whole (kill -9 or a power cut in the middle of a write) is cut off on opening. One that is
//!   not whole and has a whole one after it, or that lies in a segment with a successor, is damage: an error with file and byte.
//! - Ordinals are never used twice. They leap only through `SegmentWriter::leap`, and where a segment was moved away.
//! - A reader holds no lock while it reads, and may go on in a segment that was deleted meanwhile.

mod copy;
mod frame;
mod header;
mod place;
mod recovery;
mod set;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
};

pub(crate) use copy::SegmentCopy;
pub(crate) use frame::FrameBuffer;
pub(crate) use place::{Place, Step};
pub(crate) use set::SegmentSet;
pub(crate) use writer::{SegmentWriter, SyncTask};

/// Limits of a segmented file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentOptions {
    /// A segment of this size gets no more records. One append always goes into one segment, so that it may grow beyond by one.
    pub(crate) segment_bytes_max: u64,
}

/// The largest payload of one record. A greater length in a file is damage.
pub(crate) const RECORD_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum SegmentError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is damaged at byte {at}: {reason}", path.display())]
    Corrupt { path: PathBuf, at: u64, reason: String },
}

impl SegmentError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Io { path: path.to_owned(), source }
    }

    fn corrupt(path: &Path, at: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), at, reason: reason.into() }
    }
}
