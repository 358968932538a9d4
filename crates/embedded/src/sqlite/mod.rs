//! What this crate's SQLite files have in common: how they are opened, and what their errors mean; and the threads that read and write
//! those of accounts and logins.
//!
//! Invariants: what a write was answered for outlives what its file's [`Durability`] says, and no reader sees it before; all SQL runs in
//! threads of its own, behind bounded queues; a file that another process has locked is waited for [`BUSY_WAIT_MAX`] long.

mod open;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::time::Duration;

use rusqlite::ErrorCode;

pub(crate) use open::{Database, Durability, open_beside};
pub(crate) use reader::Reader;
pub(crate) use writer::{Unit, Writer};

/// How long a statement waits for another process that has the file locked.
pub(crate) const BUSY_WAIT_MAX: Duration = Duration::from_secs(3);

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody knows whether a write was done.
    Unavailable(String),
    /// What the file holds can't be understood.
    Damaged(String),
    /// The file was made by a newer program.
    Newer { found: i64, needed: i64 },
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&rusqlite::Error> for Fault {
    fn from(error: &rusqlite::Error) -> Self {
        use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
        let code = error.sqlite_error_code();
        let is_damage =
            matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TypeMismatch))
                || matches!(error, FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..));
        if is_damage {
            return Self::Damaged(error.to_string());
        }
        let remedy = match code {
            Some(ErrorCode::DiskFull) => "; free space on its disk",
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "; another program has it locked",
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                "; its directory must be there, and this user must be able to write both"
            }
            Some(ErrorCode::SystemIoFailure) => "; look at its disk: is it full, or failing?",
            _ => "",
        };
        Self::Unavailable(format!("{error}{remedy}"))
    }
}

fn ended() -> Fault {
    Fault::Unavailable("its thread has ended".to_owned())
}

/// A value that the file should not hold, as an error of its column.
pub(crate) fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

/// A count of rows, as SQLite takes it.
pub(crate) fn rows(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// How many rows to ask for where `rows_max` are shown: one more tells whether there are more.
pub(crate) fn page_limit(rows_max: usize) -> i64 {
    rows(rows_max.saturating_add(1))
}

/// Takes the row off that only tells that there are more.
pub(crate) fn take_page<T>(rows: &mut Vec<T>, rows_max: usize) -> bool {
    let has_more = rows.len() > rows_max;
    rows.truncate(rows_max);
    has_more
}
