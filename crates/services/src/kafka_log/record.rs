//! Records as rskafka has them, and as we do.

use orinoco_domain::RawRecord;
use rskafka::{
    chrono::{DateTime, TimeZone, Utc},
    record::Record,
};

/// Bytes of a record beside key, value and headers, at most: lengths, offset and time differences.
const OVERHEAD_BYTES: usize = 40;

pub(super) fn to_kafka(record: &RawRecord) -> Record {
    Record {
        key: record.key.clone(),
        value: Some(record.value.clone()),
        headers: record.headers.iter().cloned().collect(),
        timestamp: time_of(record.timestamp_ms),
    }
}

/// A value that is null (a tombstone) is an empty one: a dead letter.
pub(super) fn from_kafka(record: Record) -> RawRecord {
    RawRecord {
        key: record.key,
        value: record.value.unwrap_or_default(),
        headers: record.headers.into_iter().collect(),
        timestamp_ms: record.timestamp.timestamp_millis(),
    }
}

/// What the record takes in a batch, uncompressed, at most.
pub(super) fn size_of(record: &RawRecord) -> usize {
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len() + 10).sum();
    OVERHEAD_BYTES + record.key.as_ref().map_or(0, Vec::len) + record.value.len() + headers
}

/// Times beyond the calendar can't be had from our own clock; they become the nearest one.
fn time_of(timestamp_ms: i64) -> DateTime<Utc> {
    let bound = if timestamp_ms < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
    Utc.timestamp_millis_opt(timestamp_ms).single().unwrap_or(bound)
}
