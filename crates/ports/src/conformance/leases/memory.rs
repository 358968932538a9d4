//! Leases in memory: the suites run on it, and so do tests of what uses the port.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;

use super::LeasesFactory;
use crate::{BackendInfo, Lease, LeaseError, Leases};

#[derive(Default)]
pub struct MemoryLeases {
    held: Arc<Mutex<BTreeMap<String, Held>>>,
    runs: AtomicU64,
}

struct Held {
    owner: String,
    run: u64,
    epoch: u64,
    /// `None` when released.
    expires: Option<Instant>,
}

struct Run {
    held: Arc<Mutex<BTreeMap<String, Held>>>,
    owner: String,
    run: u64,
}

#[async_trait]
impl LeasesFactory for MemoryLeases {
    async fn open(&self, owner: &str) -> Arc<dyn Leases> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        Arc::new(Run { held: Arc::clone(&self.held), owner: owner.to_owned(), run })
    }
}

#[async_trait]
impl Leases for Run {
    async fn hold(&self, wanted: &[String], time_to_live: Duration) -> Result<Vec<Lease>, LeaseError> {
        tokio::task::yield_now().await;
        let now = Instant::now();
        let mut held = self.held.lock().unwrap();
        for name in wanted {
            let free = || Held { owner: String::new(), run: 0, epoch: 0, expires: None };
            let lease = held.entry(name.clone()).or_insert_with(free);
            let running = lease.expires.is_some_and(|expires| expires > now);
            let own = lease.owner == self.owner;
            if running && !own {
                continue;
            }
            if !(running && lease.run == self.run) {
                lease.epoch += 1;
            }
            (lease.owner, lease.run, lease.expires) = (self.owner.clone(), self.run, Some(now + time_to_live));
        }
        let own = held.iter().filter(|(_, lease)| {
            lease.owner == self.owner && lease.run == self.run && lease.expires.is_some_and(|expires| expires > now)
        });
        Ok(own.map(|(name, lease)| Lease { name: name.clone(), epoch: lease.epoch }).collect())
    }

    async fn release(&self, names: &[String]) -> Result<(), LeaseError> {
        let mut held = self.held.lock().unwrap();
        for name in names {
            if let Some(lease) = held.get_mut(name).filter(|lease| lease.owner == self.owner && lease.run == self.run) {
                lease.expires = None;
            }
        }
        Ok(())
    }

    async fn probe(&self) -> Result<BackendInfo, LeaseError> {
        Ok(BackendInfo { version: "memory".to_owned(), advice: Vec::new() })
    }
}
