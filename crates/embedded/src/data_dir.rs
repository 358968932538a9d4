//! The data directory: one daemon's files, behind one lock.
//!
//! ```text
//! lock              flock(2), held while the daemon runs; holds its process id
//! journal/          accepted, not yet in the log        log/   records and dead letters
//! coordinates.sqlite                                    leases.json
//! accounts.sqlite   open to commands beside the daemon  logins.sqlite   challenges and logins
//! ```
//! Directories have mode 0700, files 0600.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::files;

/// A data directory that this process owns, until this is dropped (or the process ends, however it ends).
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

/// Why a data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error(
        "data directory {} is in use by {holder}; stop that one, or give each daemon its own data_dir",
        path.display()
    )]
    Held { path: PathBuf, holder: String },
    #[error("data directory: {}: {source}; data_dir must be a directory that this user may write", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl DataDir {
    /// Makes the directory if it is missing, and locks it.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DataDirError> {
        let path = path.into();
        let failed = |at: &Path| {
            let path = at.to_owned();
            |source| DataDirError::Io { path, source }
        };
        files::create_directory(&path).map_err(failed(&path))?;
        let lock_path = path.join("lock");
        let mut lock = files::private_file().create(true).open(&lock_path).map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // What can't be read is not known.
                let _ = lock.read_to_string(&mut pid);
                return Err(DataDirError::Held { path, holder: name_holder(&pid) });
            }
            Err(TryLockError::Error(error)) => return Err(failed(&lock_path)(error)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(failed(&lock_path))?;
        Ok(Self { path, _lock: lock })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// For [`FileJournal::open`](crate::journal::FileJournal::open).
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// For [`FileLog::open`](crate::log::FileLog::open).
    #[must_use]
    pub fn log(&self) -> PathBuf {
        log_of(&self.path)
    }

    /// For [`SqliteStore::open`](crate::store::SqliteStore::open).
    #[must_use]
    pub fn coordinates(&self) -> PathBuf {
        self.path.join("coordinates.sqlite")
    }

    /// For [`LocalLeases::open`](crate::leases::LocalLeases::open).
    #[must_use]
    pub fn leases(&self) -> PathBuf {
        self.path.join("leases.json")
    }

    /// For [`SqliteAccounts::open`](crate::accounts::SqliteAccounts::open).
    #[must_use]
    pub fn accounts(&self) -> PathBuf {
        accounts_of(&self.path)
    }

    /// For [`EmbeddedLoginStore::open`](crate::login::EmbeddedLoginStore::open).
    #[must_use]
    pub fn logins(&self) -> PathBuf {
        self.path.join("logins.sqlite")
    }
}

fn name_holder(pid: &str) -> String {
    match pid.trim() {
        // Another daemon may be between locking and writing; then its number is not known.
        "" => "another process".to_owned(),
        pid => format!("process {pid}"),
    }
}

/// Who has the data directory `path`; `None` where nobody has, or there is none. Read from the system's table (proc_locks(5)) and not
/// tried, so that a daemon that starts just now is not disturbed.
#[must_use]
pub fn holder_of(path: &Path) -> Option<String> {
    let lock = path.join("lock");
    let inode = fs::metadata(&lock).ok()?.ino();
    let table = fs::read_to_string("/proc/locks").ok()?;
    let suffix = format!(":{inode}");
    let is_held = table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.contains(&"FLOCK") && fields.iter().any(|field| field.ends_with(&suffix))
    });
    is_held.then(|| name_holder(&fs::read_to_string(lock).unwrap_or_default()))
}

/// Where the log of the data directory `path` is, for a [`DeadLetterReader`](crate::log::DeadLetterReader): beside a running daemon,
/// without its lock.
#[must_use]
pub fn log_of(path: &Path) -> PathBuf {
    path.join("log")
}

/// Where the accounts of the data directory `path` are, for [`SqliteAccounts`](crate::accounts::SqliteAccounts): beside a running daemon,
/// without its lock.
#[must_use]
pub fn accounts_of(path: &Path) -> PathBuf {
    path.join("accounts.sqlite")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_second_daemon_is_refused_by_the_number_of_the_first() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("deep/data");
        let first = DataDir::open(&path).unwrap();
        let refused = DataDir::open(&path).unwrap_err();
        assert!(matches!(refused, DataDirError::Held { .. }));
        let message = refused.to_string();
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
        assert!(message.contains("deep/data"), "{message}");
        assert_eq!(holder_of(&path), Some(format!("process {}", std::process::id())));
        drop(first);
        assert_eq!(holder_of(&path), None);
        assert_eq!(holder_of(&path.join("nothing")), None);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn it_is_private() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let _held = DataDir::open(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("lock"))), (0o700, 0o600));
    }

    #[test]
    fn a_file_in_its_place_is_a_clear_error() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        fs::write(&path, "").unwrap();
        let message = DataDir::open(&path).unwrap_err().to_string();
        assert!(message.contains("data_dir must be a directory"), "{message}");
    }
}
