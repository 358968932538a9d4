//! Reading an archive: its files into a folder, everything checked. Nothing of it is believed: names must be those of a data directory,
//! lengths are bounded, and every byte is either compared with the only one it can be, or part of a checksum.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufReader, Read, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{
    FORMAT, Label, RestoreError,
    archive::create,
    manifest::{
        Entry, FILES_MAX, LABEL, MANIFEST, MANIFEST_BYTES_MAX, MANIFEST_CHECKSUM, Manifest, checksum_line, hexadecimal,
        length_max,
    },
    tape::{BLOCK_BYTES, END, Header, padding_bytes},
};
use crate::files;

const BUFFER_BYTES: usize = 256 << 10;
const LABEL_BYTES_MAX: u64 = 4 << 10;

/// What every format's label says.
#[derive(Deserialize)]
struct AnyLabel {
    format: u32,
    #[serde(default)]
    orinoco: String,
}

/// An archive that is read from its beginning to its end.
pub(super) struct ArchiveReader<'a> {
    file: BufReader<File>,
    path: PathBuf,
    cancelled: &'a AtomicBool,
    /// What was read last, for errors.
    last: String,
    time_s: Option<u64>,
}

/// What was unpacked.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) label: Label,
    pub(super) entries: Vec<Entry>,
}

impl<'a> ArchiveReader<'a> {
    /// It ends with an error once `cancelled` is true.
    pub(super) fn open(path: &Path, cancelled: &'a AtomicBool) -> Result<Self, RestoreError> {
        let file = File::open(path).map_err(io_error(path))?;
        let file = BufReader::with_capacity(BUFFER_BYTES, file);
        Ok(Self { file, path: path.to_owned(), cancelled, last: "its beginning".to_owned(), time_s: None })
    }

    fn damaged(&self, place: impl Into<String>) -> RestoreError {
        RestoreError::Damaged { archive: self.path.clone(), place: place.into() }
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), RestoreError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(RestoreError::Cancelled);
        }
        self.file.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                RestoreError::Truncated { archive: self.path.clone(), within: self.last.clone() }
            }
            _ => RestoreError::Io { path: self.path.clone(), source: error },
        })
    }

    fn header(&mut self) -> Result<Header, RestoreError> {
        let mut block = [0; BLOCK_BYTES];
        self.read_exact(&mut block)?;
        let is_plausible = |header: &Header| self.time_s.is_none_or(|time_s| time_s == header.time_s);
        match Header::decode(&block).filter(is_plausible) {
            Some(header) => {
                self.last.clone_from(&header.name);
                Ok(header)
            }
            None => Err(self.damaged(format!("the header behind {} is not as it was written", self.last))),
        }
    }

    fn padding(&mut self, header: &Header) -> Result<(), RestoreError> {
        let mut padding = [0; BLOCK_BYTES];
        let padding = &mut padding[..padding_bytes(header.length)];
        self.read_exact(padding)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(self.damaged(format!("what fills the last block of {}", header.name)));
        }
        Ok(())
    }

    /// The content of a small file.
    fn content(&mut self, header: &Header, bytes_max: u64) -> Result<Vec<u8>, RestoreError> {
        if header.length > bytes_max {
            let place = format!("{} says that it has {} bytes; {bytes_max} may be", header.name, header.length);
            return Err(self.damaged(place));
        }
        let mut content = Vec::new();
        // Memory grows with what is there, not with what is said.
        (&mut self.file).take(header.length).read_to_end(&mut content).map_err(io_error(&self.path))?;
        if (content.len() as u64) < header.length {
            return Err(RestoreError::Truncated { archive: self.path.clone(), within: header.name.clone() });
        }
        self.padding(header)?;
        Ok(content)
    }

    /// The first file, before anything else is believed.
    fn label(&mut self) -> Result<(Label, Entry), RestoreError> {
        let mut block = [0; BLOCK_BYTES];
        let is_ours = self.file.read_exact(&mut block).is_ok() && block.starts_with(LABEL.as_bytes());
        if !is_ours {
            return Err(RestoreError::NoBackup { archive: self.path.clone() });
        }
        LABEL.clone_into(&mut self.last);
        let header = Header::decode(&block).filter(|header| header.name == LABEL);
        let header = header.ok_or_else(|| self.damaged(format!("the header of {LABEL}")))?;
        let content = self.content(&header, LABEL_BYTES_MAX)?;
        let unreadable = |error: serde_json::Error| self.damaged(format!("{LABEL}: {error}"));
        let any: AnyLabel = serde_json::from_slice(&content).map_err(unreadable)?;
        if any.format > FORMAT {
            return Err(RestoreError::Newer {
                archive: self.path.clone(),
                found: any.format,
                made_by: any.orinoco.chars().filter(|character| !character.is_control()).take(64).collect(),
            });
        }
        let label: Label = serde_json::from_slice(&content).map_err(unreadable)?;
        if label.format != FORMAT || label.time_s() != header.time_s {
            return Err(self.damaged(LABEL));
        }
        self.time_s = Some(header.time_s);
        let sha256 = hexadecimal(Sha256::new_with_prefix(&content));
        Ok((label, Entry { path: header.name, length: header.length, sha256 }))
    }

    /// Unpacks all into `folder`, which is empty, and compares it with the manifest.
    ///
    /// # Errors
    /// [`RestoreError`]; `folder` holds part of it then.
    pub(super) fn unpack(mut self, folder: &Path) -> Result<Content, RestoreError> {
        let (label, entry) = self.label()?;
        let mut entries = vec![entry];
        let mut seen = HashSet::new();
        loop {
            let header = self.header()?;
            if header.name == MANIFEST {
                self.finish(&header, &label, &entries)?;
                entries.remove(0);
                return Ok(Content { label, entries });
            }
            let Some(bytes_max) = length_max(&header.name) else {
                return Err(RestoreError::Foreign { archive: self.path.clone(), name: header.name });
            };
            if header.length > bytes_max {
                return Err(self.damaged(format!("{} says that it has {} bytes", header.name, header.length)));
            }
            if !seen.insert(header.name.clone()) || entries.len() > FILES_MAX {
                return Err(self.damaged(format!("{} is there twice, or is one of too many files", header.name)));
            }
            entries.push(self.file_into(folder, &header)?);
        }
    }

    fn file_into(&mut self, folder: &Path, header: &Header) -> Result<Entry, RestoreError> {
        let path = folder.join(&header.name);
        if let Some(parent) = path.parent() {
            files::create_directory(parent).map_err(io_error(parent))?;
        }
        let mut file = create(&path).map_err(io_error(&path))?;
        let (mut left, mut hash, mut buffer) = (header.length, Sha256::new(), vec![0; BUFFER_BYTES]);
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER_BYTES);
            self.read_exact(&mut buffer[..wanted])?;
            hash.update(&buffer[..wanted]);
            file.write_all(&buffer[..wanted]).map_err(io_error(&path))?;
            left -= wanted as u64;
        }
        self.padding(header)?;
        Ok(Entry { path: header.name.clone(), length: header.length, sha256: hexadecimal(hash) })
    }

    /// The manifest, its checksum, and the end.
    fn finish(&mut self, header: &Header, label: &Label, entries: &[Entry]) -> Result<(), RestoreError> {
        let content = self.content(header, MANIFEST_BYTES_MAX)?;
        let checksum = self.header()?;
        let line = self.content(&checksum, BLOCK_BYTES as u64)?;
        if checksum.name != MANIFEST_CHECKSUM || line != checksum_line(&content).as_bytes() {
            return Err(self.damaged(format!("{MANIFEST} and its checksum differ")));
        }
        let manifest: Manifest =
            serde_json::from_slice(&content).map_err(|error| self.damaged(format!("{MANIFEST}: {error}")))?;
        if let Some(place) = difference(&manifest, label, entries) {
            return Err(self.damaged(place));
        }
        "its end".clone_into(&mut self.last);
        let mut end = END;
        self.read_exact(&mut end)?;
        let mut beyond = [0; 1];
        let more = self.file.read(&mut beyond).map_err(io_error(&self.path))?;
        if end != END || more > 0 {
            return Err(self.damaged("something else than its end follows the manifest"));
        }
        Ok(())
    }
}

/// The first file that is not as the manifest says.
fn difference(manifest: &Manifest, label: &Label, entries: &[Entry]) -> Option<String> {
    for (said, found) in manifest.files.iter().zip(entries) {
        if said != found {
            let what =
                if said.path == found.path { "is not what was saved" } else { "stands where another file should" };
            return Some(format!("{} {what}", found.path));
        }
    }
    if manifest.files.len() != entries.len() {
        return Some(format!("it holds {} files, its manifest lists {}", entries.len(), manifest.files.len()));
    }
    (manifest.label != *label).then(|| LABEL.to_owned())
}

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    |source| RestoreError::Io { path: path.to_owned(), source }
}
