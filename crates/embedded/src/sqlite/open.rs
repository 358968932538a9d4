//! Opening a file: private to its user, in write-ahead mode, with its tables.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::{BUSY_WAIT_MAX, Fault};
use crate::files;

/// Statements that one connection keeps prepared.
const STATEMENTS_MAX: usize = 32;

/// Between two tries to get a lock. SQLite's own waits grow to 100 ms: a command beside a busy daemon would hardly ever meet a moment in
/// which the file is free.
const RETRY_INTERVAL: Duration = Duration::from_millis(1);

/// A file, and what it must hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Database<'a> {
    pub(crate) path: &'a Path,
    /// `PRAGMA user_version`, above 0.
    pub(crate) version: i64,
    /// Makes the tables of this version.
    pub(crate) tables: &'static str,
    /// Memory for pages, each connection.
    pub(crate) cache_kib: u32,
    pub(crate) durability: Durability,
}

/// What a commit outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// kill -9. A power cut may take the last ones, each whole.
    Process,
    /// A power cut.
    Power,
}

impl Database<'_> {
    /// Opens the file for writing; makes it and its tables where they are missing. Several processes may do so at once.
    pub(crate) fn open_for_writing(&self) -> Result<Connection, Fault> {
        let mut connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        self.settle_file().map_err(|error| Fault::Unavailable(error.to_string()))?;
        switch_to_write_ahead(&connection)?;
        let synchronous = match self.durability {
            Durability::Process => "NORMAL",
            Durability::Power => "FULL",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.execute_batch(
            "PRAGMA wal_autocheckpoint = 4096; PRAGMA journal_size_limit = 67108864;
             PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;",
        )?;
        self.make_tables(&mut connection)?;
        Ok(connection)
    }

    /// Opens the file, made before, for a thread that reads beside the one that writes.
    pub(crate) fn open_for_reading(&self) -> Result<Connection, Fault> {
        self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    /// SQLite makes a file readable for everybody: one that is empty still becomes private, and its companions take the mode over. The file must not be opened
    /// for that, as closing it would take away the locks that this process has on it (fcntl(2)).
    fn settle_file(&self) -> io::Result<()> {
        if fs::metadata(self.path)?.len() > 0 {
            return Ok(());
        }
        fs::set_permissions(self.path, Permissions::from_mode(files::FILE_MODE))?;
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => files::sync_directory(parent),
            _ => files::sync_directory(Path::new(".")),
        }
    }

    /// A connection stays in one thread; a path that looks like a URI is a path all the same.
    fn connect(&self, access: OpenFlags) -> Result<Connection, Fault> {
        let mut connection = Connection::open_with_flags(self.path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        connection.busy_handler(Some(wait_for_lock))?;
        connection.pragma_update(None, "cache_size", -i64::from(self.cache_kib))?;
        Ok(connection)
    }

    fn make_tables(&self, connection: &mut Connection) -> Result<(), Fault> {
        // Whoever comes second finds them made.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        match transaction.query_row("PRAGMA user_version", [], |row| row.get(0))? {
            0 => {
                transaction.execute_batch(self.tables)?;
                transaction.pragma_update(None, "user_version", self.version)?;
            }
            found if found == self.version => {}
            found => return Err(Fault::Newer { found, needed: self.version }),
        }
        Ok(transaction.commit()?)
    }
}

/// Opens a file of any of our versions for reading, beside the process that has it, or without one.
pub(crate) fn open_beside(path: &Path) -> Result<Connection, Fault> {
    let mut connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_handler(Some(wait_for_lock))?;
    Ok(connection)
}

/// Whether to try again, after so many tries.
fn wait_for_lock(tries: i32) -> bool {
    let waited = RETRY_INTERVAL * tries.unsigned_abs();
    if waited < BUSY_WAIT_MAX {
        pause();
    }
    waited < BUSY_WAIT_MAX
}

// SQL runs in threads of its own, and opening a file blocks its thread in any case.
#[allow(clippy::disallowed_methods)]
fn pause() {
    thread::sleep(RETRY_INTERVAL);
}

fn switch_to_write_ahead(connection: &Connection) -> Result<(), Fault> {
    let deadline = Instant::now() + BUSY_WAIT_MAX;
    loop {
        let switched = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0));
        match switched {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let reason = format!("its journal mode stays {mode}; data_dir must be on a local file system");
                return Err(Fault::Unavailable(reason));
            }
            // Two processes that switch at once would wait for each other: SQLite tells one so without waiting.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && Instant::now() < deadline => {
                pause();
            }
            Err(error) => return Err(error.into()),
        }
    }
}
