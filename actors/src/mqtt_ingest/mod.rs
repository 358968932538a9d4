//! Takes devices' messages: from MQTT into the journal, from the journal to the producer.
//!
//! Supervised by `stream`, one. Invariant: a message is acknowledged to its device only after it is in the journal (see [`intake`]),
//! and leaves the journal only after the log acknowledged it. It connects only under an ingest lease that is proved (see
//! [`Tenure`]); without it, it still drains its journal. Nothing is kept in memory that the journal does not hold.

mod decode;
mod intake;
mod journal_health;
#[cfg(test)]
mod tests;
mod traces;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use orinoco_domain::TopicFilters;
use orinoco_ports::{Clock, Journal, JournalError, MqttError, MqttLink, MqttSource};
use orinoco_supervision::{
    Actor, Context, Failure, Group, Message, SendError, Task,
    fault::{self, Place},
};
use tokio::sync::oneshot;

use crate::{Health, JournalBatch, KafkaProducerMessage, LeaseKeeperMessage, Tenure, Tracer};
use decode::Decoder;
use intake::JournalIntake;
use journal_health::JournalHealth;
use traces::Traces;

/// One try to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RECONNECT_AFTER: Duration = Duration::from_millis(500);
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// Why it does not connect, though it was told that the lease is ours.
const UNPROVED: &str = "waits for the lease store to say that the ingest lease is still held";
/// Bytes of the journal that make one batch for the producer.
const BATCH_BYTES_MAX: usize = 512 * 1024;
/// One is produced while the next is read and decoded.
const IN_FLIGHT_MAX: usize = 2;

/// All that can happen to an [`MqttIngest`].
#[derive(Debug)]
pub enum MqttIngestMessage {
    /// Up: ask who ingests.
    Started,
    /// The epoch of the ingest lease, or that it is somebody else's. Repeated.
    Lease(Option<u64>),
    /// Time to connect (again).
    Connect,
    /// The connection of that number is gone.
    Lost { connection: u64, error: MqttError },
    /// The journal holds more than was sent.
    Pump,
    /// All of the journal up to `through` is in the log.
    Produced { through: u64 },
    /// Time to see whether the journal works again.
    Commit,
    /// The producer started anew: what it had taken is lost.
    ProducerStarted,
}

impl Message for MqttIngestMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Lease(_) => "lease",
            Self::Connect => "connect",
            Self::Lost { .. } => "lost",
            Self::Pump => "pump",
            Self::Produced { .. } => "produced",
            Self::Commit => "commit",
            Self::ProducerStarted => "producer started",
        }
    }
}

/// What an [`MqttIngest`] needs.
pub struct MqttIngestArguments {
    pub source: Arc<dyn MqttSource>,
    pub journal: Arc<dyn Journal>,
    pub filters: TopicFilters,
    pub partitions: u32,
    /// Messages that the broker may redeliver after a reconnect (MQTT 5.0, Receive Maximum).
    pub receive_max: usize,
    pub producer: Group<KafkaProducerMessage>,
    pub leases: Group<LeaseKeeperMessage>,
    /// For how long the lease that it was told of may be believed.
    pub tenure: Tenure,
    pub clock: Arc<dyn Clock>,
    pub health: Health,
    pub tracer: Tracer,
}

pub struct MqttIngestState {
    arguments: MqttIngestArguments,
    decoder: Decoder,
    lease: Option<u64>,
    link: Link,
    /// Numbers the connections, so that an old one's end is not taken for the present one's.
    connection: u64,
    /// Read from the journal and sent to the producer.
    sent: u64,
    /// In the log, whether the journal could be told or not.
    produced: u64,
    /// A `Commit` is on its way.
    committing: bool,
    journal_health: JournalHealth,
    /// The last read of the journal failed.
    is_unread: bool,
    /// The next batch is the first since the beginning, or since the producer's.
    begins: bool,
    /// Last sequences of the batches that the producer has.
    in_flight: VecDeque<u64>,
    /// A `Pump` is on its way, or will be once the journal has more.
    pumping: bool,
    /// Waits for the journal to grow beyond what was sent.
    growth: Option<Task>,
}

enum Link {
    None,
    /// A `Connect` is on its way.
    Connecting,
    /// Dropping the sender ends the delivery in order.
    Up {
        intake: Arc<JournalIntake>,
        _disconnect: oneshot::Sender<()>,
    },
}

impl Drop for MqttIngestState {
    fn drop(&mut self) {
        if let Link::Up { intake, .. } = &self.link {
            intake.close();
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct MqttIngest;

impl MqttIngest {
    /// The connection to the broker, or the embedded broker's gate.
    pub const COMPONENT: &'static str = "mqtt";
    /// The file.
    pub const JOURNAL_COMPONENT: &'static str = "journal";
}

impl Actor for MqttIngest {
    type Message = MqttIngestMessage;
    type Arguments = MqttIngestArguments;
    type State = MqttIngestState;

    async fn pre_start(
        &self,
        context: &Context<MqttIngestMessage>,
        arguments: MqttIngestArguments,
    ) -> Result<MqttIngestState, Failure> {
        context.send_after(Duration::ZERO, MqttIngestMessage::Started);
        let committed = arguments.journal.committed();
        let journal_health = JournalHealth::new(arguments.health.clone());
        let is_full = arguments.journal.depth().full;
        if is_full {
            journal_health.full();
        } else {
            journal_health.up();
        }
        let traces = Traces::new(arguments.tracer.clone(), arguments.filters.clone(), arguments.journal.id());
        let mut state = MqttIngestState {
            decoder: Decoder {
                filters: arguments.filters.clone(),
                partitions: arguments.partitions,
                journal: arguments.journal.id().to_owned(),
                traces,
            },
            arguments,
            lease: None,
            link: Link::None,
            connection: 0,
            sent: committed,
            produced: committed,
            committing: false,
            journal_health,
            is_unread: false,
            begins: true,
            in_flight: VecDeque::new(),
            pumping: false,
            growth: None,
        };
        state.pump_soon(context, Duration::ZERO);
        if is_full {
            state.look_again_at_journal(context);
        }
        Ok(state)
    }

    async fn handle(
        &self,
        context: &Context<MqttIngestMessage>,
        message: MqttIngestMessage,
        state: &mut MqttIngestState,
    ) -> Result<(), Failure> {
        match message {
            MqttIngestMessage::Started => {
                // Down: it tells all when it starts.
                let _ = state.arguments.leases.one().try_send(LeaseKeeperMessage::Tell);
            }
            MqttIngestMessage::Lease(epoch) => state.lease(epoch, context),
            MqttIngestMessage::Connect => state.connect(context).await,
            MqttIngestMessage::Lost { connection, error } => state.lost(connection, &error, context),
            MqttIngestMessage::Pump => {
                state.pumping = false;
                state.pump(context).await;
            }
            MqttIngestMessage::Produced { through } => state.produced(through, context).await?,
            MqttIngestMessage::Commit => {
                state.committing = false;
                state.commit(context);
            }
            MqttIngestMessage::ProducerStarted => state.begin_again(context),
        }
        Ok(())
    }
}

impl MqttIngestState {
    fn lease(&mut self, epoch: Option<u64>, context: &Context<MqttIngestMessage>) {
        if self.lease != epoch {
            tracing::info!(epoch, "ingest lease");
            self.lease = epoch;
            self.disconnect();
        }
        if self.journal_health.is_down() && !matches!(self.link, Link::Up { .. }) {
            self.look_again_at_journal(context);
        }
        if epoch.is_none() {
            return self.arguments.health.forget(MqttIngest::COMPONENT);
        }
        // Not ready until it has subscribed.
        self.arguments.health.expect(MqttIngest::COMPONENT);
        if matches!(self.link, Link::None) {
            self.connect_after(Duration::ZERO, context);
        }
    }

    fn disconnect(&mut self) {
        if let Link::Up { intake, .. } = std::mem::replace(&mut self.link, Link::None) {
            intake.close();
        }
    }

    fn connect_after(&mut self, delay: Duration, context: &Context<MqttIngestMessage>) {
        self.link = Link::Connecting;
        context.send_after(delay, MqttIngestMessage::Connect);
    }

    async fn connect(&mut self, context: &Context<MqttIngestMessage>) {
        let Some(ingest_epoch) = self.lease else {
            self.link = Link::None;
            return;
        };
        if !matches!(self.link, Link::Connecting) {
            return;
        }
        let arguments = &self.arguments;
        if !arguments.tenure.proves(ingest_epoch) {
            // The session may be another's by now, who would lose it by this.
            arguments.health.down(MqttIngest::COMPONENT, UNPROVED);
            return self.connect_after(RECONNECT_AFTER, context);
        }
        let intake = Arc::new(JournalIntake::new(
            Arc::clone(&arguments.journal),
            ingest_epoch,
            arguments.tenure.clone(),
            arguments.receive_max,
            Arc::clone(&arguments.clock),
            self.journal_health.clone(),
            Place::of(context),
            self.decoder.traces.clone(),
        ));
        let connect = arguments.source.connect(Arc::clone(&intake) as _);
        match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            // Else the connection took too long to say whose session it took.
            Ok(Ok(_)) if !intake.is_proved() => self.connect_failed(UNPROVED, &intake, context),
            Ok(Ok(link)) => {
                arguments.health.up(MqttIngest::COMPONENT);
                self.connection += 1;
                let _disconnect = watch(link, self.connection, context);
                self.link = Link::Up { intake, _disconnect };
            }
            Ok(Err(error)) => self.connect_failed(&error.to_string(), &intake, context),
            Err(_elapsed) => self.connect_failed("MQTT broker does not answer in time", &intake, context),
        }
    }

    fn connect_failed(&mut self, reason: &str, intake: &JournalIntake, context: &Context<MqttIngestMessage>) {
        intake.close();
        self.arguments.health.down(MqttIngest::COMPONENT, reason);
        self.connect_after(RECONNECT_AFTER, context);
    }

    fn lost(&mut self, connection: u64, error: &MqttError, context: &Context<MqttIngestMessage>) {
        if connection != self.connection || !matches!(self.link, Link::Up { .. }) {
            return;
        }
        self.arguments.health.down(MqttIngest::COMPONENT, error);
        self.disconnect();
        self.connect_after(RECONNECT_AFTER, context);
    }

    fn pump_soon(&mut self, context: &Context<MqttIngestMessage>, delay: Duration) {
        if !self.pumping {
            self.pumping = true;
            context.send_after(delay, MqttIngestMessage::Pump);
        }
    }

    /// Sends the producer what it can take; when there is no more, waits for the journal to grow.
    async fn pump(&mut self, context: &Context<MqttIngestMessage>) {
        while self.in_flight.len() < IN_FLIGHT_MAX {
            let entries = match self.arguments.journal.read_after(self.sent, BATCH_BYTES_MAX) {
                Ok(entries) => entries,
                Err(error) => {
                    self.unread(&error);
                    return self.pump_soon(context, RECONNECT_AFTER);
                }
            };
            if std::mem::take(&mut self.is_unread) {
                self.commit(context);
            }
            let Some(last) = entries.last().map(|entry| entry.sequence) else {
                return self.pump_when_journal_grows(context);
            };
            let batch = JournalBatch { after: self.sent, begins: self.begins, ..self.decoder.decode(entries) };
            match self.arguments.producer.one().send(KafkaProducerMessage::Journal { batch }).await {
                Ok(()) => {
                    self.sent = last;
                    self.begins = false;
                    self.in_flight.push_back(last);
                }
                Err(SendError::Full(_) | SendError::Down(_)) => return self.pump_soon(context, RETRY_AFTER),
            }
        }
        // Full: goes on when something is produced.
    }

    /// It is read again in a while, whether it grows or not.
    fn unread(&mut self, error: &JournalError) {
        self.is_unread = true;
        self.journal_health.failed(error);
        self.wait_no_more();
    }

    fn wait_no_more(&mut self) {
        if let Some(growth) = self.growth.take() {
            growth.abort();
            self.pumping = false;
        }
    }

    /// Nothing may come that would show that it works again.
    fn look_again_at_journal(&mut self, context: &Context<MqttIngestMessage>) {
        if !self.committing {
            self.committing = true;
            context.send_after(RECONNECT_AFTER, MqttIngestMessage::Commit);
        }
    }

    fn pump_when_journal_grows(&mut self, context: &Context<MqttIngestMessage>) {
        if self.pumping {
            return;
        }
        self.pumping = true;
        let (journal, sent, own) = (Arc::clone(&self.arguments.journal), self.sent, context.address());
        self.growth = Some(context.spawn(async move {
            journal.wait_after(sent).await;
            // Down: the actor ends, and its successor pumps.
            let _ = own.send(MqttIngestMessage::Pump).await;
        }));
    }

    async fn produced(&mut self, through: u64, context: &Context<MqttIngestMessage>) -> Result<(), Failure> {
        fault::point("mqtt_ingest.before_commit").await?;
        if through > self.produced {
            self.produced = through;
            self.commit(context);
        }
        fault::point("mqtt_ingest.after_commit").await?;
        while self.in_flight.front().is_some_and(|last| *last <= through) {
            self.in_flight.pop_front();
        }
        self.pump(context).await;
        Ok(())
    }

    /// All that is in the log. While the journal takes no commit it is tried again, and what comes meanwhile is committed with it.
    fn commit(&mut self, context: &Context<MqttIngestMessage>) {
        if self.committing {
            return;
        }
        match self.arguments.journal.commit(self.produced) {
            Ok(()) if self.is_unread || !self.journal_health.is_down() => {}
            Ok(()) if self.arguments.journal.depth().full => self.look_again_at_journal(context),
            Ok(()) => self.journal_health.up(),
            Err(error) => {
                self.journal_health.failed(&error);
                self.look_again_at_journal(context);
            }
        }
    }

    fn begin_again(&mut self, context: &Context<MqttIngestMessage>) {
        self.in_flight.clear();
        self.sent = self.produced;
        self.begins = true;
        // It waits for more than what was sent before; what is to be sent now is there already.
        self.wait_no_more();
        self.pump_soon(context, Duration::ZERO);
    }
}

/// A helper that owns the connection: it tells of its loss, and disconnects in order when the returned sender is dropped.
fn watch(mut link: Box<dyn MqttLink>, connection: u64, context: &Context<MqttIngestMessage>) -> oneshot::Sender<()> {
    let (disconnect, disconnect_asked) = oneshot::channel::<()>();
    let own = context.address();
    context.spawn(async move {
        tokio::select! {
            error = link.lost() => {
                // Down: the actor ends, and its successor connects.
                let _ = own.send(MqttIngestMessage::Lost { connection, error }).await;
            }
            _ = disconnect_asked => link.disconnect().await,
        }
    });
    disconnect
}
