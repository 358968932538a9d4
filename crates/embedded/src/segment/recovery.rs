//! What opening finds, and what it cuts off.

use std::{fs, os::unix::fs::FileExt as _, path::Path, sync::atomic::Ordering};

use super::{
    SegmentError,
    frame::{FRAME_HEADER_BYTES, Parsed, holds_a_frame, parse},
    header::HEADER_BYTES,
    set::{Segment, list_segments},
};
use crate::files;

/// The segments of `directory`, and the ordinal after the last record (0 where there is no segment). The last segment is read whole
/// and its torn tail cut off; the others are looked at when they are read.
pub(super) fn recover(directory: &Path) -> Result<(Vec<Segment>, u64), SegmentError> {
    let mut list = list_segments(directory)?;
    // A crash between making a segment and writing its head: nothing was in it.
    if let Some((path, None)) = list.last() {
        tracing::warn!(path = %path.display(), "removing a segment whose head was never written");
        fs::remove_file(path).map_err(SegmentError::io(path))?;
        list.pop();
    }
    let mut segments = Vec::with_capacity(list.len());
    for (path, segment) in list {
        let Some(segment) = segment else {
            return Err(SegmentError::corrupt(&path, 0, "file ends within its head"));
        };
        segments.push(segment);
    }
    let next = segments.last().map_or(Ok(0), recover_last)?;
    Ok((segments, next))
}

/// Cuts the torn tail off, notes places, and returns the ordinal after the last record.
fn recover_last(segment: &Segment) -> Result<u64, SegmentError> {
    let file = files::private_file().open(&segment.path).map_err(SegmentError::io(&segment.path))?;
    let mut bytes = vec![0; usize::try_from(segment.end()).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, 0).map_err(SegmentError::io(&segment.path))?;
    let (mut at, mut ordinal) = (HEADER_BYTES, segment.header.base);
    while at < bytes.len() {
        match parse(&bytes[at..], segment.header.salt) {
            Parsed::Record(payload) => {
                segment.note(ordinal, at as u64);
                at += FRAME_HEADER_BYTES + payload.len();
                ordinal += 1;
            }
            torn => {
                let reason = match torn {
                    Parsed::Damaged(reason) => reason,
                    _ => "length of the record goes beyond the end of the file",
                };
                if holds_a_frame(&bytes[at + 1..], segment.header.salt) {
                    return Err(SegmentError::corrupt(&segment.path, at as u64, reason));
                }
                let bytes_cut = bytes.len() - at;
                tracing::warn!(path = %segment.path.display(), at, bytes_cut, "cutting off a record that was not written whole");
                file.set_len(at as u64).map_err(SegmentError::io(&segment.path))?;
                break;
            }
        }
    }
    segment.end.store(at as u64, Ordering::Release);
    Ok(ordinal)
}
