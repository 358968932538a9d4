//! Pairs the axes of one partition's devices and applies each batch in one step.
//!
//! Supervised by `stream`, one a partition. Invariant: its memory is a replica of what the store holds: it changes with an applied batch
//! only, and is dropped whenever it isn't known whether one was applied. Fencing, position and revision are checked in the store.

mod batch;
mod repeats;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use orinoco_domain::{
    Axis, CoordinateRecord, DeviceId, Position,
    pairing::{DeviceState, PairingRule},
};
use orinoco_ports::{Applied, Batch, Clock, CoordinateStore, Span, StoreError};
use orinoco_supervision::{Actor, Context, Failure, Group, Message, Reply, fault};
use tokio::time::Instant;

use self::{batch::Building, repeats::Repeats};
use crate::{DeviceCensus, Health, KafkaConsumerMessage, Tracer};

/// What a store may take for one step; its own timeouts are shorter.
const STORE_TIMEOUT: Duration = Duration::from_secs(4);
const RELOAD_AFTER: Duration = Duration::from_millis(500);

/// All that can happen to a [`RedisWriter`].
pub enum RedisWriterMessage {
    /// Where does the store stand? Fences owners with a lower epoch off.
    Load { fence: u64, reply: Reply<Result<Position, StoreError>> },
    /// Apply what was read from the log.
    Apply { batch: SortedBatch, reply: Reply<ApplyOutcome> },
    /// Yield the halves whose partner did not come.
    Expire,
}

impl Message for RedisWriterMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Load { .. } => "load",
            Self::Apply { .. } => "apply",
            Self::Expire => "expire",
        }
    }
}

/// Records in the order in which they are to be applied, and the stretch of the log that they stand for.
#[derive(Debug, Clone, PartialEq)]
pub struct SortedBatch {
    pub from: Position,
    pub to: Position,
    pub records: Vec<CoordinateRecord>,
    /// When the first of them came to the daemon (that of another producer: was written), in milliseconds since 1970.
    pub first_ms: Option<i64>,
    /// Axes whose topic was made anew: its offsets began again, and with them the identities of other producers' records.
    pub made_anew: Vec<Axis>,
    /// Of those records that are traced; they end when the batch is applied.
    pub spans: Vec<Span>,
}

/// What became of a [`SortedBatch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyOutcome {
    Done,
    /// Load again and read from there.
    Moved,
    /// A newer owner has the partition.
    Fenced,
    Unavailable(String),
}

/// What a [`RedisWriter`] needs.
pub struct RedisWriterArguments {
    pub store: Arc<dyn CoordinateStore>,
    pub rule: PairingRule,
    /// Frames to keep a device.
    pub history_max: usize,
    pub census: DeviceCensus,
    pub clock: Arc<dyn Clock>,
    pub health: Health,
    pub consumers: Group<KafkaConsumerMessage>,
    pub tracer: Tracer,
}

pub struct RedisWriterState {
    arguments: RedisWriterArguments,
    partition: u32,
    component: String,
    /// The last owner's epoch: under it the replica is loaded again after trouble.
    fence: Option<u64>,
    /// `None`: not loaded, or not known any more.
    replica: Option<Replica>,
    /// An `Expire` is on its way.
    expiring: bool,
    meters: Meters,
}

/// What the store holds of the partition.
struct Replica {
    fence: u64,
    revision: u64,
    position: Position,
    epoch: Arc<str>,
    marks: HashMap<String, u64>,
    devices: HashMap<DeviceId, DeviceState>,
    /// Devices with halves that wait.
    waiting: HashSet<DeviceId>,
}

struct Meters {
    applied: metrics::Counter,
    skipped: metrics::Counter,
    frames: metrics::Counter,
    applying: metrics::Histogram,
    age: metrics::Histogram,
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct RedisWriter;

impl RedisWriter {
    /// The store, as the writer of a partition sees it: known while this daemon owns the partition.
    pub(crate) fn component(partition: u32) -> String {
        format!("store/{partition}")
    }
}

impl Actor for RedisWriter {
    type Message = RedisWriterMessage;
    type Arguments = RedisWriterArguments;
    type State = RedisWriterState;

    async fn pre_start(
        &self,
        context: &Context<RedisWriterMessage>,
        arguments: RedisWriterArguments,
    ) -> Result<RedisWriterState, Failure> {
        let partition = context.instance();
        // Down: it asks where to go on when it starts.
        let _ = arguments.consumers.get(partition).try_send(KafkaConsumerMessage::WriterStarted);
        let labels = [("partition", partition.to_string())];
        Ok(RedisWriterState {
            arguments,
            partition,
            component: RedisWriter::component(partition),
            fence: None,
            replica: None,
            expiring: false,
            meters: Meters {
                applied: metrics::counter!("orinoco_records_applied_total", &labels),
                skipped: metrics::counter!("orinoco_records_repeated_total", &labels),
                frames: metrics::counter!("orinoco_frames_total", &labels),
                applying: metrics::histogram!("orinoco_apply_duration_seconds"),
                age: metrics::histogram!("orinoco_record_age_seconds"),
            },
        })
    }

    async fn handle(
        &self,
        context: &Context<RedisWriterMessage>,
        message: RedisWriterMessage,
        state: &mut RedisWriterState,
    ) -> Result<(), Failure> {
        match message {
            RedisWriterMessage::Load { fence, reply } => reply.send(state.load(fence).await),
            RedisWriterMessage::Apply { batch, reply } => {
                let outcome = state.apply(batch).await?;
                reply.send(outcome);
                fault::point("redis_writer.after_acknowledgement").await?;
            }
            RedisWriterMessage::Expire => state.expire().await?,
        }
        state.schedule_expiry(context);
        Ok(())
    }
}

impl RedisWriterState {
    async fn load(&mut self, fence: u64) -> Result<Position, StoreError> {
        self.replica = None;
        self.fence = Some(fence);
        let load = self.arguments.store.load(self.partition, fence);
        let loaded = match tokio::time::timeout(STORE_TIMEOUT, load).await {
            Ok(loaded) => loaded,
            Err(_elapsed) => Err(no_answer()),
        };
        let loaded = loaded.inspect_err(|error| self.arguments.health.down(&self.component, error))?;
        self.arguments.health.up(&self.component);
        self.arguments.census.register(loaded.devices.iter().map(|(device, _)| device));
        let waiting = loaded.devices.iter().filter(|(_, state)| !state.pending.is_empty());
        self.replica = Some(Replica {
            fence,
            revision: loaded.revision,
            position: loaded.position,
            epoch: loaded.epoch,
            marks: loaded.marks.into_iter().collect(),
            waiting: waiting.map(|(device, _)| device.clone()).collect(),
            devices: loaded.devices.into_iter().collect(),
        });
        Ok(loaded.position)
    }

    async fn apply(&mut self, sorted: SortedBatch) -> Result<ApplyOutcome, Failure> {
        let Some(mut replica) = self.replica.take() else { return Ok(ApplyOutcome::Moved) };
        if replica.position != sorted.from {
            return Ok(ApplyOutcome::Moved);
        }
        let records = sorted.records.len() as u64;
        let repeats = match Repeats::find(&self.arguments, self.partition, &replica, &sorted.records).await {
            Ok(repeats) => repeats,
            Err(error) => {
                self.arguments.health.down(&self.component, &error);
                return Ok(ApplyOutcome::Unavailable(error.to_string()));
            }
        };
        let mut building = Building::new(&mut replica, &self.arguments, self.partition, repeats);
        sorted.made_anew.into_iter().for_each(|axis| building.forget_offsets(axis));
        sorted.records.into_iter().for_each(|record| building.feed(record));
        let repeated = building.repeated();
        let step = building.finish(sorted.from, sorted.to);
        let frames = frame_count(&step);
        let outcome = self.commit(replica, &step).await?;
        if outcome == ApplyOutcome::Done {
            self.meters.applied.increment(records);
            self.meters.skipped.increment(repeated);
            self.meters.frames.increment(frames);
            self.arguments.tracer.finish_all(sorted.spans);
            if let Some(first_ms) = sorted.first_ms {
                self.meters.age.record(self.arguments.clock.now_ms().saturating_sub(first_ms).max(0) as f64 / 1e3);
            }
        }
        Ok(outcome)
    }

    /// The replica stays only if the store has taken the same step.
    async fn commit(&mut self, mut replica: Replica, step: &Batch) -> Result<ApplyOutcome, Failure> {
        fault::point("redis_writer.before_effect").await?;
        let apply = self.arguments.store.apply(step);
        let begun = Instant::now();
        let applied = tokio::time::timeout(STORE_TIMEOUT, apply).await.unwrap_or_else(|_| Err(no_answer()));
        self.meters.applying.record(begun.elapsed());
        fault::point("redis_writer.after_effect").await?;
        Ok(match applied {
            Ok(Applied::Done) => {
                self.arguments.health.up(&self.component);
                replica.revision += 1;
                replica.position = step.to;
                self.replica = Some(replica);
                ApplyOutcome::Done
            }
            Ok(Applied::Conflict { revision, position }) => {
                tracing::info!(partition = self.partition, revision, ?position, "store stands elsewhere");
                ApplyOutcome::Moved
            }
            Ok(Applied::Fenced { fence }) | Err(StoreError::Fenced { fence }) => {
                tracing::warn!(partition = self.partition, fence, "fenced off by a newer owner");
                self.fence = None;
                ApplyOutcome::Fenced
            }
            Err(error @ (StoreError::Unavailable { .. } | StoreError::Corrupt { .. })) => {
                self.arguments.health.down(&self.component, &error);
                ApplyOutcome::Unavailable(error.to_string())
            }
        })
    }

    /// Driven by the clock: a half is yielded although nothing else arrives.
    async fn expire(&mut self) -> Result<(), Failure> {
        self.expiring = false;
        if self.replica.is_none()
            && let Some(fence) = self.fence
            && let Err(StoreError::Fenced { .. }) = self.load(fence).await
        {
            self.fence = None;
        }
        let Some(mut replica) = self.replica.take() else { return Ok(()) };
        let position = replica.position;
        let mut building = Building::new(&mut replica, &self.arguments, self.partition, Repeats::default());
        if !building.expire() {
            self.replica = Some(replica);
            return Ok(());
        }
        let step = building.finish(position, position);
        let frames = frame_count(&step);
        if self.commit(replica, &step).await? == ApplyOutcome::Done {
            self.meters.frames.increment(frames);
        }
        Ok(())
    }

    fn schedule_expiry(&mut self, context: &Context<RedisWriterMessage>) {
        let delay = match &self.replica {
            // In trouble: load again, for the halves that wait in the store.
            None if self.fence.is_some() => RELOAD_AFTER,
            Some(replica) if !replica.waiting.is_empty() => {
                let grace_ms = self.arguments.rule.grace_ms.unsigned_abs();
                Duration::from_millis((grace_ms / 8).clamp(5, 250))
            }
            _ => return,
        };
        if !self.expiring {
            self.expiring = true;
            context.send_after(delay, RedisWriterMessage::Expire);
        }
    }
}

fn frame_count(step: &Batch) -> u64 {
    step.devices.iter().map(|update| update.frames.len() as u64).sum()
}

fn no_answer() -> StoreError {
    StoreError::Unavailable { place: "coordinates".to_owned(), reason: "no answer in time".to_owned() }
}
