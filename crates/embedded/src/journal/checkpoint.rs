//! What the journal remembers beside its records: its id, made once, and how far it is committed.

use std::{fs, io, path::Path};

use orinoco_ports::JournalError;
use serde::{Deserialize, Serialize};

use crate::{files, segment::SegmentError};

/// `checkpoint.json`. Written without a sync: it may go back, never ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub(super) committed: u64,
    /// The segment that was appended to: where it is missing, its sequences were used nevertheless.
    pub(super) active_base: u64,
}

impl Checkpoint {
    /// `None` where there is none, or a power cut spoiled it: then what is held counts as not committed, and is sent again.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, SegmentError> {
        let path = directory.join("checkpoint.json");
        match fs::read(&path) {
            Ok(bytes) => {
                let checkpoint = serde_json::from_slice(&bytes);
                if let Err(error) = &checkpoint {
                    tracing::warn!(path = %path.display(), %error, "commit position is lost, all that is held is sent again");
                }
                Ok(checkpoint.ok())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SegmentError::Io { path, source }),
        }
    }

    pub(super) fn write(&self, directory: &Path) -> Result<(), SegmentError> {
        let path = directory.join("checkpoint.json");
        let content = serde_json::to_vec(self).map_err(io::Error::from);
        let written = content.and_then(|content| files::replace(&path, &content, false));
        written.map_err(|source| SegmentError::Io { path, source })
    }
}

/// The journal's identity, `[a-z0-9]{13}`.
pub(super) fn read_or_make_id(directory: &Path) -> Result<String, JournalError> {
    let path = directory.join("id");
    let name = path.display().to_string();
    match fs::read_to_string(&path) {
        Ok(id) => {
            let id = id.trim().to_owned();
            let is_valid = (1..=32).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
            let reason = "not an id of [a-z0-9]{1,32}".to_owned();
            if is_valid { Ok(id) } else { Err(JournalError::Corrupt { path: name, at: 0, reason }) }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = files::random_name().and_then(|id| files::replace(&path, id.as_bytes(), true).map(|()| id));
            made.map_err(|source| JournalError::Io { path: name, source })
        }
        Err(source) => Err(JournalError::Io { path: name, source }),
    }
}
