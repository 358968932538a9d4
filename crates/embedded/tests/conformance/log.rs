//! The record log, in both modes.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use orinoco_embedded::log::{Durability, FileLog, FileLogOptions};
use orinoco_ports::{RecordLog, conformance::log::LogFactory};
use tempfile::TempDir;

use crate::copy_directory;

struct Directory {
    directory: TempDir,
    options: FileLogOptions,
    /// Kept until the case is over.
    copies: Mutex<Vec<TempDir>>,
}

impl Directory {
    fn new(durability: Durability, tail_bytes_max: usize) -> Self {
        let options = FileLogOptions {
            durability,
            tail_bytes_max,
            // Small, so that every case crosses some.
            segment_bytes_max: 32 << 10,
            ..FileLogOptions::default()
        };
        Self { directory: tempfile::tempdir().unwrap(), options, copies: Mutex::default() }
    }
}

#[async_trait]
impl LogFactory for Directory {
    async fn open(&self) -> Arc<dyn RecordLog> {
        Arc::new(FileLog::open(self.directory.path(), self.options).unwrap())
    }

    async fn open_as_after_kill(&self) -> Arc<dyn RecordLog> {
        let copy = tempfile::tempdir().unwrap();
        copy_directory(self.directory.path(), copy.path());
        let log = FileLog::open(copy.path(), self.options).unwrap();
        self.copies.lock().unwrap().push(copy);
        Arc::new(log)
    }

    async fn expire_oldest(&self, log: Arc<dyn RecordLog>, _partition: u32) -> Arc<dyn RecordLog> {
        drop(log);
        let options = FileLogOptions { retention_bytes: 150 << 10, ..self.options };
        Arc::new(FileLog::open(self.directory.path(), options).unwrap())
    }
}

mod process {
    use super::*;
    orinoco_ports::conformance_tests!(log, Directory::new(Durability::Process, 1 << 20));
    orinoco_ports::conformance_tests!(exact_order_log, Directory::new(Durability::Process, 1 << 20));
}

mod from_disk_alone {
    use super::*;
    orinoco_ports::conformance_tests!(log, Directory::new(Durability::Process, 0));
    orinoco_ports::conformance_tests!(exact_order_log, Directory::new(Durability::Process, 0));
}

mod power {
    use super::*;
    orinoco_ports::conformance_tests!(log, Directory::new(Durability::Power, 4 << 10));
    orinoco_ports::conformance_tests!(exact_order_log, Directory::new(Durability::Power, 4 << 10));
}
