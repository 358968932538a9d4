//! Whether the machine went down under a directory's files.
//!
//! What kill -9 leaves is in the kernel's cache and whole. A power cut may take back what was written and not synced; numbers that were
//! given out for it are known elsewhere (in Kafka's records, in the store's position) and must never be given out again. So the
//! directory keeps a mark of the boot under which it is written, and whoever opens it under another boot, without an orderly end in
//! between, leaps over [`LEAP`] numbers. A backup that is restored goes back in the same way, and is marked so.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::files;

/// More numbers than can have been given out and not synced.
pub(crate) const LEAP: u64 = 1 << 32;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    boot: String,
    ended: bool,
}

/// The mark of a run, `run.json`.
#[derive(Debug)]
pub(crate) struct RunMark {
    path: PathBuf,
    boot: String,
}

impl RunMark {
    /// Whether what was written last to `directory` may have been lost with the machine.
    pub(crate) fn tells_of_power_loss(directory: &Path) -> io::Result<bool> {
        let content = match fs::read(directory.join("run.json")) {
            Ok(bytes) => serde_json::from_slice::<Content>(&bytes).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        // A mark that can't be read was itself lost.
        Ok(content.is_none_or(|content| !content.ended && (content.boot.is_empty() || content.boot != boot_id())))
    }

    /// A run begins: until `end`, a power cut is noticed.
    pub(crate) fn begin(directory: &Path) -> io::Result<Self> {
        let mark = Self { path: directory.join("run.json"), boot: boot_id() };
        mark.write(false)?;
        Ok(mark)
    }

    /// `directory` went back to an earlier state: whoever opens it next leaps, as after a power cut.
    pub(crate) fn distrust(directory: &Path) -> io::Result<()> {
        let mark = Self { path: directory.join("run.json"), boot: "restored from a backup".to_owned() };
        mark.write(false)
    }

    /// All is synced, and nothing will be written any more.
    pub(crate) fn end(&self) -> io::Result<()> {
        self.write(true)
    }

    fn write(&self, ended: bool) -> io::Result<()> {
        let content = serde_json::to_vec(&Content { boot: self.boot.clone(), ended })?;
        files::replace(&self.path, &content, true)
    }
}

fn boot_id() -> String {
    fs::read_to_string(BOOT_ID).map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// For tests: as if the directory had last been written under another boot.
#[cfg(test)]
pub(crate) fn pretend_power_loss(directory: &Path) -> io::Result<()> {
    files::replace(&directory.join("run.json"), br#"{"boot":"another","ended":false}"#, false)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_another_boot_without_an_orderly_end_is_a_power_loss() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert!(!RunMark::tells_of_power_loss(path).unwrap(), "new");
        let mark = RunMark::begin(path).unwrap();
        assert!(!RunMark::tells_of_power_loss(path).unwrap(), "kill -9");
        mark.end().unwrap();
        assert!(!RunMark::tells_of_power_loss(path).unwrap(), "orderly end");
        pretend_power_loss(path).unwrap();
        assert!(RunMark::tells_of_power_loss(path).unwrap(), "power cut");
        fs::write(path.join("run.json"), "").unwrap();
        assert!(RunMark::tells_of_power_loss(path).unwrap(), "the mark itself was lost");
        RunMark::begin(path).unwrap().end().unwrap();
        RunMark::distrust(path).unwrap();
        assert!(RunMark::tells_of_power_loss(path).unwrap(), "a restored backup");
    }
}
