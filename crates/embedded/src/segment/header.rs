//! The head of a segment: 48 bytes that say which records follow, and what went before.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::SegmentError;
use crate::codec::{Fields, Malformed, PutFields as _};

pub(super) const HEADER_BYTES: usize = 48;
const MAGIC: &[u8; 8] = b"orinseg1";
pub(super) const EXTENSION: &str = "segment";

/// What the head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Ordinal of the first record.
    pub(super) base: u64,
    /// `base` of the segment before; its own where there was none.
    pub(super) previous_base: u64,
    /// Ordinal after the last record of the segment before.
    pub(super) previous_end: u64,
    /// A number of the owner's that belongs to `base`.
    pub(super) mark: u64,
    /// What the checksums of the frames start from.
    pub(super) salt: u32,
}

impl Header {
    pub(super) fn path(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{:020}.{EXTENSION}", self.base))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        for number in [self.base, self.previous_base, self.previous_end, self.mark] {
            bytes.put_u64(number);
        }
        bytes.put_u32(self.salt);
        let crc = crc32fast::hash(&bytes);
        bytes.put_u32(crc);
        debug_assert_eq!(bytes.len(), HEADER_BYTES);
        bytes
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Malformed> {
        let mut fields = Fields(&bytes[MAGIC.len()..]);
        let header = Self {
            base: fields.u64()?,
            previous_base: fields.u64()?,
            previous_end: fields.u64()?,
            mark: fields.u64()?,
            salt: fields.u32()?,
        };
        let crc_holds = fields.u32()? == crc32fast::hash(&bytes[..HEADER_BYTES - 4]);
        if crc_holds && bytes.starts_with(MAGIC) { Ok(header) } else { Err(Malformed) }
    }

    /// The head of `file`; `None` where the file ends within it.
    pub(super) fn read(file: &File, path: &Path) -> Result<Option<Self>, SegmentError> {
        let mut bytes = [0; HEADER_BYTES];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(SegmentError::io(path)(error)),
        }
        let header = Self::decode(&bytes).map_err(|_| SegmentError::corrupt(path, 0, "not the head of a segment"))?;
        if path.file_name() != header.path(Path::new("")).file_name() {
            return Err(SegmentError::corrupt(path, 8, "name of the file and its first record differ"));
        }
        Ok(Some(header))
    }
}
