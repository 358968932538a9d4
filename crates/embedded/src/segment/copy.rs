//! Copying segments beside the process that writes them.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path, sync::Arc};

use super::{Place, SegmentError, SegmentSet, Step, frame::holds_a_frame};

/// Bytes read at once where all frames are checked.
const CHUNK_BYTES: usize = 1 << 20;

/// One segment, opened: it stays readable when it is removed.
#[derive(Debug)]
pub(crate) struct SegmentCopy {
    place: Place,
    /// It may end within a frame.
    is_last: bool,
}

impl SegmentSet {
    /// The segments, newest first, each opened when it is asked for. Ends at the first one that was removed meanwhile: so were those
    /// before it, as the oldest go first.
    pub(crate) fn copies(&self) -> impl Iterator<Item = Result<SegmentCopy, SegmentError>> + use<> {
        let segments = self.segments();
        let newest = segments.len().checked_sub(1);
        segments.into_iter().enumerate().rev().map_while(move |(index, segment)| match Place::begin(segment) {
            Ok(place) => Some(Ok(SegmentCopy { place, is_last: Some(index) == newest })),
            Err(SegmentError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(error)),
        })
    }
}

impl SegmentCopy {
    pub(crate) fn path(&self) -> &Path {
        &self.place.segment.path
    }

    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.place.file)
    }

    /// Reads all frames there were when the segments were listed, and returns the byte after the last whole one.
    ///
    /// # Errors
    /// [`SegmentError`]: a frame is damaged.
    pub(crate) fn check(mut self) -> Result<u64, SegmentError> {
        match self.place.read_segment(CHUNK_BYTES, self.is_last, &mut |_, _| Ok(Step::Next)) {
            Err(error @ SegmentError::Corrupt { .. }) if !(self.is_last && self.ends_torn()?) => Err(error),
            Err(SegmentError::Corrupt { .. }) | Ok(_) => Ok(self.place.byte),
            Err(error) => Err(error),
        }
    }

    /// Whether what can't be read is the last thing there: a power cut left it, and nobody has opened the segments since.
    fn ends_torn(&self) -> Result<bool, SegmentError> {
        let segment = &self.place.segment;
        let rest_bytes = segment.end().saturating_sub(self.place.byte + 1);
        let mut rest = vec![0; usize::try_from(rest_bytes).unwrap_or(usize::MAX)];
        self.place.file.read_exact_at(&mut rest, self.place.byte + 1).map_err(SegmentError::io(&segment.path))?;
        Ok(!holds_a_frame(&rest, segment.header.salt))
    }
}
