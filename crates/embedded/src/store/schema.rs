//! The database file: its tables, how it is opened, and what its errors mean.

use std::path::Path;

use orinoco_ports::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::files;

/// `PRAGMA user_version`.
const VERSION: i64 = 1;

/// Statements that one connection keeps prepared.
const STATEMENTS_MAX: usize = 32;

/// A partition's row exists once its stream epoch does. `recent` holds batches that are not in `device` and `frame` yet, see `fold`.
/// Frames are clustered by device: a page of history is read in one go.
const TABLES: &str = "
    CREATE TABLE partition (
        number   INTEGER PRIMARY KEY,
        epoch    TEXT NOT NULL,
        fence    INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        x        INTEGER NOT NULL,
        y        INTEGER NOT NULL
    );
    CREATE TABLE mark (
        partition INTEGER NOT NULL,
        key       TEXT NOT NULL,
        sequence  INTEGER NOT NULL,
        PRIMARY KEY (partition, key)
    ) WITHOUT ROWID;
    CREATE TABLE recent (
        id        INTEGER PRIMARY KEY,
        partition INTEGER NOT NULL,
        body      BLOB NOT NULL     -- Updates
    );
    CREATE TABLE device (
        id        INTEGER PRIMARY KEY,
        partition INTEGER NOT NULL,
        name      TEXT NOT NULL,
        state     TEXT NOT NULL,    -- DeviceState as JSON
        head      INTEGER NOT NULL, -- offset of the last CoordinateData
        first     INTEGER NOT NULL, -- first offset in history
        trimmed   INTEGER NOT NULL, -- frames below are deleted; those from here to `first` will be
        latest_offset INTEGER,
        latest    TEXT,
        UNIQUE (partition, name)
    );
    CREATE TABLE frame (
        device INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        json   TEXT NOT NULL,
        PRIMARY KEY (device, offset)
    ) WITHOUT ROWID;
";

/// Opens the file for the thread that writes; makes file and tables where they are missing.
pub(super) fn open_for_writing(path: &Path) -> Result<Connection, StoreError> {
    let place = path.display().to_string();
    // SQLite would make it readable for everybody; its companions take the mode over.
    let made = files::private_file().create(true).truncate(false).open(path);
    made.map_err(|error| StoreError::Unavailable { place: place.clone(), reason: error.to_string() })?;
    let failed = |error| error_at(&place, &error);
    let mut connection = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_WRITE)).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -32768;
             PRAGMA wal_autocheckpoint = 4096; PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY;",
        )
        .map_err(failed)?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    match version {
        VERSION => {}
        0 => make_tables(&mut connection).map_err(failed)?,
        found => {
            let reason = format!("it has schema {found}, this program knows {VERSION}; use the program that made it");
            return Err(StoreError::Corrupt { place, reason });
        }
    }
    Ok(connection)
}

fn make_tables(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Opens the file, made before, for a thread that reads beside the one that writes.
pub(super) fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_ONLY))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.execute_batch("PRAGMA cache_size = -8192;")?;
    Ok(connection)
}

/// Each connection stays in one thread; a path that looks like a URI is a path all the same.
fn flags(access: OpenFlags) -> OpenFlags {
    access | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// What an error of SQLite means for the caller.
pub(super) fn error_at(place: &str, error: &rusqlite::Error) -> StoreError {
    let place = place.to_owned();
    let is_damage =
        matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TypeMismatch)
        ) || matches!(error, rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..));
    if is_damage {
        let reason = format!("{error}; move the file away to begin anew from the record log");
        return StoreError::Corrupt { place, reason };
    }
    let remedy = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "; free space on its disk",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "; another program has it open",
        _ => "",
    };
    StoreError::Unavailable { place, reason: format!("{error}{remedy}") }
}
