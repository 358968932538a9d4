//! From the journal's raw messages to records of the log. Pure, but for the times of spans: the same entries give the same records, so that
//! a retry is identical.

use orinoco_domain::{
    Axis, CoordinateRecord, DeadLetter, DeviceId, Origin, RawRecord, Reading, RecordId, Timestamp, TopicFilters,
    partition_of,
};
use orinoco_ports::{JournalEntry, JournalRecord};

use super::traces::Traces;
use crate::kafka_producer::JournalBatch;

pub(super) struct Decoder {
    pub(super) filters: TopicFilters,
    pub(super) partitions: u32,
    /// Identity of the journal.
    pub(super) journal: String,
    pub(super) traces: Traces,
}

impl Decoder {
    pub(super) fn decode(&self, entries: Vec<JournalEntry>) -> JournalBatch {
        let mut batch = JournalBatch { records: Vec::with_capacity(entries.len()), ..JournalBatch::default() };
        for JournalEntry { sequence, record } in entries {
            batch.through = sequence;
            let id = self.id(sequence, &record);
            match self.decode_one(&record, &id) {
                Ok((partition, axis, coordinate)) => {
                    let traced = self.traces.of(record.traceparent.as_deref(), sequence);
                    let traceparent = match traced {
                        Some(traced) => Some(traced.traceparent()),
                        None => self.traces.traceparent(record.traceparent.as_deref(), sequence),
                    };
                    let encoded = coordinate.encode(record.received_ms, traceparent.as_deref());
                    batch.spans.extend(traced.map(|traced| self.traces.producing(traced, partition, axis, &encoded)));
                    batch.records.push((partition, axis, encoded));
                }
                Err(reason) => batch.dead_letters.push(dead_letter(&record, &id, &reason)),
            }
        }
        batch
    }

    fn id(&self, sequence: u64, record: &JournalRecord) -> RecordId {
        let origin = Origin::Journal { journal: self.journal.clone(), ingest_epoch: record.ingest_epoch };
        RecordId { origin, sequence }
    }

    fn decode_one(&self, record: &JournalRecord, id: &RecordId) -> Result<(u32, Axis, CoordinateRecord), String> {
        let (device, axis): (DeviceId, Axis) =
            self.filters.resolve(&record.topic).map_err(|error| error.to_string())?;
        let reading = Reading::parse(&record.payload).map_err(|error| error.to_string())?;
        let timestamp = match reading.timestamp {
            Some(timestamp) => timestamp,
            None => Timestamp::from_epoch_ms(record.received_ms).map_err(|error| error.to_string())?,
        };
        let partition = partition_of(device.as_str().as_bytes(), self.partitions);
        let coordinate = CoordinateRecord {
            device,
            axis,
            message: reading.message,
            value: reading.value,
            timestamp,
            id: Some(id.clone()),
            redelivered: record.redelivered,
        };
        Ok((partition, axis, coordinate))
    }
}

fn dead_letter(record: &JournalRecord, id: &RecordId, reason: &str) -> RawRecord {
    let time = Timestamp::from_epoch_ms(record.received_ms).map(|time| time.as_str().to_owned()).unwrap_or_default();
    DeadLetter::new(&record.topic, &record.payload, reason, time).encode(id, record.received_ms)
}
