//! How many devices there are: the bound `stream.devices_max`.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
};

use orinoco_domain::DeviceId;

/// The devices that this daemon knows. Policy at the bound: a further device's messages are dead letters, known ones go on.
#[derive(Debug, Clone)]
pub struct DeviceCensus {
    devices: Arc<RwLock<HashSet<DeviceId>>>,
    devices_max: usize,
}

impl DeviceCensus {
    #[must_use]
    pub fn new(devices_max: usize) -> Self {
        Self { devices: Arc::default(), devices_max }
    }

    #[must_use]
    pub fn devices_max(&self) -> usize {
        self.devices_max
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.devices.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the device is known, or may become so.
    #[must_use]
    pub fn admit(&self, device: &DeviceId) -> bool {
        if self.devices.read().unwrap_or_else(PoisonError::into_inner).contains(device) {
            return true;
        }
        let mut devices = self.devices.write().unwrap_or_else(PoisonError::into_inner);
        devices.contains(device) || (devices.len() < self.devices_max && devices.insert(device.clone()))
    }

    /// Makes devices known that the store holds: those are never turned away.
    pub fn register<'a>(&self, known: impl Iterator<Item = &'a DeviceId>) {
        self.devices.write().unwrap_or_else(PoisonError::into_inner).extend(known.cloned());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn beyond_the_bound_only_known_devices_pass() {
        let census = DeviceCensus::new(2);
        let device = |name: &str| DeviceId::parse(name).unwrap();
        census.register([device("stored")].iter());
        assert!(census.admit(&device("a")));
        assert!(!census.admit(&device("b")));
        assert!(census.admit(&device("a")) && census.admit(&device("stored")));
    }
}
