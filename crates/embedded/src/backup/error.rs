//! Why there is no backup, and why one is not restored.

use std::{io, path::PathBuf};

use crate::{data_dir::DataDirError, segment::SegmentError, sqlite::Fault};

/// Nothing stands under the final name.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{} is no data directory; name that of the daemon by --data-dir", path.display())]
    NoDataDirectory { path: PathBuf },
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// What is to be saved can't be read.
    #[error("{}: {reason}", path.display())]
    Source { path: PathBuf, reason: String },
    /// The archive can't be written.
    #[error("{}: {source}; the backup must go to a folder that this user may write, with room for it", path.display())]
    Target { path: PathBuf, source: io::Error },
    #[error(
        "{}: a backup takes up to {needed_bytes} bytes there while it is made, {free_bytes} may be used; make room, or write it to \
         another disk",
        path.display()
    )]
    NoRoom { path: PathBuf, needed_bytes: u64, free_bytes: u64 },
    #[error("interrupted; nothing was saved")]
    Cancelled,
}

impl From<SegmentError> for BackupError {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Io { path, source } => Self::Source { path, reason: source.to_string() },
            SegmentError::Corrupt { path, at, reason } => {
                let remedy = "put it back from a copy, or move it away to go on without its records";
                Self::Source { path, reason: format!("damaged at byte {at}: {reason}; {remedy}") }
            }
        }
    }
}

/// The target is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("a daemon runs on {}: {holder}; stop it, and move its data directory away first", path.display())]
    InUse { path: PathBuf, holder: String },
    #[error("{} is not empty; move it away first, or restore elsewhere by --to", path.display())]
    NotEmpty { path: PathBuf },
    #[error(
        "{} is a mount point, and can't be replaced in one step; restore into a folder below it by --to, and set data_dir to that",
        path.display()
    )]
    MountPoint { path: PathBuf },
    #[error("{} is no backup of orinoco", archive.display())]
    NoBackup { archive: PathBuf },
    #[error("{} has format {found}, this program knows {}; restore it with orinoco {made_by}", archive.display(), super::FORMAT)]
    Newer { archive: PathBuf, found: u32, made_by: String },
    #[error("{} is truncated: it ends within {within}; take another copy", archive.display())]
    Truncated { archive: PathBuf, within: String },
    #[error("{} is damaged: {place}; take another copy", archive.display())]
    Damaged { archive: PathBuf, place: String },
    /// Nobody's backup holds it.
    #[error("{} holds {name:?}, which has no place in a data directory; nothing was restored", archive.display())]
    Foreign { archive: PathBuf, name: String },
    #[error("interrupted; nothing was restored")]
    Cancelled,
    /// What was unpacked can't be opened.
    #[error("{file} of the backup: {reason}")]
    Content { file: String, reason: String },
}

pub(super) fn fault_text(fault: Fault) -> String {
    match fault {
        Fault::Unavailable(reason) | Fault::Damaged(reason) => reason,
        Fault::Newer { found, needed } => {
            format!("it has schema {found}, this program knows {needed}; use the program that made it")
        }
    }
}
