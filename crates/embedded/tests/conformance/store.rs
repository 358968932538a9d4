//! The coordinate store.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use orinoco_embedded::store::{SqliteStore, SqliteStoreOptions};
use orinoco_ports::{CoordinateStore, conformance::store::StoreFactory};
use tempfile::TempDir;

use crate::copy_directory;

struct Directory {
    directory: TempDir,
    recent_bytes_max: usize,
    /// Kept until the case is over.
    copies: Mutex<Vec<TempDir>>,
}

impl Directory {
    fn new(recent_bytes_max: usize) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), recent_bytes_max, copies: Mutex::default() }
    }

    fn open_in(&self, directory: &TempDir) -> Arc<dyn CoordinateStore> {
        let path = directory.path().join("coordinates.sqlite");
        let options = SqliteStoreOptions { recent_bytes_max: self.recent_bytes_max, ..SqliteStoreOptions::default() };
        Arc::new(SqliteStore::open(&path, options).unwrap())
    }
}

#[async_trait]
impl StoreFactory for Directory {
    async fn open(&self) -> Arc<dyn CoordinateStore> {
        self.open_in(&self.directory)
    }

    async fn open_as_after_kill(&self) -> Arc<dyn CoordinateStore> {
        let copy = tempfile::tempdir().unwrap();
        copy_directory(self.directory.path(), copy.path());
        let store = self.open_in(&copy);
        self.copies.lock().unwrap().push(copy);
        store
    }
}

/// As it is used: the cases' data is all in memory.
mod recent {
    use super::*;
    orinoco_ports::conformance_tests!(store, Directory::new(8 << 20));
}

/// Now in memory, now in the tables.
mod folded_often {
    use super::*;
    orinoco_ports::conformance_tests!(store, Directory::new(2 << 10));
}

/// Every batch goes to the tables.
mod folded_at_once {
    use super::*;
    orinoco_ports::conformance_tests!(store, Directory::new(0));
}
