//! The coordinate store.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use orinoco_embedded::store::{SqliteStore, SqliteStoreOptions};
use orinoco_ports::{CoordinateStore, conformance::store::StoreFactory};
use tempfile::TempDir;

use crate::copy_directory;

struct Directory {
    directory: TempDir,
    /// Kept until the case is over.
    copies: Mutex<Vec<TempDir>>,
}

impl Directory {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), copies: Mutex::default() }
    }
}

fn open_in(directory: &TempDir) -> Arc<dyn CoordinateStore> {
    let path = directory.path().join("coordinates.sqlite");
    Arc::new(SqliteStore::open(&path, SqliteStoreOptions::default()).unwrap())
}

#[async_trait]
impl StoreFactory for Directory {
    async fn open(&self) -> Arc<dyn CoordinateStore> {
        open_in(&self.directory)
    }

    async fn open_as_after_kill(&self) -> Arc<dyn CoordinateStore> {
        let copy = tempfile::tempdir().unwrap();
        copy_directory(self.directory.path(), copy.path());
        let store = open_in(&copy);
        self.copies.lock().unwrap().push(copy);
        store
    }
}

orinoco_ports::conformance_tests!(store, Directory::new());
