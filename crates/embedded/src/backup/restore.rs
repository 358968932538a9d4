//! From an archive to a data directory: unpacked beside it, checked, renewed, and moved to its name in one step.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use super::{
    Label, RestoreError,
    archive::folder_of,
    renew::renew,
    unpack::{ArchiveReader, io_error},
};
use crate::{data_dir, files};

/// A directory beside the target, complete but for what the caller still changes in it. Removed when dropped.
#[derive(Debug)]
pub struct Unpacked {
    staging: Staging,
    target: PathBuf,
    summary: RestoreSummary,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreSummary {
    pub label: Label,
    pub files: usize,
    /// Of the files.
    pub bytes: u64,
}

/// A folder under a temporary name.
#[derive(Debug)]
struct Staging(PathBuf);

impl Drop for Staging {
    fn drop(&mut self) {
        // Where it was moved to its name, nothing is here any more.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Unpacks `archive` for the data directory `target`, which may be missing or empty. Blocks on the disk. It ends early once `cancelled`
/// is true.
///
/// # Errors
/// [`RestoreError`]; the target is as it was.
pub fn unpack(archive: &Path, target: &Path, cancelled: &AtomicBool) -> Result<Unpacked, RestoreError> {
    let target = std::path::absolute(target).map_err(io_error(target))?;
    check_target(&target)?;
    let reader = ArchiveReader::open(archive, cancelled)?;
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let random = files::random_name().map_err(io_error(&target))?;
    let staging = Staging(target.with_file_name(format!(".{name}.{random}.restore")));
    files::create_directory(&staging.0).map_err(io_error(&staging.0))?;
    let content = reader.unpack(&staging.0)?;
    renew(&staging.0)?;
    let bytes = content.entries.iter().map(|entry| entry.length).sum();
    let summary = RestoreSummary { label: content.label, files: content.entries.len(), bytes };
    Ok(Unpacked { staging, target, summary })
}

fn check_target(target: &Path) -> Result<(), RestoreError> {
    if let Some(holder) = data_dir::holder_of(target) {
        return Err(RestoreError::InUse { path: target.to_owned(), holder });
    }
    let metadata = match fs::symlink_metadata(target) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error(target)(error)),
    };
    if !metadata.is_dir() || fs::read_dir(target).map_err(io_error(target))?.next().is_some() {
        return Err(RestoreError::NotEmpty { path: target.to_owned() });
    }
    let folder = fs::metadata(folder_of(target)).map_err(io_error(target))?;
    if folder.dev() != metadata.dev() {
        return Err(RestoreError::MountPoint { path: target.to_owned() });
    }
    Ok(())
}

impl Unpacked {
    /// The directory, until it has its own name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.staging.0
    }

    /// Makes it safe from a power cut, gives it to the owner of the empty directory whose place it takes, and its own name.
    ///
    /// # Errors
    /// [`RestoreError`]; the target is as it was.
    pub fn finish(self) -> Result<RestoreSummary, RestoreError> {
        let Self { staging, target, summary } = self;
        let owner = match fs::metadata(&target) {
            Ok(metadata) => Some((metadata.uid(), metadata.gid())),
            Err(_) => None,
        };
        settle(&staging.0, owner)?;
        fs::rename(&staging.0, &target).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty => RestoreError::NotEmpty { path: target.clone() },
            io::ErrorKind::ResourceBusy => RestoreError::MountPoint { path: target.clone() },
            _ => RestoreError::Io { path: target.clone(), source: error },
        })?;
        files::sync_directory(folder_of(&target)).map_err(io_error(&target))?;
        Ok(summary)
    }
}

/// Syncs everything below `directory`, and itself.
fn settle(directory: &Path, owner: Option<(u32, u32)>) -> Result<(), RestoreError> {
    for entry in fs::read_dir(directory).map_err(io_error(directory))? {
        let entry = entry.map_err(io_error(directory))?;
        let path = entry.path();
        if entry.file_type().map_err(io_error(&path))?.is_dir() {
            settle(&path, owner)?;
        } else {
            give(&path, owner)?;
            File::open(&path).and_then(|file| file.sync_all()).map_err(io_error(&path))?;
        }
    }
    give(directory, owner)?;
    files::sync_directory(directory).map_err(io_error(directory))
}

fn give(path: &Path, owner: Option<(u32, u32)>) -> Result<(), RestoreError> {
    let Some((user, group)) = owner else { return Ok(()) };
    let has = fs::metadata(path).map_err(io_error(path))?;
    if (has.uid(), has.gid()) == (user, group) {
        return Ok(());
    }
    chown(path, Some(user), Some(group)).map_err(io_error(path))
}
