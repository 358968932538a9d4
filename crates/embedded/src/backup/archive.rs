//! Writing an archive. It goes to a temporary name beside the final one, which it gets when it is whole and on disk.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use sha2::{Digest as _, Sha256};

use super::{
    BackupError, Label,
    manifest::{Entry, LABEL, MANIFEST, MANIFEST_CHECKSUM, Manifest, checksum_line, hexadecimal},
    tape::{END, Header, padding_bytes},
};
use crate::files;

const BUFFER_BYTES: usize = 256 << 10;

/// A file under a temporary name, removed with this value unless it was given its own.
#[derive(Debug)]
pub(super) struct Beside {
    path: PathBuf,
    is_temporary: bool,
}

impl Beside {
    /// A name beside `path` that nobody has: `.NAME.RANDOM.ENDING`.
    pub(super) fn of(path: &Path, ending: &str) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = path.with_file_name(format!(".{name}.{}.{ending}", files::random_name()?));
        Ok(Self { path, is_temporary: true })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its own name, in place of what had it.
    pub(super) fn rename(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.is_temporary = false;
        files::sync_directory(folder_of(path))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if self.is_temporary {
            // It may never have been made.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The folder in which `path` is.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

pub(super) struct ArchiveWriter<'a> {
    out: &'a mut dyn Write,
    target: PathBuf,
    label: Label,
    cancelled: &'a AtomicBool,
    entries: Vec<Entry>,
    bytes: u64,
    buffer: Vec<u8>,
}

impl<'a> ArchiveWriter<'a> {
    /// `target`: what `out` is called. It ends with an error once `cancelled` is true.
    pub(super) fn begin(
        out: &'a mut dyn Write,
        target: &Path,
        label: Label,
        cancelled: &'a AtomicBool,
    ) -> Result<Self, BackupError> {
        let content = serde_json::to_vec(&label).unwrap_or_default();
        let (target, entries, buffer) = (target.to_owned(), Vec::new(), vec![0; BUFFER_BYTES]);
        let mut writer = Self { out, target, label, cancelled, entries, bytes: 0, buffer };
        writer.add_bytes(LABEL, &content)?;
        Ok(writer)
    }

    /// # Errors
    /// [`BackupError::Cancelled`].
    pub(super) fn check_cancelled(&self) -> Result<(), BackupError> {
        if self.cancelled.load(Ordering::Relaxed) { Err(BackupError::Cancelled) } else { Ok(()) }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.check_cancelled()?;
        self.bytes += bytes.len() as u64;
        let target = &self.target;
        self.out.write_all(bytes).map_err(|source| BackupError::Target { path: target.clone(), source })
    }

    fn put_header(&mut self, name: &str, length: u64) -> Result<(), BackupError> {
        let header = Header { name: name.to_owned(), length, time_s: self.label.time_s() };
        self.put(&header.encode())
    }

    fn put_padding(&mut self, length: u64) -> Result<(), BackupError> {
        self.put(&END[..padding_bytes(length)])
    }

    pub(super) fn add_bytes(&mut self, name: &str, content: &[u8]) -> Result<(), BackupError> {
        self.add(name, content.len() as u64, &mut &*content, Path::new(name))
    }

    /// The first `length` bytes of `content`, which is that of the file `source`.
    pub(super) fn add(
        &mut self,
        name: &str,
        length: u64,
        content: &mut dyn Read,
        source: &Path,
    ) -> Result<(), BackupError> {
        self.put_header(name, length)?;
        let (mut left, mut hash) = (length, Sha256::new());
        let mut buffer = std::mem::take(&mut self.buffer);
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            content
                .read_exact(&mut buffer[..wanted])
                .map_err(|error| BackupError::Source { path: source.to_owned(), reason: error.to_string() })?;
            hash.update(&buffer[..wanted]);
            self.put(&buffer[..wanted])?;
            left -= wanted as u64;
        }
        self.buffer = buffer;
        self.put_padding(length)?;
        self.entries.push(Entry { path: name.to_owned(), length, sha256: hexadecimal(hash) });
        Ok(())
    }

    /// The manifest and the end. Returns files of the data directory, and bytes of the archive.
    pub(super) fn finish(mut self) -> Result<(usize, u64), BackupError> {
        let entries = std::mem::take(&mut self.entries);
        let files = entries.len() - 1;
        let manifest = Manifest { label: self.label.clone(), files: entries };
        let content = serde_json::to_vec(&manifest).unwrap_or_default();
        for (name, content) in [(MANIFEST, content.as_slice()), (MANIFEST_CHECKSUM, checksum_line(&content).as_bytes())]
        {
            self.put_header(name, content.len() as u64)?;
            self.put(content)?;
            self.put_padding(content.len() as u64)?;
        }
        self.put(&END)?;
        let target = self.target;
        self.out.flush().map_err(|source| BackupError::Target { path: target, source })?;
        Ok((files, self.bytes))
    }
}

/// A new file of this name for the user alone, or an error where there is one.
pub(super) fn create(path: &Path) -> io::Result<File> {
    files::private_file().create_new(true).open(path)
}
