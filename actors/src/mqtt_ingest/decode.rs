//! From the journal's raw messages to records of the log. Pure: the same entries give the same records, so that a retry is identical.

use orinoco_domain::{
    Axis, CoordinateRecord, DeadLetter, DeviceId, Origin, RawRecord, Reading, RecordId, Timestamp, TopicFilters,
    partition_of,
};
use orinoco_ports::{JournalEntry, JournalRecord};

use crate::kafka_producer::JournalBatch;

pub(super) struct Decoder {
    pub(super) filters: TopicFilters,
    pub(super) partitions: u32,
    /// Identity of the journal.
    pub(super) journal: String,
}

impl Decoder {
    pub(super) fn decode(&self, entries: Vec<JournalEntry>) -> JournalBatch {
        let mut batch = JournalBatch { records: Vec::with_capacity(entries.len()), ..JournalBatch::default() };
        for JournalEntry { sequence, record } in entries {
            batch.through = sequence;
            let id = self.id(sequence, &record);
            match self.decode_one(&record, &id) {
                Ok(record) => batch.records.push(record),
                Err(reason) => batch.dead_letters.push(dead_letter(&record, &id, &reason)),
            }
        }
        batch
    }

    fn id(&self, sequence: u64, record: &JournalRecord) -> RecordId {
        let origin = Origin::Journal { journal: self.journal.clone(), ingest_epoch: record.ingest_epoch };
        RecordId { origin, sequence }
    }

    fn decode_one(&self, record: &JournalRecord, id: &RecordId) -> Result<(u32, Axis, RawRecord), String> {
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
        let traceparent = match &record.traceparent {
            Some(traceparent) => traceparent.clone(),
            None => self.traceparent(id.sequence),
        };
        Ok((partition, axis, coordinate.encode(record.received_ms, Some(&traceparent))))
    }

    /// For a message that came without: of the journal and the sequence, so that a retry has the same. Not sampled.
    /// W3C Trace Context, section 3.2.
    fn traceparent(&self, sequence: u64) -> String {
        let journal = self
            .journal
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        format!("00-{journal:016x}{sequence:016x}-{:016x}-00", sequence | 1 << 63)
    }
}

fn dead_letter(record: &JournalRecord, id: &RecordId, reason: &str) -> RawRecord {
    let time = Timestamp::from_epoch_ms(record.received_ms).map(|time| time.as_str().to_owned()).unwrap_or_default();
    DeadLetter::new(&record.topic, &record.payload, reason, time).encode(id, record.received_ms)
}
