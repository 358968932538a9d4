//! Frames: `length u32 | crc u32 | payload`, little endian. The CRC-32 goes over length and payload and starts from the file's
//! random salt, so that neither zeros nor a payload that looks like a frame pass for one.

use super::{RECORD_BYTES_MAX, SegmentError};

pub(super) const FRAME_HEADER_BYTES: usize = 8;

/// Whole frames, encoded for one append. Reusable.
#[derive(Debug, Clone)]
pub(crate) struct FrameBuffer {
    bytes: Vec<u8>,
    records: u64,
    salt: u32,
}

impl FrameBuffer {
    pub(super) fn new(salt: u32) -> Self {
        Self { bytes: Vec::new(), records: 0, salt }
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.records = 0;
    }

    /// Adds the record that `encode` writes behind what it is given.
    ///
    /// # Errors
    /// The record's size, where it is empty or above [`RECORD_BYTES_MAX`]; the buffer is as before.
    pub(crate) fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
        encode(&mut self.bytes);
        let length = self.bytes.len() - start - FRAME_HEADER_BYTES;
        if length == 0 || length > RECORD_BYTES_MAX {
            self.bytes.truncate(start);
            return Err(length);
        }
        let (header, payload) = self.bytes[start..].split_at_mut(FRAME_HEADER_BYTES);
        // At most RECORD_BYTES_MAX, as checked above.
        let length = (length as u32).to_le_bytes();
        header[..4].copy_from_slice(&length);
        header[4..].copy_from_slice(&checksum(self.salt, length, payload).to_le_bytes());
        self.records += 1;
        Ok(())
    }

    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Payloads in `bytes`, which are whole frames that were made in memory; no checksum is looked at.
    pub(crate) fn payloads(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
        std::iter::from_fn(move || {
            let (length, rest) = bytes.split_first_chunk::<4>()?;
            let (payload, rest) = rest.get(4..)?.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            bytes = rest;
            Some(payload)
        })
    }
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    Record(&'a [u8]),
    /// A frame may begin here, the bytes end before it does; it needs so many.
    Incomplete(usize),
    Damaged(&'static str),
}

pub(super) fn parse(bytes: &[u8], salt: u32) -> Parsed<'_> {
    let Some((header, rest)) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>() else {
        return Parsed::Incomplete(FRAME_HEADER_BYTES);
    };
    let (length, crc) = ([header[0], header[1], header[2], header[3]], [header[4], header[5], header[6], header[7]]);
    let payload_bytes = u32::from_le_bytes(length) as usize;
    if payload_bytes == 0 || payload_bytes > RECORD_BYTES_MAX {
        return Parsed::Damaged("length of the record is out of range");
    }
    let Some(payload) = rest.get(..payload_bytes) else {
        return Parsed::Incomplete(FRAME_HEADER_BYTES + payload_bytes);
    };
    if checksum(salt, length, payload) != u32::from_le_bytes(crc) {
        return Parsed::Damaged("checksum does not match");
    }
    Parsed::Record(payload)
}

fn checksum(salt: u32, length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

/// Whether a whole frame begins anywhere in `bytes`: the difference between a torn tail and damage. Gives up, with `true`, when
/// the search costs more than a tail of our own writing can.
pub(super) fn holds_a_frame(bytes: &[u8], salt: u32) -> bool {
    const CHECKED_BYTES_MAX: usize = 1 << 30;
    let mut checked_bytes = 0;
    for start in 0..bytes.len() {
        let candidate = &bytes[start..];
        match parse(candidate, salt) {
            Parsed::Record(_) => return true,
            Parsed::Damaged("checksum does not match") => {
                checked_bytes += candidate.first_chunk::<4>().map_or(0, |length| u32::from_le_bytes(*length) as usize);
                if checked_bytes > CHECKED_BYTES_MAX {
                    return true;
                }
            }
            Parsed::Damaged(_) | Parsed::Incomplete(_) => {}
        }
    }
    false
}

impl SegmentError {
    /// For an append of a record whose size [`FrameBuffer::push`] refused.
    pub(crate) fn too_large(path: &std::path::Path, length: usize) -> Self {
        let reason = format!("a record of {length} bytes is above the limit of {RECORD_BYTES_MAX} bytes");
        Self::Io { path: path.to_owned(), source: std::io::Error::new(std::io::ErrorKind::InvalidInput, reason) }
    }
}
