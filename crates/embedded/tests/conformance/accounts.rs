//! Accounts.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use orinoco_embedded::accounts::SqliteAccounts;
use orinoco_ports::{Accounts, conformance::accounts::AccountsFactory};
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

fn open_in(directory: &TempDir) -> Arc<dyn Accounts> {
    Arc::new(SqliteAccounts::open(&directory.path().join("accounts.sqlite")).unwrap())
}

#[async_trait]
impl AccountsFactory for Directory {
    async fn open(&self) -> Arc<dyn Accounts> {
        open_in(&self.directory)
    }

    async fn open_as_after_kill(&self) -> Arc<dyn Accounts> {
        let copy = tempfile::tempdir().unwrap();
        copy_directory(self.directory.path(), copy.path());
        let accounts = open_in(&copy);
        self.copies.lock().unwrap().push(copy);
        accounts
    }
}

orinoco_ports::conformance_tests!(accounts, Directory::new());
