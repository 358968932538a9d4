//! What must not survive a restore, see `backup`.

use std::{collections::BTreeMap, fs, io, path::Path};

use rusqlite::Connection;

use super::{RestoreError, error::fault_text};
use crate::{
    accounts, data_dir, files, login,
    power::{LEAP, RunMark},
    sqlite::{Database, Fault},
    store,
};

/// More accounts than can have been made since.
const USER_IDS_LEAP: i64 = 1 << 20;

/// Changes the unpacked directory so that nothing in it passes for something that was given out since.
pub(super) fn renew(directory: &Path) -> Result<(), RestoreError> {
    for marked in [directory.join("journal"), data_dir::log_of(directory)] {
        if marked.is_dir() {
            RunMark::distrust(&marked).map_err(|error| content(&marked, error))?;
        }
    }
    renew_leases(&directory.join("leases.json"))?;
    change(&store::database(&directory.join("coordinates.sqlite")), store::renew_epochs)?;
    change(&accounts::database(&data_dir::accounts_of(directory)), |connection| {
        let leap = "UPDATE sqlite_sequence SET seq = seq + ?1 WHERE name = 'user'";
        let begin = "INSERT INTO sqlite_sequence (name, seq) VALUES ('user', ?1)";
        if connection.execute(leap, [USER_IDS_LEAP])? == 0 {
            connection.execute(begin, [USER_IDS_LEAP])?;
        }
        Ok(())
    })?;
    change(&login::database(&directory.join("logins.sqlite")), |connection| {
        connection.execute("DELETE FROM challenge", [])?;
        // As `Family` is serialised.
        connection.execute("UPDATE family SET record = json_set(record, '$.restored', json('true'))", [])?;
        Ok(())
    })
}

fn content(path: &Path, reason: impl ToString) -> RestoreError {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    RestoreError::Content { file, reason: reason.to_string() }
}

/// Changes a database in one transaction; where there is none, or an empty one, none is made. Nothing of it is worth keeping should that
/// fail, so that nothing is kept for it.
fn change(
    database: &Database<'_>,
    change: impl FnOnce(&Connection) -> Result<(), rusqlite::Error>,
) -> Result<(), RestoreError> {
    if !database.path.exists() {
        return Ok(());
    }
    let changed = || {
        let mut connection = Connection::open(database.path)?;
        connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = MEMORY;")?;
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found > database.version {
            return Err(Fault::Newer { found, needed: database.version });
        }
        if found > 0 {
            let transaction = connection.transaction()?;
            change(&transaction)?;
            transaction.commit()?;
        }
        connection.close().map_err(|(_, error)| Fault::from(error))
    };
    changed().map_err(|fault| content(database.path, fault_text(fault)))
}

fn renew_leases(path: &Path) -> Result<(), RestoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(content(path, error)),
    };
    let epochs: BTreeMap<String, u64> = serde_json::from_slice(&bytes).map_err(|error| content(path, error))?;
    let leapt: BTreeMap<&String, u64> = epochs.iter().map(|(name, epoch)| (name, epoch.saturating_add(LEAP))).collect();
    let written = serde_json::to_vec_pretty(&leapt).map_err(io::Error::from);
    written.and_then(|bytes| files::replace(path, &bytes, true)).map_err(|error| content(path, error))
}
