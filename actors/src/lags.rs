//! How far the consumers of this daemon are behind the ends of their partitions, for people to look at.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Records by partition, as of the last fetch. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lags(Arc<Mutex<BTreeMap<u32, u64>>>);

impl Lags {
    /// `None` where the partition is another daemon's, or was not read yet.
    #[must_use]
    pub fn of(&self, partition: u32) -> Option<u64> {
        self.map().get(&partition).copied()
    }

    pub(crate) fn set(&self, partition: u32, records: u64) {
        self.map().insert(partition, records);
    }

    pub(crate) fn forget(&self, partition: u32) {
        self.map().remove(&partition);
    }

    fn map(&self) -> MutexGuard<'_, BTreeMap<u32, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
