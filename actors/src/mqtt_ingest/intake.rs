//! The way into the journal: called by the MQTT adapter before it acknowledges, on its thread.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use orinoco_ports::{Clock, InboundMessage, Intake, Journal, JournalError, JournalRecord, Refused};
use orinoco_supervision::fault::Place;

use super::{journal_health::JournalHealth, traces::Traces};
use crate::Tenure;

/// How long a blocked adapter waits for room before it looks whether the ingest has ended.
const ROOM_WAIT_MAX: Duration = Duration::from_millis(250);

/// No packet identifier, which has 16 bits.
const NO_PACKET: u32 = u32::MAX;

/// One connection's intake.
pub(super) struct JournalIntake {
    journal: Arc<dyn Journal>,
    ingest_epoch: u64,
    tenure: Tenure,
    receive_max: usize,
    clock: Arc<dyn Clock>,
    journal_health: JournalHealth,
    closed: AtomicBool,
    /// The lease was proved after the connection had been made.
    proved: AtomicBool,
    /// Packet identifier of the message that was appended last and is not as safe as it must be; [`NO_PACKET`] if there is none.
    unsafe_packet: AtomicU32,
    accepted: metrics::Counter,
    refused: metrics::Counter,
    place: Place,
    traces: Traces,
}

impl JournalIntake {
    #[expect(clippy::too_many_arguments, reason = "what one connection is given")]
    pub(super) fn new(
        journal: Arc<dyn Journal>,
        ingest_epoch: u64,
        tenure: Tenure,
        receive_max: usize,
        clock: Arc<dyn Clock>,
        journal_health: JournalHealth,
        place: Place,
        traces: Traces,
    ) -> Self {
        Self {
            journal,
            ingest_epoch,
            tenure,
            receive_max,
            clock,
            journal_health,
            closed: AtomicBool::new(false),
            proved: AtomicBool::new(false),
            unsafe_packet: AtomicU32::new(NO_PACKET),
            accepted: metrics::counter!("orinoco_messages_accepted_total"),
            refused: metrics::counter!("orinoco_messages_refused_total"),
            place,
            traces,
        }
    }

    /// The connection is over: nothing is accepted any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// To be asked once the connection has been made: whether the lease is proved by now, and so was ours when the session became ours.
    pub(super) fn is_proved(&self) -> bool {
        if !self.proved.load(Ordering::Relaxed) && self.tenure.proves(self.ingest_epoch) {
            self.proved.store(true, Ordering::Relaxed);
        }
        self.proved.load(Ordering::Relaxed)
    }

    /// The broker delivers what is refused now to the next connection, whoever has it.
    fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Acquire) && self.is_proved() && self.tenure.holds(self.ingest_epoch)
    }

    /// The sequence under which the message is in the journal, from now on or from its first delivery.
    fn append(&self, message: InboundMessage<'_>) -> Result<u64, JournalError> {
        if let Some(sequence) = self.first_delivery(&message) {
            return Ok(sequence);
        }
        let record = JournalRecord {
            topic: message.topic.to_owned(),
            payload: message.payload.to_vec(),
            traceparent: message.traceparent.map(str::to_owned),
            packet_id: message.packet_id,
            redelivered: message.redelivered,
            ingest_epoch: self.ingest_epoch,
            received_ms: self.clock.now_ms(),
        };
        self.journal.append(&record)
    }

    /// A redelivery that was accepted before its PUBACK was lost: the last record with its packet identifier is the same message. The
    /// broker reuses an identifier only after our PUBACK, so an older equal message has been followed by another one under it.
    fn first_delivery(&self, message: &InboundMessage<'_>) -> Option<u64> {
        let packet_id = message.packet_id?;
        if !message.redelivered && self.unsafe_packet.load(Ordering::Relaxed) != u32::from(packet_id) {
            return None;
        }
        let tail = self.journal.tail(self.receive_max);
        let last = tail.iter().rev().find(|entry| entry.record.packet_id == Some(packet_id))?;
        let same = last.record.topic == message.topic && last.record.payload == message.payload;
        same.then_some(last.sequence)
    }

    /// What `durable` said. A message that is in the journal and not safe is offered again, and must not be appended again.
    fn synced(&self, message: &InboundMessage<'_>, outcome: Result<(), JournalError>) -> Result<(), JournalError> {
        let packet_id = message.packet_id.filter(|_| outcome.is_err()).map_or(NO_PACKET, u32::from);
        self.unsafe_packet.store(packet_id, Ordering::Relaxed);
        outcome
    }

    fn succeeded(&self, message: &InboundMessage<'_>, sequence: Option<u64>, begun_ns: Option<u64>) {
        self.accepted.increment(1);
        self.journal_health.up();
        // Else nothing is traced.
        let (Some(begun_ns), Some(sequence)) = (begun_ns, sequence) else { return };
        if let Some(traced) = self.traces.of(message.traceparent, sequence) {
            self.traces.ingested(traced, message.topic, message.payload.len(), begun_ns);
        }
    }

    fn failed(&self, error: &JournalError) {
        self.refused.increment(1);
        self.journal_health.failed(error);
    }
}

#[async_trait]
impl Intake for JournalIntake {
    fn accept_blocking(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
        let begun_ns = self.traces.begun_ns();
        let mut appended = None;
        loop {
            if !self.is_open() {
                return Err(Refused::Closed);
            }
            let sequence = appended.map_or_else(|| self.append(message), Ok);
            appended = sequence.as_ref().ok().copied();
            match sequence.and_then(|sequence| self.synced(&message, self.journal.durable_blocking(sequence))) {
                Ok(()) => {
                    self.succeeded(&message, appended, begun_ns);
                    return Ok(());
                }
                Err(error) => {
                    self.failed(&error);
                    self.journal.wait_for_room_blocking(ROOM_WAIT_MAX);
                }
            }
        }
    }

    async fn accept(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
        if !self.is_open() {
            return Err(Refused::Closed);
        }
        let begun_ns = self.traces.begun_ns();
        self.place.point("mqtt_ingest.before_effect").await.map_err(|_injected| Refused::Closed)?;
        let appended = match self.append(message) {
            Ok(sequence) => self.synced(&message, self.journal.durable(sequence).await).map(|()| sequence),
            Err(error) => Err(error),
        };
        self.place.point("mqtt_ingest.after_effect").await.map_err(|_injected| Refused::Closed)?;
        match appended {
            Ok(sequence) => {
                self.succeeded(&message, Some(sequence), begun_ns);
                Ok(())
            }
            Err(error) => {
                self.failed(&error);
                Err(Refused::Full)
            }
        }
    }
}
