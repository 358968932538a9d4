//! Records, and reading a partition to its end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use orinoco_domain::{Axis, HEADER_ID, Position, RawRecord};

use crate::{Fetched, FetchedRecord, RecordLog, conformance::within_deadline};

/// Longer than any case: who waits so long was not woken.
pub(super) const WAIT_LONG: Duration = Duration::from_secs(600);
pub(super) const WAIT_SHORT: Duration = Duration::from_millis(50);
pub(super) const BYTES_MAX: usize = 1 << 20;

/// Of now: a log may drop, or refuse, records of other times.
pub(super) fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A record as the producer writes it: `mqtt/1/9f2c/{sequence}`.
pub(super) fn record(sequence: u64) -> RawRecord {
    RawRecord {
        key: Some(b"samu31".to_vec()),
        value: format!(r#"{{"message":"{sequence}","timestamp":"2026-01-02T03:04:05.678Z"}}"#).into_bytes(),
        headers: vec![(HEADER_ID.to_owned(), format!("mqtt/1/9f2c/{sequence}").into_bytes())],
        timestamp_ms: now_ms(),
    }
}

/// Records `from` to `to` (exclusive), on X where the sequence is even, on Y where it is odd.
pub(super) fn alternating(from: u64, to: u64) -> Vec<(Axis, RawRecord)> {
    (from..to).map(|sequence| (Axis::BOTH[(sequence % 2) as usize], record(sequence))).collect()
}

pub(super) async fn produce(log: &dyn RecordLog, partition: u32, records: &[(Axis, RawRecord)]) {
    within_deadline("produce", log.produce(partition, records)).await.unwrap();
}

pub(super) async fn fetch(log: &dyn RecordLog, partition: u32, from: Position, wait_max: Duration) -> Fetched {
    let fetched = within_deadline("fetch", log.fetch(partition, from, BYTES_MAX, wait_max)).await.unwrap();
    assert_steps(from, &fetched);
    fetched
}

/// All from `from` to the end of the log as it is when asked.
pub(super) async fn read_all(
    log: &dyn RecordLog,
    partition: u32,
    from: Position,
    bytes_max: usize,
) -> Vec<FetchedRecord> {
    let (_, end) = log.bounds(partition).await.unwrap();
    let mut records = Vec::new();
    let mut next = from;
    while next.x < end.x || next.y < end.y {
        let fetched = within_deadline("fetch", log.fetch(partition, next, bytes_max, WAIT_LONG)).await.unwrap();
        assert_steps(next, &fetched);
        assert_ne!(fetched.next, next, "a fetch before the end got nowhere");
        next = fetched.next;
        records.extend(fetched.records);
    }
    records
}

/// Each axis in order of offset, none below where it started, `next` right behind the last.
pub(super) fn assert_steps(from: Position, fetched: &Fetched) {
    for axis in Axis::BOTH {
        let offsets: Vec<i64> = of_axis(&fetched.records, axis).map(|fetched| fetched.offset).collect();
        assert!(offsets.is_sorted_by(|one, other| one < other), "{axis:?} out of order: {offsets:?}");
        assert!(offsets.first().is_none_or(|first| *first >= from.of(axis)), "{axis:?} below the position asked for");
        let after_last = offsets.last().map_or(from.of(axis), |last| last + 1);
        assert!(fetched.next.of(axis) >= after_last, "{axis:?} would read {offsets:?} again");
        assert!(fetched.next.of(axis) <= fetched.end.of(axis).max(from.of(axis)), "{axis:?} beyond the end");
    }
}

pub(super) fn of_axis(records: &[FetchedRecord], axis: Axis) -> impl Iterator<Item = &FetchedRecord> {
    records.iter().filter(move |fetched| fetched.axis == axis)
}

/// What was fetched must be, per axis, exactly what was produced, at offsets without a gap from `first` on.
pub(super) fn assert_same_per_axis(fetched: &[FetchedRecord], produced: &[(Axis, RawRecord)], first: Position) {
    for axis in Axis::BOTH {
        let of_axis: Vec<_> = of_axis(fetched, axis).collect();
        let offsets: Vec<i64> = of_axis.iter().map(|fetched| fetched.offset).collect();
        let expected = produced.iter().filter(|(produced, _)| *produced == axis).map(|(_, record)| sorted(record));
        let expected: Vec<RawRecord> = expected.collect();
        let end = first.of(axis) + expected.len() as i64;
        assert_eq!(offsets, (first.of(axis)..end).collect::<Vec<_>>(), "offsets of {axis:?}");
        for (fetched, expected) in of_axis.iter().zip(&expected) {
            assert_eq!(sorted(&fetched.record), *expected, "{axis:?} {}", fetched.offset);
        }
    }
}

/// With headers by name: their order means nothing.
fn sorted(record: &RawRecord) -> RawRecord {
    let mut record = record.clone();
    record.headers.sort();
    record
}

pub(super) fn ids(records: &[FetchedRecord]) -> Vec<u64> {
    records.iter().filter_map(|fetched| fetched.record.id()).map(|id| id.sequence).collect()
}
