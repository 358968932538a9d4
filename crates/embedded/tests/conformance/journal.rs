//! The journal, in both modes.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use orinoco_embedded::journal::{Durability, FileJournal, JournalOptions};
use orinoco_ports::{Journal, conformance::journal::JournalFactory};
use tempfile::TempDir;

use crate::copy_directory;

struct Directory {
    directory: TempDir,
    durability: Durability,
    /// Kept until the case is over.
    copies: Mutex<Vec<TempDir>>,
}

impl Directory {
    fn new(durability: Durability) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), durability, copies: Mutex::default() }
    }

    fn open_in(&self, directory: &TempDir, bytes_max: u64) -> Arc<dyn Journal> {
        let options = JournalOptions { durability: self.durability, bytes_max, ..JournalOptions::default() };
        Arc::new(FileJournal::open(directory.path(), options).unwrap())
    }
}

#[async_trait]
impl JournalFactory for Directory {
    async fn open(&self, bytes_max: u64) -> Arc<dyn Journal> {
        self.open_in(&self.directory, bytes_max)
    }

    async fn open_as_after_kill(&self, bytes_max: u64) -> Arc<dyn Journal> {
        let copy = tempfile::tempdir().unwrap();
        copy_directory(self.directory.path(), copy.path());
        let journal = self.open_in(&copy, bytes_max);
        self.copies.lock().unwrap().push(copy);
        journal
    }
}

mod process {
    use super::*;
    orinoco_ports::conformance_tests!(journal, Directory::new(Durability::Process));
}

mod power {
    use super::*;
    orinoco_ports::conformance_tests!(journal, Directory::new(Durability::Power));
}
