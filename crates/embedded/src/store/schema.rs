//! The database file: its tables, how it is opened, and what its errors mean.

use std::path::Path;

use orinoco_ports::StoreError;
use rusqlite::Connection;

use crate::sqlite::{Database, Durability, Fault};

/// `PRAGMA user_version`.
const VERSION: i64 = 1;

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
    database(path).open_for_writing().map_err(|fault| failed(&path.display().to_string(), fault))
}

/// Opens the file, made before, for a thread that reads beside the one that writes.
pub(super) fn open_for_reading(path: &Path) -> Result<Connection, StoreError> {
    let database = Database { cache_kib: 8_192, ..database(path) };
    database.open_for_reading().map_err(|fault| failed(&path.display().to_string(), fault))
}

pub(crate) fn database(path: &Path) -> Database<'_> {
    Database { path, version: VERSION, tables: TABLES, cache_kib: 32_768, durability: Durability::Process }
}

/// What an error of SQLite means for the caller.
pub(super) fn error_at(place: &str, error: &rusqlite::Error) -> StoreError {
    failed(place, error.into())
}

fn failed(place: &str, fault: Fault) -> StoreError {
    let place = place.to_owned();
    match fault {
        Fault::Unavailable(reason) => StoreError::Unavailable { place, reason },
        Fault::Damaged(reason) => {
            let reason = format!("{reason}; move the file away to begin anew from the record log");
            StoreError::Corrupt { place, reason }
        }
        Fault::Newer { found, needed } => {
            let reason = format!("it has schema {found}, this program knows {needed}; use the program that made it");
            StoreError::Corrupt { place, reason }
        }
    }
}
