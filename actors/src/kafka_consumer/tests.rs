#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use orinoco_domain::{
    Axis, DeadLetter, HEADER_ID, HEADER_TRACEPARENT, Origin, Position, RawRecord, RecordId, TraceContext, partition_of,
};
use orinoco_ports::{Fetched, FetchedRecord, SystemClock};

use super::sort::Sorter;
use crate::{DeviceCensus, Tracer, tracer::tests::tracer};

const PARTITIONS: u32 = 4;

fn sorter(partition: u32, devices_max: usize) -> Sorter {
    let census = DeviceCensus::new(devices_max);
    Sorter { partition, partitions: PARTITIONS, census, clock: Arc::new(SystemClock), tracer: Tracer::default() }
}

fn fetched(records: Vec<(Axis, i64, Option<&str>, &str)>) -> Fetched {
    let record = |(axis, offset, key, value): (Axis, i64, Option<&str>, &str)| FetchedRecord {
        axis,
        offset,
        record: RawRecord {
            key: key.map(|key| key.as_bytes().to_vec()),
            value: value.as_bytes().to_vec(),
            headers: Vec::new(),
            timestamp_ms: 1,
        },
    };
    let next = Position { x: 100, y: 200 };
    Fetched { records: records.into_iter().map(record).collect(), next, end: next }
}

#[test]
fn own_records_go_on_in_order_and_the_batch_spans_all_that_was_read() {
    let partition = partition_of(b"a", PARTITIONS);
    let records = vec![(Axis::X, 98, Some("a"), "1"), (Axis::Y, 199, Some("a"), "2"), (Axis::X, 99, Some("a"), "3")];
    let sorted = sorter(partition, 10).sort(Position { x: 98, y: 199 }, fetched(records));
    let values: Vec<f64> = sorted.batch.records.iter().map(|record| record.value).collect();
    assert_eq!(values, [1.0, 2.0, 3.0]);
    assert_eq!((sorted.batch.from, sorted.batch.to), (Position { x: 98, y: 199 }, Position { x: 100, y: 200 }));
    assert!(sorted.aside.is_empty());
}

#[test]
fn a_record_in_a_foreign_partition_is_keyed_and_carries_its_place_as_identity() {
    let home = partition_of(b"default", PARTITIONS);
    let foreign = (home + 1) % PARTITIONS;
    let sorted = sorter(foreign, 10).sort(Position::default(), fetched(vec![(Axis::Y, 17, None, "1")]));
    assert!(sorted.batch.records.is_empty());
    let (partition, axis, record) = &sorted.aside.rekeyed[0];
    assert_eq!((*partition, *axis), (home, Axis::Y));
    assert_eq!(record.key.as_deref(), Some(&b"default"[..]));
    assert_eq!(record.id().unwrap().to_string(), format!("kafka/coordY/{foreign}/17"));
}

#[test]
fn rubbish_and_devices_beyond_the_bound_are_dead_letters_with_their_place() {
    let partition = partition_of(b"a", PARTITIONS);
    let sorter = sorter(partition, 1);
    let other = (0..).map(|n| format!("d{n}")).find(|name| partition_of(name.as_bytes(), PARTITIONS) == partition);
    let other = other.unwrap();
    let records = vec![(Axis::X, 1, Some("a"), "1"), (Axis::X, 2, Some("a"), "x"), (Axis::X, 3, Some(&*other), "1")];
    let sorted = sorter.sort(Position::default(), fetched(records));
    assert_eq!(sorted.batch.records.len(), 1);
    let letters: Vec<DeadLetter> =
        sorted.aside.dead_letters.iter().map(|raw| serde_json::from_slice(&raw.value).unwrap()).collect();
    assert_eq!(letters[0].topic, format!("kafka:coordX/{partition}/2"));
    assert!(letters[1].reason.contains("stream.devices_max (1)"), "{}", letters[1].reason);
    assert_eq!(letters[1].topic, format!("kafka:coordX/{partition}/3"));
    // One that came by MQTT has its topic back.
    let mut records = fetched(vec![(Axis::X, 1, Some("a"), "1"), (Axis::Y, 2, Some(&*other), "1")]);
    let id = RecordId { origin: Origin::Journal { journal: "j1".to_owned(), ingest_epoch: 1 }, sequence: 7 };
    records.records[1].record.headers.push((HEADER_ID.to_owned(), id.to_string().into_bytes()));
    let sorted = sorter.sort(Position::default(), records);
    let letter: DeadLetter = serde_json::from_slice(&sorted.aside.dead_letters[0].value).unwrap();
    assert_eq!(letter.topic, format!("devices/{other}/coordY"));
}

#[test]
fn a_record_that_is_traced_has_a_span_below_its_header_s_and_others_have_none() {
    let partition = partition_of(b"samu31", PARTITIONS);
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [parent, &parent.replace("-01", "-00"), "rubbish"];
    let batch = || {
        let mut batch = fetched((0..4).map(|offset| (Axis::X, offset, Some("samu31"), "1")).collect());
        for (fetched, header) in batch.records.iter_mut().zip(headers) {
            fetched.record.headers.push((HEADER_TRACEPARENT.to_owned(), header.as_bytes().to_vec()));
        }
        batch
    };
    let off = sorter(partition, 10);
    assert!(off.sort(Position::default(), batch()).batch.spans.is_empty());
    let on = Sorter { tracer: tracer(1_000_000, 10), ..off };
    let sorted = on.sort(Position::default(), batch()).batch;
    assert_eq!((sorted.records.len(), sorted.spans.len()), (4, 1));
    let (span, parent) = (&sorted.spans[0], TraceContext::parse(parent).unwrap());
    assert_eq!((span.name.as_str(), span.parent), ("process test.coordX", Some(parent.span_id())));
    assert_eq!(span.context.trace_id(), parent.trace_id());
    assert_ne!(span.context.span_id(), parent.span_id());
}
