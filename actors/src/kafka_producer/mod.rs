//! Produces records into the log, acknowledged by all in-sync replicas.
//!
//! Supervised by `stream`. Invariant: one produce in flight a partition, in order of arrival, and a retry is the identical call; so a
//! reader needs one highest mark an origin to see each record once; for the same reason a batch of the journal is taken only where it follows
//! the one before. The outage of the log is a state: the work waits here (its amount is
//! bounded by those who send it: two batches of the ingest, one of each consumer) and is tried again by a timer.

#[cfg(test)]
mod tests;
mod work;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use orinoco_domain::{Axis, RawRecord};
use orinoco_ports::{Clock, LogError, RecordLog, Span};
use orinoco_supervision::{Actor, Context, Failure, Group, Message, Reply, SendError, fault};
use tokio::time::Instant;

use crate::{Health, MqttIngestMessage, Tracer, kafka_consumer::Aside};
use work::Work;

/// One try; the adapter's own deadline is shorter.
const PRODUCE_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// All that can happen to a [`KafkaProducer`].
pub enum KafkaProducerMessage {
    /// A stretch of the journal; answered to [`MqttIngest`](crate::MqttIngest) with `Produced { through }`.
    Journal { batch: JournalBatch },
    /// What a consumer must put aside before it may go on. Tried once; the consumer repeats the call.
    Aside { aside: Aside, reply: Reply<Result<(), String>> },
    /// Try again what waits.
    Retry,
    /// Up: is the log there? Repeated until it is, or until something is produced.
    Probe,
}

impl Message for KafkaProducerMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Journal { .. } => "journal",
            Self::Aside { .. } => "aside",
            Self::Retry => "retry",
            Self::Probe => "probe",
        }
    }
}

/// Records of the journal, decoded; in order a partition.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JournalBatch {
    /// The sequence before the first one that the batch stands for.
    pub after: u64,
    /// The first batch since the ingest began, or began again: what came before is in the log, or in this batch and those to come.
    pub begins: bool,
    /// The last sequence that the batch stands for.
    pub through: u64,
    pub records: Vec<(u32, Axis, RawRecord)>,
    pub dead_letters: Vec<RawRecord>,
    /// Of those records that are traced; they end when the batch is acknowledged.
    pub spans: Vec<Span>,
}

/// What a [`KafkaProducer`] needs.
pub struct KafkaProducerArguments {
    pub log: Arc<dyn RecordLog>,
    pub ingest: Group<MqttIngestMessage>,
    pub partitions: u32,
    pub clock: Arc<dyn Clock>,
    pub health: Health,
    pub tracer: Tracer,
}

pub struct KafkaProducerState {
    arguments: KafkaProducerArguments,
    /// The log has answered since the start.
    is_known: bool,
    waiting: VecDeque<(u64, Work)>,
    /// The last sequence that this incarnation has taken.
    taken: Option<u64>,
    /// A `Retry` is on its way.
    retrying: bool,
    produced: metrics::Counter,
    dead_lettered: metrics::Counter,
    producing: metrics::Histogram,
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct KafkaProducer;

impl KafkaProducer {
    pub const COMPONENT: &'static str = "producer";
}

impl Actor for KafkaProducer {
    type Message = KafkaProducerMessage;
    type Arguments = KafkaProducerArguments;
    type State = KafkaProducerState;

    async fn pre_start(
        &self,
        context: &Context<KafkaProducerMessage>,
        arguments: KafkaProducerArguments,
    ) -> Result<KafkaProducerState, Failure> {
        context.send_after(Duration::ZERO, KafkaProducerMessage::Probe);
        let state = KafkaProducerState {
            arguments,
            is_known: false,
            waiting: VecDeque::new(),
            taken: None,
            retrying: false,
            produced: metrics::counter!("orinoco_records_produced_total"),
            dead_lettered: metrics::counter!("orinoco_dead_letters_total"),
            producing: metrics::histogram!("orinoco_produce_duration_seconds"),
        };
        state.tell_started(context);
        Ok(state)
    }

    async fn handle(
        &self,
        context: &Context<KafkaProducerMessage>,
        message: KafkaProducerMessage,
        state: &mut KafkaProducerState,
    ) -> Result<(), Failure> {
        match message {
            KafkaProducerMessage::Journal { batch } => state.journal(batch, context).await?,
            KafkaProducerMessage::Aside { aside, reply } => {
                let outcome = state.aside(aside).await;
                fault::point("kafka_producer.after_aside").await?;
                reply.send(outcome);
            }
            KafkaProducerMessage::Retry => {
                state.retrying = false;
                state.work_off(context).await?;
            }
            KafkaProducerMessage::Probe => state.probe(context).await,
        }
        Ok(())
    }
}

impl KafkaProducerState {
    /// What a former incarnation had taken is lost with it: the ingest sends it again from the journal.
    fn tell_started(&self, context: &Context<KafkaProducerMessage>) {
        let ingest = self.arguments.ingest.one();
        if let Err(SendError::Full(message)) = ingest.try_send(MqttIngestMessage::ProducerStarted) {
            context.spawn(async move {
                // Down: it sends all when it starts.
                let _ = ingest.send(message).await;
            });
        }
    }

    async fn probe(&mut self, context: &Context<KafkaProducerMessage>) {
        if self.is_known {
            return;
        }
        let asked = tokio::time::timeout(PRODUCE_TIMEOUT, self.arguments.log.partitions()).await;
        match asked.unwrap_or_else(|_| Err(no_answer())) {
            Ok(_) => self.answered(),
            Err(error) => {
                self.arguments.health.down(KafkaProducer::COMPONENT, error);
                context.send_after(RETRY_AFTER, KafkaProducerMessage::Probe);
            }
        }
    }

    fn answered(&mut self) {
        self.is_known = true;
        self.arguments.health.up(KafkaProducer::COMPONENT);
    }

    async fn journal(&mut self, batch: JournalBatch, context: &Context<KafkaProducerMessage>) -> Result<(), Failure> {
        if !batch.begins && self.taken != Some(batch.after) {
            // Sent before the ingest had heard that this is a new incarnation: what precedes it was lost with the former one, and must
            // come first, or it would be taken for a repetition. The ingest begins again.
            tracing::debug!(after = batch.after, taken = self.taken, "a batch that does not follow is left");
            self.tell_started(context);
            return Ok(());
        }
        let through = batch.through;
        self.taken = Some(through);
        let work = Work::new(batch.records, batch.dead_letters, self.arguments.partitions).with_spans(batch.spans);
        self.waiting.push_back((through, work));
        if self.retrying { Ok(()) } else { self.work_off(context).await }
    }

    async fn work_off(&mut self, context: &Context<KafkaProducerMessage>) -> Result<(), Failure> {
        while let Some((through, work)) = self.waiting.front_mut() {
            let through = *through;
            fault::point("kafka_producer.before_effect").await?;
            let begun = Instant::now();
            match attempt(&self.arguments, work).await {
                Ok(()) => {
                    self.producing.record(begun.elapsed());
                    fault::point("kafka_producer.after_effect").await?;
                    self.produced.increment(work.records());
                    self.dead_lettered.increment(work.dead_letters());
                    self.arguments.tracer.finish_all(work.take_spans());
                    self.waiting.pop_front();
                    self.answered();
                    // Down: it begins again with what is not committed, and we repeat ourselves.
                    let _ = self.arguments.ingest.one().send(MqttIngestMessage::Produced { through }).await;
                    fault::point("kafka_producer.after_acknowledgement").await?;
                }
                Err(error) => {
                    self.arguments.health.down(KafkaProducer::COMPONENT, &error);
                    self.retrying = true;
                    context.send_after(RETRY_AFTER, KafkaProducerMessage::Retry);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn aside(&mut self, aside: Aside) -> Result<(), String> {
        let mut work = Work::new(aside.rekeyed, aside.dead_letters, self.arguments.partitions);
        attempt(&self.arguments, &mut work).await.map_err(|error| error.to_string())?;
        self.dead_lettered.increment(work.dead_letters());
        Ok(())
    }
}

/// Produces what is left of `work`; what succeeded is not tried again.
async fn attempt(arguments: &KafkaProducerArguments, work: &mut Work) -> Result<(), LogError> {
    let log = &arguments.log;
    let produce = |(partition, records)| async move {
        let produced = tokio::time::timeout(PRODUCE_TIMEOUT, log.produce(partition, records)).await;
        (partition, produced.unwrap_or_else(|_| Err(no_answer())))
    };
    let outcomes = futures_util::future::join_all(work.open().map(produce)).await;
    let mut first_error = None;
    for (partition, outcome) in outcomes {
        match outcome {
            Ok(()) => work.done(partition),
            Err(LogError::TooLarge { index, reason }) => {
                // The rest of the partition goes without it, at the next try.
                work.give_up(partition, index, &reason, arguments.clock.now_ms());
                first_error.get_or_insert(LogError::TooLarge { index, reason });
            }
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    match first_error {
        Some(LogError::TooLarge { .. }) => Box::pin(attempt(arguments, work)).await,
        Some(error) => Err(error),
        None => produce_dead_letters(log, work).await,
    }
}

async fn produce_dead_letters(log: &Arc<dyn RecordLog>, work: &mut Work) -> Result<(), LogError> {
    while !work.open_dead_letters().is_empty() {
        let produced = tokio::time::timeout(PRODUCE_TIMEOUT, log.produce_dead_letters(work.open_dead_letters())).await;
        match produced.unwrap_or_else(|_| Err(no_answer())) {
            Ok(()) => work.dead_letters_done(),
            // A letter that the log does not take must not hold up all that follows.
            Err(LogError::TooLarge { index, .. }) if work.cut_letter(index) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn no_answer() -> LogError {
    LogError::Unavailable { place: "records".to_owned(), reason: "no answer in time".to_owned() }
}
