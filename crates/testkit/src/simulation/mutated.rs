//! The product, made worse on purpose. Each of these is what somebody might write, and an invariant must notice.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use orinoco_domain::DeviceId;
use orinoco_ports::{
    Applied, BackendInfo, Batch, CoordinateStore, HistoryPage, InboundMessage, Intake, MqttError, MqttLink, MqttSource,
    PartitionState, Refused, SnapshotEntry, SnapshotPage, StoreError, Subscription,
};
use tokio::{sync::mpsc, task::AbortHandle, time::sleep};

use super::Mutation;

/// A round trip.
const STEP: Duration = Duration::from_millis(2);

/// Messages that are acknowledged and not written.
const QUEUED_MAX: usize = 1_024;

/// A store that a mutation has weakened; without one it is as it was.
pub struct MutatedStore {
    near: Arc<dyn CoordinateStore>,
    mutation: Option<Mutation>,
}

impl MutatedStore {
    #[must_use]
    pub fn new(near: Arc<dyn CoordinateStore>, mutation: Option<Mutation>) -> Self {
        Self { near, mutation }
    }

    fn fence(&self, fence: u64) -> u64 {
        if self.mutation == Some(Mutation::NoFencing) { 0 } else { fence }
    }

    /// Effects first, then the position: who is killed in between leaves them apart.
    async fn apply_in_two_steps(&self, batch: &Batch) -> Result<Applied, StoreError> {
        let effects = Batch { to: batch.from, ..batch.clone() };
        let applied = self.near.apply(&effects).await?;
        if applied != Applied::Done {
            return Ok(applied);
        }
        sleep(STEP).await;
        let position = Batch { revision: batch.revision + 1, marks: Vec::new(), devices: Vec::new(), ..batch.clone() };
        self.near.apply(&position).await
    }
}

#[async_trait]
impl CoordinateStore for MutatedStore {
    async fn load(&self, partition: u32, fence: u64) -> Result<PartitionState, StoreError> {
        self.near.load(partition, self.fence(fence)).await
    }

    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        match self.mutation {
            Some(Mutation::PositionOutsideOfScript) if batch.to != batch.from => self.apply_in_two_steps(batch).await,
            Some(Mutation::NoFencing) => self.near.apply(&Batch { fence: 0, ..batch.clone() }).await,
            _ => self.near.apply(batch).await,
        }
    }

    async fn epoch(&self, partition: u32) -> Result<Arc<str>, StoreError> {
        self.near.epoch(partition).await
    }

    async fn reset(&self, partition: u32, fence: u64) -> Result<(), StoreError> {
        self.near.reset(partition, self.fence(fence)).await
    }

    async fn snapshot(
        &self,
        partition: u32,
        cursor: Option<&str>,
        entries_max: usize,
    ) -> Result<SnapshotPage, StoreError> {
        self.near.snapshot(partition, cursor, entries_max).await
    }

    async fn latest(&self, partition: u32, device: &DeviceId) -> Result<Option<SnapshotEntry>, StoreError> {
        self.near.latest(partition, device).await
    }

    async fn history(
        &self,
        partition: u32,
        device: &DeviceId,
        after: u64,
        frames_max: usize,
    ) -> Result<HistoryPage, StoreError> {
        self.near.history(partition, device, after, frames_max).await
    }

    async fn subscribe(&self, partition: u32) -> Result<Box<dyn Subscription>, StoreError> {
        self.near.subscribe(partition).await
    }

    async fn probe(&self) -> Result<BackendInfo, StoreError> {
        self.near.probe().await
    }
}

/// A source whose intake may acknowledge too early; without a mutation it is as it was.
pub struct MutatedSource {
    near: Arc<dyn MqttSource>,
    mutation: Option<Mutation>,
}

impl MutatedSource {
    #[must_use]
    pub fn new(near: Arc<dyn MqttSource>, mutation: Option<Mutation>) -> Self {
        Self { near, mutation }
    }
}

#[async_trait]
impl MqttSource for MutatedSource {
    async fn connect(&self, intake: Arc<dyn Intake>) -> Result<Box<dyn MqttLink>, MqttError> {
        match self.mutation {
            Some(Mutation::AcknowledgeBeforeJournal) => self.near.connect(Arc::new(HastyIntake::new(intake))).await,
            _ => self.near.connect(intake).await,
        }
    }
}

/// Says yes, and then writes: a queue behind the acknowledgement, in order, which ends with its connection.
struct HastyIntake {
    intake: Arc<dyn Intake>,
    queue: mpsc::Sender<Queued>,
    writing: AbortHandle,
}

struct Queued {
    topic: String,
    payload: Vec<u8>,
    redelivered: bool,
    packet_id: Option<u16>,
}

impl HastyIntake {
    fn new(intake: Arc<dyn Intake>) -> Self {
        let (queue, mut queued) = mpsc::channel::<Queued>(QUEUED_MAX);
        let near = Arc::clone(&intake);
        let writing = tokio::spawn(async move {
            while let Some(Queued { topic, payload, redelivered, packet_id }) = queued.recv().await {
                sleep(STEP).await;
                let message =
                    InboundMessage { topic: &topic, payload: &payload, traceparent: None, redelivered, packet_id };
                // Refused: it has been acknowledged already.
                let _ = near.accept(message).await;
            }
        });
        Self { intake, queue, writing: writing.abort_handle() }
    }
}

impl Drop for HastyIntake {
    fn drop(&mut self) {
        self.writing.abort();
    }
}

#[async_trait]
impl Intake for HastyIntake {
    fn accept_blocking(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
        self.intake.accept_blocking(message)
    }

    async fn accept(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
        let queued = Queued {
            topic: message.topic.to_owned(),
            payload: message.payload.to_vec(),
            redelivered: message.redelivered,
            packet_id: message.packet_id,
        };
        self.queue.send(queued).await.map_err(|_ended| Refused::Closed)
    }
}
