//! The way into the journal: called by the MQTT adapter before it acknowledges, on its thread.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use orinoco_ports::{Clock, InboundMessage, Intake, Journal, JournalError, JournalRecord, Refused};
use orinoco_supervision::fault::Place;

use crate::{Health, MqttIngest, Tenure};

/// How long a blocked adapter waits for room before it looks whether the ingest has ended.
const ROOM_WAIT_MAX: Duration = Duration::from_millis(250);

/// One connection's intake.
pub(super) struct JournalIntake {
    journal: Arc<dyn Journal>,
    ingest_epoch: u64,
    tenure: Tenure,
    receive_max: usize,
    clock: Arc<dyn Clock>,
    health: Health,
    closed: AtomicBool,
    /// The last attempt failed; keeps the health board out of the usual path.
    failing: AtomicBool,
    accepted: metrics::Counter,
    refused: metrics::Counter,
    place: Place,
}

impl JournalIntake {
    pub(super) fn new(
        journal: Arc<dyn Journal>,
        ingest_epoch: u64,
        tenure: Tenure,
        receive_max: usize,
        clock: Arc<dyn Clock>,
        health: Health,
        place: Place,
    ) -> Self {
        Self {
            journal,
            ingest_epoch,
            tenure,
            receive_max,
            clock,
            health,
            closed: AtomicBool::new(false),
            failing: AtomicBool::new(true),
            accepted: metrics::counter!("orinoco_messages_accepted_total"),
            refused: metrics::counter!("orinoco_messages_refused_total"),
            place,
        }
    }

    /// The connection is over: nothing is accepted any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// The broker delivers what is refused now to the next connection, whoever has it.
    fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Acquire) && self.tenure.holds(self.ingest_epoch)
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
        let packet_id = message.packet_id.filter(|_| message.redelivered)?;
        let tail = self.journal.tail(self.receive_max);
        let last = tail.iter().rev().find(|entry| entry.record.packet_id == Some(packet_id))?;
        let same = last.record.topic == message.topic && last.record.payload == message.payload;
        same.then_some(last.sequence)
    }

    fn succeeded(&self) {
        self.accepted.increment(1);
        if self.failing.load(Ordering::Relaxed) && self.failing.swap(false, Ordering::Relaxed) {
            self.health.up(MqttIngest::JOURNAL_COMPONENT);
        }
    }

    fn failed(&self, error: &JournalError) {
        self.refused.increment(1);
        self.failing.store(true, Ordering::Relaxed);
        self.health.down(MqttIngest::JOURNAL_COMPONENT, error);
    }
}

#[async_trait]
impl Intake for JournalIntake {
    fn accept_blocking(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
        loop {
            if !self.is_open() {
                return Err(Refused::Closed);
            }
            let appended = self.append(message).and_then(|sequence| self.journal.durable_blocking(sequence));
            match appended {
                Ok(()) => {
                    self.succeeded();
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
        self.place.point("mqtt_ingest.before_effect").await.map_err(|_injected| Refused::Closed)?;
        let appended = match self.append(message) {
            Ok(sequence) => self.journal.durable(sequence).await,
            Err(error) => Err(error),
        };
        self.place.point("mqtt_ingest.after_effect").await.map_err(|_injected| Refused::Closed)?;
        match appended {
            Ok(()) => {
                self.succeeded();
                Ok(())
            }
            Err(error) => {
                self.failed(&error);
                Err(Refused::Full)
            }
        }
    }
}
