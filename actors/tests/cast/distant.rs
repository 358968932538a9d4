//! Backends that answer after a while, as those behind a network do, or at first not at all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use orinoco_ports::{
    BackendInfo, Holding, Intake, Lease, LeaseError, Leases, MqttError, MqttLink, MqttSource, Sharing,
};

const DISTANCE: Duration = Duration::from_millis(40);

pub(crate) struct Distant<T> {
    near: T,
    has_answered: AtomicBool,
}

impl<T> Distant<T> {
    pub(crate) fn new(near: T) -> Self {
        Self { near, has_answered: AtomicBool::new(false) }
    }
}

#[async_trait]
impl Leases for Distant<Arc<dyn Leases>> {
    async fn take_part(&self, time_to_live: Duration) -> Result<Sharing, LeaseError> {
        tokio::time::sleep(DISTANCE).await;
        self.near.take_part(time_to_live).await
    }

    async fn hold(&self, wanted: &[String], held_max: u32, time_to_live: Duration) -> Result<Vec<Lease>, LeaseError> {
        tokio::time::sleep(DISTANCE).await;
        if !self.has_answered.swap(true, Ordering::Relaxed) {
            return Err(LeaseError::Unavailable { place: "far away".to_owned(), reason: "not up yet".to_owned() });
        }
        self.near.hold(wanted, held_max, time_to_live).await
    }

    async fn release(&self, names: &[String]) -> Result<(), LeaseError> {
        tokio::time::sleep(DISTANCE).await;
        self.near.release(names).await
    }

    async fn leave(&self) -> Result<(), LeaseError> {
        tokio::time::sleep(DISTANCE).await;
        self.near.leave().await
    }

    async fn holdings(&self) -> Result<Vec<Holding>, LeaseError> {
        self.near.holdings().await
    }

    async fn probe(&self) -> Result<BackendInfo, LeaseError> {
        self.near.probe().await
    }
}

#[async_trait]
impl MqttSource for Distant<Arc<dyn MqttSource>> {
    async fn connect(&self, intake: Arc<dyn Intake>) -> Result<Box<dyn MqttLink>, MqttError> {
        tokio::time::sleep(DISTANCE).await;
        self.near.connect(intake).await
    }
}
