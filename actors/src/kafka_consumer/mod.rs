//! Reads one partition of `coordX` and `coordY` and hands it over in order.
//!
//! Supervised by `stream`, one a partition. Invariant: the position is the store's, never its own: after any trouble it asks the
//! [`RedisWriter`](crate::RedisWriter) where to go on. It fetches the next batch while the last one is applied. What can't be
//! understood becomes a dead letter, and what lies in a foreign partition is produced again, before the batch is applied.

mod sort;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use orinoco_domain::{Axis, Position};
use orinoco_ports::{Clock, Fetched, LogError, RecordLog};
use orinoco_supervision::{Actor, Address, CallError, Context, Failure, Group, Message, fault};

use crate::{
    DeviceCensus, Health, KafkaProducerMessage, Lags, LeaseKeeperMessage, RedisWriter, RedisWriterMessage, Tracer,
    redis_writer::{ApplyOutcome, SortedBatch},
};
use sort::{Sorted, Sorter};

pub use sort::Aside;

/// How long a fetch waits for a first record.
const FETCH_WAIT_MAX: Duration = Duration::from_millis(500);
/// Bytes of one fetch, a topic: some 2,000 records, so that a batch stays a small step for the store.
const FETCH_BYTES_MAX: usize = 256 * 1024;
/// How long the writer, or the producer, may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// What to do when the log no longer holds the position: `kafka.on_data_loss`. An alarm is raised in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DataLossPolicy {
    /// Go on with the first record that is held.
    #[default]
    Earliest,
    /// Stay, not ready, until somebody decides.
    Halt,
}

/// All that can happen to a [`KafkaConsumer`].
#[derive(Debug, Clone, Copy)]
pub enum KafkaConsumerMessage {
    /// Up: ask who owns the partition.
    Started,
    /// The epoch of the partition's lease, or that it is somebody else's. Repeated.
    Lease(Option<u64>),
    /// The writer started anew: what it had taken may be lost, ask it where to go on.
    WriterStarted,
    /// Fetch the next batch, and hand over the last.
    Poll,
}

impl Message for KafkaConsumerMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Lease(_) => "lease",
            Self::WriterStarted => "writer started",
            Self::Poll => "poll",
        }
    }
}

/// What a [`KafkaConsumer`] needs.
pub struct KafkaConsumerArguments {
    pub log: Arc<dyn RecordLog>,
    pub writers: Group<RedisWriterMessage>,
    pub producer: Group<KafkaProducerMessage>,
    pub leases: Group<LeaseKeeperMessage>,
    pub partitions: u32,
    pub on_data_loss: DataLossPolicy,
    pub census: DeviceCensus,
    pub clock: Arc<dyn Clock>,
    pub health: Health,
    /// Told with each fetch.
    pub lags: Lags,
    pub tracer: Tracer,
}

pub struct KafkaConsumerState {
    arguments: KafkaConsumerArguments,
    partition: u32,
    component: String,
    writer: Address<RedisWriterMessage>,
    sorter: Sorter,
    fence: Option<u64>,
    /// `None`: ask the writer.
    position: Option<Position>,
    /// Fetched and sorted, to be applied with the next poll.
    sorted: Option<SortedBatch>,
    /// A `Poll` is on its way.
    polling: bool,
    /// Something came of a fetch since the position was asked for.
    has_fetched: bool,
    /// The position for which an alarm was raised last, so that a partition that is halted says so once.
    alarmed_at: Option<(String, i64)>,
    lag: metrics::Gauge,
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct KafkaConsumer;

/// What interrupts the flow; the flow starts again from the store's position.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("writer: {0}")]
    Writer(String),
    #[error("producer: {0}")]
    Producer(String),
    #[error("the store stands elsewhere")]
    Moved,
    #[error("a newer owner has the partition")]
    Fenced,
    #[error("halted by kafka.on_data_loss: {0}")]
    Halted(String),
}

impl Actor for KafkaConsumer {
    type Message = KafkaConsumerMessage;
    type Arguments = KafkaConsumerArguments;
    type State = KafkaConsumerState;

    async fn pre_start(
        &self,
        context: &Context<KafkaConsumerMessage>,
        arguments: KafkaConsumerArguments,
    ) -> Result<KafkaConsumerState, Failure> {
        let partition = context.instance();
        context.send_after(Duration::ZERO, KafkaConsumerMessage::Started);
        Ok(KafkaConsumerState {
            partition,
            component: format!("consumer/{partition}"),
            writer: arguments.writers.get(partition),
            sorter: Sorter {
                partition,
                partitions: arguments.partitions,
                census: arguments.census.clone(),
                clock: Arc::clone(&arguments.clock),
                tracer: arguments.tracer.clone(),
            },
            fence: None,
            position: None,
            sorted: None,
            polling: false,
            has_fetched: false,
            alarmed_at: None,
            lag: metrics::gauge!("orinoco_consumer_lag_records", "partition" => partition.to_string()),
            arguments,
        })
    }

    async fn handle(
        &self,
        context: &Context<KafkaConsumerMessage>,
        message: KafkaConsumerMessage,
        state: &mut KafkaConsumerState,
    ) -> Result<(), Failure> {
        match message {
            KafkaConsumerMessage::Started => {
                // Down: it tells all when it starts.
                let _ = state.arguments.leases.one().try_send(LeaseKeeperMessage::Tell);
            }
            KafkaConsumerMessage::Lease(epoch) => state.lease(epoch, context),
            KafkaConsumerMessage::WriterStarted => state.forget(),
            KafkaConsumerMessage::Poll => state.poll(context).await?,
        }
        Ok(())
    }
}

impl KafkaConsumerState {
    fn lease(&mut self, epoch: Option<u64>, context: &Context<KafkaConsumerMessage>) {
        if self.fence != epoch {
            tracing::info!(partition = self.partition, epoch, "partition lease");
            self.fence = epoch;
            self.forget();
        }
        match epoch {
            // Not ready until it has looked where the log ends.
            Some(_) => self.arguments.health.expect(&self.component),
            None => {
                self.arguments.lags.forget(self.partition);
                self.arguments.health.forget(&self.component);
                self.arguments.health.forget(&RedisWriter::component(self.partition));
            }
        }
        self.schedule(context, Duration::ZERO);
    }

    fn schedule(&mut self, context: &Context<KafkaConsumerMessage>, delay: Duration) {
        if self.fence.is_none() || self.polling {
            return;
        }
        self.polling = true;
        if !delay.is_zero() || context.address().try_send(KafkaConsumerMessage::Poll).is_err() {
            context.send_after(delay, KafkaConsumerMessage::Poll);
        }
    }

    fn forget(&mut self) {
        self.position = None;
        self.sorted = None;
        self.has_fetched = false;
    }

    async fn poll(&mut self, context: &Context<KafkaConsumerMessage>) -> Result<(), Failure> {
        self.polling = false;
        let Some(fence) = self.fence else { return Ok(()) };
        fault::point("kafka_consumer.before_effect").await?;
        let stepped = self.step(fence).await;
        fault::point("kafka_consumer.after_effect").await?;
        match stepped {
            Ok(()) => self.schedule(context, Duration::ZERO),
            Err(trouble) => {
                self.forget();
                match &trouble {
                    // Not a fault: the flow goes on from where the store stands.
                    Trouble::Moved => tracing::debug!(partition = self.partition, "position moved"),
                    Trouble::Fenced => self.fence = None,
                    _ => self.arguments.health.down(&self.component, &trouble),
                }
                self.schedule(context, RETRY_AFTER);
            }
        }
        Ok(())
    }

    /// Hands the last batch over and fetches the next one meanwhile.
    async fn step(&mut self, fence: u64) -> Result<(), Trouble> {
        let position = match self.position {
            Some(position) => position,
            None => self.load(fence).await?,
        };
        let sorted = self.sorted.take();
        let from = sorted.as_ref().map_or(position, |batch| batch.to);
        // The first look tells at once how far behind we are.
        let wait_max = if self.has_fetched { FETCH_WAIT_MAX } else { Duration::ZERO };
        let fetch = self.arguments.log.fetch(self.partition, from, FETCH_BYTES_MAX, wait_max);
        let (applied, fetched) = tokio::join!(self.apply(sorted), fetch);
        applied?;
        self.position = Some(from);
        match fetched {
            Ok(fetched) => self.sort(from, fetched).await,
            Err(LogError::OutOfRange { topic, wanted, first, end, .. }) => {
                self.data_loss(fence, from, &topic, (wanted, first, end)).await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn load(&mut self, fence: u64) -> Result<Position, Trouble> {
        let answer = self.writer.call(|reply| RedisWriterMessage::Load { fence, reply }, CALL_TIMEOUT).await;
        let position = answer.map_err(writer_trouble)?.map_err(|error| match error {
            orinoco_ports::StoreError::Fenced { .. } => Trouble::Fenced,
            error => Trouble::Writer(error.to_string()),
        })?;
        self.position = Some(position);
        Ok(position)
    }

    async fn apply(&self, batch: Option<SortedBatch>) -> Result<(), Trouble> {
        let Some(batch) = batch else { return Ok(()) };
        let answer = self.writer.call(|reply| RedisWriterMessage::Apply { batch, reply }, CALL_TIMEOUT).await;
        match answer.map_err(writer_trouble)? {
            ApplyOutcome::Done => Ok(()),
            ApplyOutcome::Moved => Err(Trouble::Moved),
            ApplyOutcome::Fenced => Err(Trouble::Fenced),
            ApplyOutcome::Unavailable(reason) => Err(Trouble::Writer(reason)),
        }
    }

    async fn sort(&mut self, from: Position, fetched: Fetched) -> Result<(), Trouble> {
        self.has_fetched = true;
        let behind = fetched.next.lag_behind(&fetched.end);
        self.lag.set(behind as f64);
        self.arguments.lags.set(self.partition, behind);
        if behind > (fetched.records.len() as u64).max(1_000) {
            self.arguments.health.catching_up(&self.component, behind);
        } else {
            self.arguments.health.up(&self.component);
        }
        if fetched.next == from {
            return Ok(());
        }
        let Sorted { batch, aside } = self.sorter.sort(from, fetched);
        if !aside.is_empty() {
            let produce = |reply| KafkaProducerMessage::Aside { aside, reply };
            let answer = self.arguments.producer.one().call(produce, CALL_TIMEOUT).await;
            answer.map_err(|error| Trouble::Producer(error.to_string()))?.map_err(Trouble::Producer)?;
        }
        self.sorted = Some(batch);
        Ok(())
    }

    /// Alarm first; then as configured, never a silent skip.
    async fn data_loss(
        &mut self,
        fence: u64,
        from: Position,
        topic: &str,
        (wanted, first, end): (i64, i64, i64),
    ) -> Result<(), Trouble> {
        let what = format!(
            "{topic}/{}: offset {wanted} is gone, the log holds {first} to {end} (exclusive); records in between were never applied",
            self.partition
        );
        let place = (topic.to_owned(), wanted);
        if self.alarmed_at.as_ref() != Some(&place) {
            self.arguments.health.alarm(&format!("data-loss/{topic}/{}", self.partition), what.clone());
            self.alarmed_at = Some(place);
        }
        if self.arguments.on_data_loss == DataLossPolicy::Halt {
            return Err(Trouble::Halted(what));
        }
        let (earliest, end) = self.arguments.log.bounds(self.partition).await?;
        let mut to = from;
        let mut made_anew = Vec::new();
        for axis in Axis::BOTH {
            if !(earliest.of(axis)..=end.of(axis)).contains(&from.of(axis)) {
                to.set(axis, earliest.of(axis));
            }
            if end.of(axis) < from.of(axis) {
                made_anew.push(axis);
            }
        }
        tracing::warn!(
            partition = self.partition,
            fence,
            ?from,
            ?to,
            ?made_anew,
            "going on with the first record held"
        );
        self.sorted = Some(SortedBatch { from, to, records: Vec::new(), made_anew, first_ms: None, spans: Vec::new() });
        Ok(())
    }
}

fn writer_trouble(error: CallError) -> Trouble {
    Trouble::Writer(error.to_string())
}
