//! What any [`Leases`] must do; and, in [`super::shared_leases`], what those do that several owners share.

pub mod memory;
mod owning;
pub(super) mod sharing;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{Lease, Leases, conformance::within_deadline};

pub use owning::*;

/// One lease store, empty at first.
#[async_trait]
pub trait LeasesFactory: Send + Sync {
    /// A new run of `owner`. Where one owner at a time may have the store, the run before is dropped already.
    async fn open(&self, owner: &str) -> Arc<dyn Leases>;
}

/// No case lasts so long.
const LONG: Duration = Duration::from_secs(3_600);

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Holds, and returns those of `wanted` that are held, in their order.
async fn hold(leases: &dyn Leases, wanted: &[&str], time_to_live: Duration) -> Vec<Lease> {
    let held = within_deadline("hold", leases.hold(&names(wanted), u32::MAX, time_to_live)).await.unwrap();
    let of_name = |name: &&str| held.iter().find(|lease| lease.name == *name).cloned();
    wanted.iter().filter_map(of_name).collect()
}

/// The epoch of a lease that must be had.
async fn hold_one(leases: &dyn Leases, name: &str, time_to_live: Duration) -> u64 {
    match &hold(leases, &[name], time_to_live).await[..] {
        [lease] => lease.epoch,
        other => panic!("{name} is free or its own: {other:?}"),
    }
}
