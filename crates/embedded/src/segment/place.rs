//! Reading: places, seeking, and going through records in order.

use std::{fs::File, os::unix::fs::FileExt as _, sync::Arc};

use super::{
    SegmentError, SegmentSet,
    frame::{FRAME_HEADER_BYTES, Parsed, parse},
    set::Segment,
};
use crate::codec::Malformed;

/// Where a record begins, or the next one will.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<File>,
    pub(super) byte: u64,
    pub(crate) ordinal: u64,
}

/// Told of a record: ordinal and payload.
pub(crate) type Visit<'a> = dyn FnMut(u64, &[u8]) -> Result<Step, Malformed> + 'a;

/// Asked of a record: ordinal and payload.
pub(crate) type IsBefore<'a> = dyn Fn(u64, &[u8]) -> Result<bool, Malformed> + 'a;

/// What a visitor says of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Taken; on with the next one.
    Next,
    /// Not taken: reading ends before it.
    Stop,
}

/// Bytes read from a file at once, at least; a record above this is read by itself.
const CHUNK_BYTES: usize = 64 << 10;

impl Place {
    pub(super) fn begin(segment: Arc<Segment>) -> Result<Self, SegmentError> {
        let (ordinal, byte) = segment.index().first().copied().unwrap_or_default();
        Self::at(segment, ordinal, byte)
    }

    fn at(segment: Arc<Segment>, ordinal: u64, byte: u64) -> Result<Self, SegmentError> {
        let file = segment.file()?;
        Ok(Self { segment, file, byte, ordinal })
    }

    /// Reads on in this segment, up to where it ends now. Returns whether the visitor stopped it.
    pub(super) fn read_segment(
        &mut self,
        chunk_bytes: usize,
        is_last: bool,
        visit: &mut Visit<'_>,
    ) -> Result<bool, SegmentError> {
        let mut wanted = chunk_bytes.max(CHUNK_BYTES);
        let mut chunk = Vec::new();
        loop {
            let left = self.segment.end().saturating_sub(self.byte);
            if left == 0 {
                return Ok(false);
            }
            chunk.resize(usize::try_from(left).unwrap_or(usize::MAX).min(wanted), 0);
            self.file.read_exact_at(&mut chunk, self.byte).map_err(SegmentError::io(&self.segment.path))?;
            let is_whole = chunk.len() as u64 == left;
            let (stopped, needed) = self.read_chunk(&chunk, visit)?;
            if stopped {
                return Ok(true);
            }
            wanted = chunk_bytes.max(CHUNK_BYTES).max(needed);
            if is_whole && needed > 0 {
                // Beside a process that writes, the last frame may be under way; else whole frames end where the segment does.
                return if is_last { Ok(true) } else { Err(self.corrupt("file ends within a record")) };
            }
        }
    }

    /// Goes through the frames of `chunk`, which was read from here. Returns whether the visitor stopped it, and the bytes that the
    /// frame cut off at the end of the chunk needs (0: none was).
    fn read_chunk(&mut self, chunk: &[u8], visit: &mut Visit<'_>) -> Result<(bool, usize), SegmentError> {
        let mut at = 0;
        while at < chunk.len() {
            match parse(&chunk[at..], self.segment.header.salt) {
                Parsed::Record(payload) => {
                    match visit(self.ordinal, payload).map_err(|malformed| self.corrupt(malformed.to_string()))? {
                        Step::Stop => return Ok((true, 0)),
                        Step::Next => {}
                    }
                    self.segment.note(self.ordinal, self.byte);
                    let frame_bytes = FRAME_HEADER_BYTES + payload.len();
                    at += frame_bytes;
                    self.byte += frame_bytes as u64;
                    self.ordinal += 1;
                }
                Parsed::Incomplete(needed) => return Ok((false, needed)),
                Parsed::Damaged(reason) => return Err(self.corrupt(reason)),
            }
        }
        Ok((false, 0))
    }

    pub(crate) fn corrupt(&self, reason: impl Into<String>) -> SegmentError {
        SegmentError::corrupt(&self.segment.path, self.byte, reason)
    }

    /// Goes over to the segment after this one.
    fn enter(&mut self, successor: Arc<Segment>) -> Result<(), SegmentError> {
        let header = &successor.header;
        if header.previous_base == self.segment.header.base && header.previous_end != self.ordinal {
            let reason =
                format!("file ends before record {}, the next begins after {}", self.ordinal, header.previous_end);
            return Err(self.corrupt(reason));
        }
        if header.previous_base != self.segment.header.base {
            tracing::warn!(
                after = %self.segment.path.display(),
                before = %successor.path.display(),
                "a segment was moved away, going on without its records"
            );
        }
        *self = Self::begin(successor)?;
        Ok(())
    }
}

impl SegmentSet {
    /// Goes through the records from `place` on, in order, until `visit` stops or the end is there; `place` is then that of the
    /// first record not taken. `chunk_bytes` is about how much will be taken.
    ///
    /// # Errors
    /// [`SegmentError`]; `place` is then that of the record that can't be read.
    pub(crate) fn read(
        &self,
        place: &mut Place,
        chunk_bytes: usize,
        visit: &mut Visit<'_>,
    ) -> Result<(), SegmentError> {
        let chunk_bytes = chunk_bytes.min(super::RECORD_BYTES_MAX);
        loop {
            // In this order: a segment that has a successor ends for good.
            let successor = self.successor(&place.segment);
            if place.read_segment(chunk_bytes, successor.is_none(), visit)? {
                return Ok(());
            }
            match successor {
                Some(successor) => place.enter(successor)?,
                None => return Ok(()),
            }
        }
    }

    /// Place of the first record whose ordinal is `ordinal` or more, or of the next one to come. `None` where there is no
    /// segment at all.
    ///
    /// # Errors
    /// [`SegmentError`].
    pub(crate) fn place_of(&self, ordinal: u64) -> Result<Option<Place>, SegmentError> {
        let segments = self.segments();
        let after = segments.partition_point(|segment| segment.header.base <= ordinal);
        let Some(segment) = segments.get(after.saturating_sub(1)) else { return Ok(None) };
        let entry = {
            let index = segment.index();
            let after = index.partition_point(|(noted, _)| *noted <= ordinal);
            index[after.saturating_sub(1)]
        };
        let mut place = Place::at(Arc::clone(segment), entry.0, entry.1)?;
        let step = |visited, _: &[u8]| Ok(if visited < ordinal { Step::Next } else { Step::Stop });
        if place.ordinal < ordinal {
            self.read(&mut place, CHUNK_BYTES, &mut { step })?;
        }
        Ok(Some(place))
    }

    /// Place of a record such that `is_before` holds for it, or of the first one: not necessarily the last such record, but one
    /// that lies little before it. `is_before` holds for a first part of the records, and for no other.
    ///
    /// # Errors
    /// [`SegmentError`].
    pub(crate) fn place_by(&self, is_before: &IsBefore<'_>) -> Result<Option<Place>, SegmentError> {
        let segments = self.segments();
        let Some(mut held) = segments.first() else { return Ok(None) };
        let (mut low, mut high) = (1, segments.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.holds_at(&Place::begin(Arc::clone(&segments[middle]))?, is_before)? {
                held = &segments[middle];
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        // The first time, this makes the index of the whole segment.
        let mut place = Place::begin(Arc::clone(held))?;
        if self.successor(held).is_some() && held.index().len() == 1 {
            place.read_segment(CHUNK_BYTES, false, &mut |_, _| Ok(Step::Next))?;
        }
        self.place_in(held, is_before)
    }

    fn place_in(&self, segment: &Arc<Segment>, is_before: &IsBefore<'_>) -> Result<Option<Place>, SegmentError> {
        let index = segment.index().clone();
        let (mut low, mut high) = (1, index.len());
        while low < high {
            let middle = low.midpoint(high);
            let (ordinal, byte) = index[middle];
            if self.holds_at(&Place::at(Arc::clone(segment), ordinal, byte)?, is_before)? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let (ordinal, byte) = index[low - 1];
        Place::at(Arc::clone(segment), ordinal, byte).map(Some)
    }

    /// Whether `is_before` holds for the record at `place`; where there is none, it does not.
    fn holds_at(&self, place: &Place, is_before: &IsBefore<'_>) -> Result<bool, SegmentError> {
        let mut holds = false;
        let is_last = self.successor(&place.segment).is_none();
        place.clone().read_segment(0, is_last, &mut |ordinal, payload| {
            holds = is_before(ordinal, payload)?;
            Ok(Step::Stop)
        })?;
        Ok(holds)
    }
}
