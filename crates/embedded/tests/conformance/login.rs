//! The login store.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use orinoco_embedded::login::{EmbeddedLoginOptions, EmbeddedLoginStore};
use orinoco_ports::{
    Clock, LoginStore, SystemClock,
    conformance::{clock::ManualClock, login::LoginStoreFactory},
};
use tempfile::TempDir;

use crate::copy_directory;

struct Directory {
    directory: TempDir,
    clock: Arc<dyn Clock>,
    /// The clock, where it is in hand.
    manual: Option<Arc<ManualClock>>,
    /// Kept until the case is over.
    copies: Mutex<Vec<TempDir>>,
}

impl Directory {
    fn new(clock: Arc<dyn Clock>, manual: Option<Arc<ManualClock>>) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), clock, manual, copies: Mutex::default() }
    }

    fn with_manual_clock() -> Self {
        let clock = Arc::new(ManualClock::default());
        Self::new(clock.clone(), Some(clock))
    }

    fn open_in(&self, directory: &TempDir) -> Arc<dyn LoginStore> {
        let path = directory.path().join("logins.sqlite");
        let options = EmbeddedLoginOptions { families_per_user_max: FAMILIES_MAX, ..EmbeddedLoginOptions::default() };
        Arc::new(EmbeddedLoginStore::open_with_clock(&path, options, Arc::clone(&self.clock)).unwrap())
    }
}

const FAMILIES_MAX: usize = 20;

#[async_trait]
impl LoginStoreFactory for Directory {
    async fn open(&self) -> Arc<dyn LoginStore> {
        self.open_in(&self.directory)
    }

    async fn open_as_after_kill(&self) -> Arc<dyn LoginStore> {
        let copy = tempfile::tempdir().unwrap();
        copy_directory(self.directory.path(), copy.path());
        let store = self.open_in(&copy);
        self.copies.lock().unwrap().push(copy);
        store
    }

    fn families_per_user_max(&self) -> usize {
        FAMILIES_MAX
    }

    async fn advance(&self, by_ms: i64) {
        if let Some(clock) = &self.manual {
            clock.advance(by_ms);
        }
    }
}

/// As it is used.
mod by_the_machine_s_clock {
    use super::*;
    orinoco_ports::conformance_tests!(login, Directory::new(Arc::new(SystemClock), None));
}

mod by_a_clock_in_hand {
    use super::*;
    orinoco_ports::conformance_tests!(login, Directory::with_manual_clock());
}
