//! The leases of one owner.

use std::sync::Arc;

use async_trait::async_trait;
use orinoco_embedded::leases::LocalLeases;
use orinoco_ports::{Leases, conformance::leases::LeasesFactory};
use tempfile::TempDir;

struct Directory(TempDir);

#[async_trait]
impl LeasesFactory for Directory {
    async fn open(&self, owner: &str) -> Arc<dyn Leases> {
        Arc::new(LocalLeases::open(&self.0.path().join("leases.json"), owner).unwrap())
    }
}

orinoco_ports::conformance_tests!(leases, Directory(tempfile::tempdir().unwrap()));
