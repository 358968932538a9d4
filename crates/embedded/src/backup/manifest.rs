//! What is in an archive: its label, the files of a data directory, and the manifest.
//!
//! ```text
//! orinoco-backup.json   the label: format, program, time      first, so that a newer format is told before anything else is read
//! ...                   files of the data directory
//! manifest.json         the label again, and each file's name, length and SHA-256, the label's too
//! manifest.sha256       of manifest.json
//! ```

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::tape::NAME_BYTES_MAX;

pub(super) const LABEL: &str = "orinoco-backup.json";
pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const MANIFEST_CHECKSUM: &str = "manifest.sha256";

/// Bytes of a manifest: far more than [`FILES_MAX`] files take.
pub(super) const MANIFEST_BYTES_MAX: u64 = 256 << 20;
pub(super) const FILES_MAX: usize = 1 << 20;
/// Bytes of a file of JSON or of one word: leases, keys, ids.
const SMALL_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a segment: many times what one is ever given.
const SEGMENT_BYTES_MAX: u64 = 1 << 32;

/// Whose backup it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Label {
    pub format: u32,
    /// Version of the program that made it.
    pub orinoco: String,
    /// When it began, ms since 1970.
    pub created_ms: i64,
}

impl Label {
    pub(super) fn time_s(&self) -> u64 {
        u64::try_from(self.created_ms / 1_000).unwrap_or(0)
    }
}

/// One file of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) length: u64,
    /// Hexadecimal.
    pub(super) sha256: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    #[serde(flatten)]
    pub(super) label: Label,
    pub(super) files: Vec<Entry>,
}

pub(super) fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The content of [`MANIFEST_CHECKSUM`].
pub(super) fn checksum_line(manifest: &[u8]) -> String {
    format!("{}\n", hexadecimal(Sha256::new_with_prefix(manifest)))
}

/// The most bytes that the file `path` of a data directory may have; `None` for what is no such file, whatever it looks like. Only what
/// stands here is ever written by a restore.
pub(super) fn length_max(path: &str) -> Option<u64> {
    if path.len() > NAME_BYTES_MAX {
        return None;
    }
    match path {
        "coordinates.sqlite" | "accounts.sqlite" | "logins.sqlite" => return Some(i64::MAX.unsigned_abs()),
        "keys.json" | "leases.json" | "partitions" | "journal/id" | "journal/checkpoint.json" | "log/meta.json" => {
            return Some(SMALL_BYTES_MAX);
        }
        _ => {}
    }
    let (directory, file) = path.rsplit_once('/')?;
    let is_segment = file.strip_suffix(".segment").is_some_and(|ordinal| ordinal.len() == 20 && is_number(ordinal));
    let partition = directory.strip_prefix("log/partition-");
    let holds_segments = matches!(directory, "journal" | "log/dead-letters") || partition.is_some_and(is_number);
    (is_segment && holds_segments).then_some(SEGMENT_BYTES_MAX)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_a_data_directory_have_a_place() {
        let segment = "00000000000000000001.segment";
        for path in ["keys.json", "journal/id", &format!("journal/{segment}"), &format!("log/partition-12/{segment}")] {
            assert!(length_max(path).is_some(), "{path}");
        }
        let odd = [
            "",
            "/keys.json",
            "../keys.json",
            "./keys.json",
            "keys.json/",
            "journal/../keys.json",
            "journal/run.json",
            "lock",
            "control.sock",
            "coordinates.sqlite-wal",
            "log/partition-/1.segment",
            "journal/1.segment",
        ];
        for path in odd {
            assert_eq!(length_max(path), None, "{path}");
        }
        for directory in ["log/partition-", "log/partition-1/..", "log/partition-../x", "log", "journal/deep", ".."] {
            assert_eq!(length_max(&format!("{directory}/{segment}")), None, "{directory}");
        }
    }
}
