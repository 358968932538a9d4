//! What becomes of each fetched record: to the writer, to the dead letters, or to its own partition. Pure but for the clock.

use std::sync::Arc;

use orinoco_domain::{
    Axis, DeadLetter, HEADER_ID, HEADER_TRACEPARENT, Origin, Position, RawRecord, RecordId, Timestamp, partition_of,
};
use orinoco_ports::{Clock, Fetched, FetchedRecord, Span, SpanKind, SpanValue};

use crate::{DeviceCensus, Tracer, redis_writer::SortedBatch, tracer::message_attributes};

/// What must be produced before the batch may be applied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Aside {
    pub dead_letters: Vec<RawRecord>,
    /// With the partition that each belongs to.
    pub rekeyed: Vec<(u32, Axis, RawRecord)>,
}

impl Aside {
    pub(crate) fn is_empty(&self) -> bool {
        self.dead_letters.is_empty() && self.rekeyed.is_empty()
    }
}

pub(super) struct Sorted {
    pub(super) batch: SortedBatch,
    pub(super) aside: Aside,
}

pub(super) struct Sorter {
    pub(super) partition: u32,
    pub(super) partitions: u32,
    pub(super) census: DeviceCensus,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tracer: Tracer,
}

impl Sorter {
    pub(super) fn sort(&self, from: Position, fetched: Fetched) -> Sorted {
        let first_ms = fetched.records.iter().map(|fetched| fetched.record.timestamp_ms).min();
        let records = Vec::with_capacity(fetched.records.len());
        let fetched_ns = self.tracer.now_ns();
        let mut batch =
            SortedBatch { from, to: fetched.next, records, made_anew: Vec::new(), first_ms, spans: Vec::new() };
        let mut aside = Aside::default();
        for fetched in fetched.records {
            match fetched.record.decode(fetched.axis) {
                Err(error) => aside.dead_letters.push(self.dead_letter(&fetched, error)),
                Ok(record) if partition_of(record.device.as_str().as_bytes(), self.partitions) != self.partition => {
                    aside.rekeyed.push(self.rekey(&fetched, record.device.as_str()));
                }
                Ok(record) if !self.census.admit(&record.device) => {
                    let reason = format!("stream.devices_max ({}) devices are known", self.census.devices_max());
                    aside.dead_letters.push(self.dead_letter(&fetched, reason));
                }
                Ok(record) => {
                    batch.spans.extend(self.span(&fetched, fetched_ns));
                    batch.records.push(record);
                }
            }
        }
        Sorted { batch, aside }
    }

    /// Where the record's header says that it is traced, whoever wrote it.
    fn span(&self, fetched: &FetchedRecord, begun_ns: u64) -> Option<Span> {
        if !self.tracer.is_on() {
            return None;
        }
        let header = std::str::from_utf8(fetched.record.header(HEADER_TRACEPARENT)?).ok()?;
        let parent = self.tracer.sampled(header)?;
        let (system, topic) = self.tracer.log_topic(fetched.axis);
        let name = format!("process {topic}");
        let mut attributes = message_attributes(system, "process", "process", &topic);
        attributes.push(("messaging.destination.partition.id", SpanValue::Text(self.partition.to_string())));
        attributes.push(("messaging.kafka.offset", SpanValue::Integer(fetched.offset)));
        if let Some(key) = &fetched.record.key {
            attributes
                .push(("messaging.kafka.message.key", SpanValue::Text(String::from_utf8_lossy(key).into_owned())));
        }
        Some(Span {
            context: parent.child(fetched.offset.unsigned_abs()),
            parent: Some(parent.span_id()),
            name,
            kind: SpanKind::Consumer,
            begun_ns,
            ended_ns: 0,
            attributes,
            error: None,
        })
    }

    /// The record once more, keyed by its device, with its place as identity: whoever reads it twice knows it.
    fn rekey(&self, fetched: &FetchedRecord, device: &str) -> (u32, Axis, RawRecord) {
        let mut record = fetched.record.clone();
        record.key = Some(device.as_bytes().to_vec());
        if record.id().is_none() {
            record.headers.retain(|(name, _)| name != HEADER_ID);
            record.headers.push((HEADER_ID.to_owned(), self.place(fetched).to_string().into_bytes()));
        }
        (partition_of(device.as_bytes(), self.partitions), fetched.axis, record)
    }

    fn place(&self, fetched: &FetchedRecord) -> RecordId {
        let origin = Origin::Kafka { topic: fetched.axis.name().to_owned(), partition: self.partition };
        RecordId { origin, sequence: fetched.offset.unsigned_abs() }
    }

    /// A record that came from MQTT gets the topic of its message back, and what is replayed from there means the same.
    fn dead_letter(&self, fetched: &FetchedRecord, reason: impl ToString) -> RawRecord {
        let now_ms = self.clock.now_ms();
        let topic = match (fetched.record.id().map(|id| id.origin), &fetched.record.key) {
            (Some(Origin::Journal { .. }), Some(key)) => {
                format!("devices/{}/{}", String::from_utf8_lossy(key), fetched.axis.name())
            }
            _ => format!("kafka:{}/{}/{}", fetched.axis.name(), self.partition, fetched.offset),
        };
        let time = Timestamp::from_epoch_ms(now_ms).map(|time| time.as_str().to_owned()).unwrap_or_default();
        let id = fetched.record.id().unwrap_or_else(|| self.place(fetched));
        DeadLetter::new(topic, &fetched.record.value, reason, time).encode(&id, now_ms)
    }
}
