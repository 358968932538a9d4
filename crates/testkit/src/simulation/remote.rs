//! The ports of the streaming half behind a [`Link`].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use orinoco_domain::{Axis, DeviceId, Position, RawRecord};
use orinoco_ports::{
    Applied, BackendInfo, Batch, CoordinateStore, DeadLetterPage, Fetched, HistoryPage, Holding, InboundMessage,
    Intake, Lease, LeaseError, Leases, LogError, MqttError, MqttLink, MqttSource, PartitionState, Publication,
    RecordLog, Refused, Sharing, SnapshotEntry, SnapshotPage, StoreError, Subscription,
};

use super::{Link, link::Unreachable};

/// A backend at the other end of a [`Link`].
pub struct Remote<T> {
    pub(super) near: T,
    pub(super) link: Arc<Link>,
}

impl<T> Remote<T> {
    pub fn new(near: T, link: &Arc<Link>) -> Self {
        Self { near, link: Arc::clone(link) }
    }
}

const PLACE: &str = "simulated";

fn reason() -> String {
    "the way is cut".to_owned()
}

impl From<Unreachable> for StoreError {
    fn from(_: Unreachable) -> Self {
        Self::Unavailable { place: PLACE.to_owned(), reason: reason() }
    }
}

impl From<Unreachable> for LogError {
    fn from(_: Unreachable) -> Self {
        Self::Unavailable { place: PLACE.to_owned(), reason: reason() }
    }
}

impl From<Unreachable> for LeaseError {
    fn from(_: Unreachable) -> Self {
        Self::Unavailable { place: PLACE.to_owned(), reason: reason() }
    }
}

impl From<Unreachable> for MqttError {
    fn from(_: Unreachable) -> Self {
        Self::Unavailable { url: PLACE.to_owned(), reason: reason() }
    }
}

#[async_trait]
impl CoordinateStore for Remote<Arc<dyn CoordinateStore>> {
    async fn load(&self, partition: u32, fence: u64) -> Result<PartitionState, StoreError> {
        self.link.call("load", self.near.load(partition, fence)).await?
    }

    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        self.link.call("apply", self.near.apply(batch)).await?
    }

    async fn epoch(&self, partition: u32) -> Result<Arc<str>, StoreError> {
        self.link.call("epoch", self.near.epoch(partition)).await?
    }

    async fn reset(&self, partition: u32, fence: u64) -> Result<(), StoreError> {
        self.link.call("reset", self.near.reset(partition, fence)).await?
    }

    async fn snapshot(
        &self,
        partition: u32,
        cursor: Option<&str>,
        entries_max: usize,
    ) -> Result<SnapshotPage, StoreError> {
        self.link.call("snapshot", self.near.snapshot(partition, cursor, entries_max)).await?
    }

    async fn latest(&self, partition: u32, device: &DeviceId) -> Result<Option<SnapshotEntry>, StoreError> {
        self.link.call("latest", self.near.latest(partition, device)).await?
    }

    async fn history(
        &self,
        partition: u32,
        device: &DeviceId,
        after: u64,
        frames_max: usize,
    ) -> Result<HistoryPage, StoreError> {
        self.link.call("history", self.near.history(partition, device, after, frames_max)).await?
    }

    async fn subscribe(&self, partition: u32) -> Result<Box<dyn Subscription>, StoreError> {
        let connection = self.link.connection();
        let near = self.link.call("subscribe", self.near.subscribe(partition)).await??;
        Ok(Box::new(RemoteSubscription { near, link: Arc::clone(&self.link), connection }))
    }

    async fn probe(&self) -> Result<BackendInfo, StoreError> {
        self.link.call("probe", self.near.probe()).await?
    }
}

struct RemoteSubscription {
    near: Box<dyn Subscription>,
    link: Arc<Link>,
    connection: u64,
}

#[async_trait]
impl Subscription for RemoteSubscription {
    async fn next(&mut self) -> Result<Publication, StoreError> {
        tokio::select! {
            biased;
            () = self.link.ended(self.connection) => Err(Unreachable.into()),
            publication = self.near.next() => publication,
        }
    }
}

#[async_trait]
impl RecordLog for Remote<Arc<dyn RecordLog>> {
    async fn partitions(&self) -> Result<u32, LogError> {
        self.link.call("partitions", self.near.partitions()).await?
    }

    async fn produce(&self, partition: u32, records: &[(Axis, RawRecord)]) -> Result<(), LogError> {
        self.link.call("produce", self.near.produce(partition, records)).await?
    }

    async fn produce_dead_letters(&self, letters: &[RawRecord]) -> Result<(), LogError> {
        self.link.call("produce dead letters", self.near.produce_dead_letters(letters)).await?
    }

    async fn fetch(
        &self,
        partition: u32,
        from: Position,
        bytes_max: usize,
        wait_max: Duration,
    ) -> Result<Fetched, LogError> {
        self.link.call("fetch", self.near.fetch(partition, from, bytes_max, wait_max)).await?
    }

    async fn bounds(&self, partition: u32) -> Result<(Position, Position), LogError> {
        self.link.call("bounds", self.near.bounds(partition)).await?
    }

    async fn dead_letters(&self, cursor: Option<&str>, letters_max: usize) -> Result<DeadLetterPage, LogError> {
        self.link.call("dead letters", self.near.dead_letters(cursor, letters_max)).await?
    }

    async fn probe(&self) -> Result<BackendInfo, LogError> {
        self.link.call("probe", self.near.probe()).await?
    }
}

#[async_trait]
impl Leases for Remote<Arc<dyn Leases>> {
    async fn take_part(&self, time_to_live: Duration) -> Result<Sharing, LeaseError> {
        self.link.call("take part", self.near.take_part(time_to_live)).await?
    }

    async fn hold(&self, wanted: &[String], held_max: u32, time_to_live: Duration) -> Result<Vec<Lease>, LeaseError> {
        self.link.call("hold", self.near.hold(wanted, held_max, time_to_live)).await?
    }

    async fn leave(&self) -> Result<(), LeaseError> {
        self.link.call("leave", self.near.leave()).await?
    }

    async fn release(&self, names: &[String]) -> Result<(), LeaseError> {
        self.link.call("release", self.near.release(names)).await?
    }

    async fn holdings(&self) -> Result<Vec<Holding>, LeaseError> {
        self.link.call("holdings", self.near.holdings()).await?
    }

    async fn probe(&self) -> Result<BackendInfo, LeaseError> {
        self.link.call("probe", self.near.probe()).await?
    }
}

#[async_trait]
impl MqttSource for Remote<Arc<dyn MqttSource>> {
    async fn connect(&self, intake: Arc<dyn Intake>) -> Result<Box<dyn MqttLink>, MqttError> {
        let connection = self.link.connection();
        let intake = Arc::new(RemoteIntake { near: intake, link: Arc::clone(&self.link) });
        let near = self.link.call("connect", self.near.connect(intake)).await??;
        Ok(Box::new(RemoteLink { near, link: Arc::clone(&self.link), connection }))
    }
}

/// Messages take their way; those that are under way when it is cut are lost with it, and their PUBACKs.
struct RemoteIntake {
    near: Arc<dyn Intake>,
    link: Arc<Link>,
}

#[async_trait]
impl Intake for RemoteIntake {
    fn accept_blocking(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
        self.near.accept_blocking(message)
    }

    async fn accept(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
        self.link.call("message", self.near.accept(message)).await.unwrap_or(Err(Refused::Closed))
    }
}

struct RemoteLink {
    near: Box<dyn MqttLink>,
    link: Arc<Link>,
    connection: u64,
}

#[async_trait]
impl MqttLink for RemoteLink {
    async fn lost(&mut self) -> MqttError {
        tokio::select! {
            biased;
            () = self.link.ended(self.connection) => Unreachable.into(),
            error = self.near.lost() => error,
        }
    }

    async fn disconnect(self: Box<Self>) {
        self.near.disconnect().await;
    }
}
