//! Leases in memory: the suites run on it, and so do tests of what uses the port.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::LeasesFactory;
use crate::{BackendInfo, Holding, Lease, LeaseError, Leases, Sharing};

#[derive(Default)]
pub struct MemoryLeases {
    table: Arc<Mutex<Table>>,
    runs: AtomicU64,
}

#[derive(Default)]
struct Table {
    held: BTreeMap<String, Held>,
    /// Who takes part, and until when.
    owners: BTreeMap<String, Instant>,
}

struct Held {
    owner: String,
    run: u64,
    epoch: u64,
    /// `None` when released.
    expires: Option<Instant>,
}

struct Run {
    table: Arc<Mutex<Table>>,
    owner: String,
    run: u64,
}

#[async_trait]
impl LeasesFactory for MemoryLeases {
    async fn open(&self, owner: &str) -> Arc<dyn Leases> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        Arc::new(Run { table: Arc::clone(&self.table), owner: owner.to_owned(), run })
    }
}

#[async_trait]
impl Leases for Run {
    async fn take_part(&self, time_to_live: Duration) -> Result<Sharing, LeaseError> {
        let now = Instant::now();
        let owners = &mut self.table.lock().unwrap().owners;
        owners.retain(|_, until| *until > now);
        owners.insert(self.owner.clone(), now + time_to_live);
        let rank = owners.range(..self.owner.clone()).count();
        Ok(Sharing { owners: owners.len() as u32, rank: rank as u32 })
    }

    async fn hold(&self, wanted: &[String], held_max: u32, time_to_live: Duration) -> Result<Vec<Lease>, LeaseError> {
        tokio::task::yield_now().await;
        let now = Instant::now();
        let held = &mut self.table.lock().unwrap().held;
        let is_held = |lease: &Held| {
            let is_own = lease.owner == self.owner && lease.run == self.run;
            is_own && lease.expires.is_some_and(|expires| expires > now)
        };
        let mut count = wanted.iter().filter_map(|name| held.get(name)).filter(|lease| is_held(lease)).count();
        for name in wanted {
            let free = || Held { owner: String::new(), run: 0, epoch: 0, expires: None };
            let lease = held.entry(name.clone()).or_insert_with(free);
            let running = lease.expires.is_some_and(|expires| expires > now);
            let own = lease.owner == self.owner;
            if running && !own {
                continue;
            }
            if !(running && lease.run == self.run) {
                if count >= held_max as usize {
                    continue;
                }
                count += 1;
                lease.epoch += 1;
            }
            (lease.owner, lease.run, lease.expires) = (self.owner.clone(), self.run, Some(now + time_to_live));
        }
        let own = held.iter().filter(|(_, lease)| is_held(lease));
        Ok(own.map(|(name, lease)| Lease { name: name.clone(), epoch: lease.epoch }).collect())
    }

    async fn release(&self, names: &[String]) -> Result<(), LeaseError> {
        let held = &mut self.table.lock().unwrap().held;
        for name in names {
            if let Some(lease) = held.get_mut(name).filter(|lease| lease.owner == self.owner && lease.run == self.run) {
                lease.expires = None;
            }
        }
        Ok(())
    }

    async fn leave(&self) -> Result<(), LeaseError> {
        let mut table = self.table.lock().unwrap();
        table.owners.remove(&self.owner);
        for lease in table.held.values_mut().filter(|lease| lease.owner == self.owner && lease.run == self.run) {
            lease.expires = None;
        }
        Ok(())
    }

    async fn holdings(&self) -> Result<Vec<Holding>, LeaseError> {
        let now = Instant::now();
        let table = self.table.lock().unwrap();
        let held = table.held.iter().filter(|(_, lease)| lease.expires.is_some_and(|expires| expires > now));
        let holding = |(name, lease): (&String, &Held)| Holding {
            name: name.clone(),
            owner: lease.owner.clone(),
            epoch: lease.epoch,
        };
        Ok(held.map(holding).collect())
    }

    async fn probe(&self) -> Result<BackendInfo, LeaseError> {
        Ok(BackendInfo { version: "memory".to_owned(), advice: Vec::new() })
    }
}
