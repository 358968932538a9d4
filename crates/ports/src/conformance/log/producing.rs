//! What is written, and what is there afterwards.

use std::sync::Arc;

use orinoco_domain::{Axis, HEADER_ID, HEADER_REDELIVERED, HEADER_TRACEPARENT, Position, RawRecord};

use super::{
    LogFactory,
    fixture::{BYTES_MAX, alternating, assert_same_per_axis, now_ms, of_axis, produce, read_all, record},
};
use crate::{LogError, conformance::within_deadline};

pub async fn both_topics_have_the_same_partitions_at_each_call(factory: &dyn LogFactory) {
    let log = factory.open().await;
    let partitions = log.partitions().await.unwrap();
    assert!(partitions >= 2, "the factory must make at least two partitions");
    assert_eq!(log.partitions().await.unwrap(), partitions);
    for partition in 0..partitions {
        assert_eq!(log.bounds(partition).await.unwrap(), (Position::default(), Position::default()));
    }
}

pub async fn records_come_back_as_they_were_written(factory: &dyn LogFactory) {
    let log = factory.open().await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let header = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
    let plain = || RawRecord { value: b"12.5".to_vec(), timestamp_ms: now_ms() - 1, ..RawRecord::default() };
    let produced = vec![
        (Axis::X, record(1)),
        (Axis::X, plain()),
        (Axis::Y, RawRecord { key: Some(every_byte.clone()), value: every_byte.clone(), ..plain() }),
        (Axis::Y, RawRecord { key: Some(Vec::new()), ..plain() }),
        (Axis::X, RawRecord { value: Vec::new(), timestamp_ms: now_ms() - 60_000, ..plain() }),
        (Axis::Y, RawRecord { value: vec![0; 100_000], ..plain() }),
        (
            Axis::X,
            RawRecord {
                headers: vec![
                    header(HEADER_ID, b"mqtt/3/9f2c/18446744073709551615"),
                    header(HEADER_REDELIVERED, b"1"),
                    header(HEADER_TRACEPARENT, b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
                    header("binary", &every_byte),
                    header("empty", b""),
                    header("é漢", b"x"),
                ],
                ..record(2)
            },
        ),
    ];
    produce(&*log, 0, &produced).await;
    let fetched = read_all(&*log, 0, Position::default(), BYTES_MAX).await;
    assert_same_per_axis(&fetched, &produced, Position::default());
}

pub async fn offsets_count_per_axis_without_a_gap(factory: &dyn LogFactory) {
    let log = factory.open().await;
    let mut produced = Vec::new();
    for (x, y) in [(1, 0), (0, 1), (5, 2), (0, 0), (0, 7), (100, 1)] {
        let mut call = Vec::new();
        for number in 0..x + y {
            let axis = if number < x { Axis::X } else { Axis::Y };
            call.push((axis, record((produced.len() + call.len()) as u64)));
        }
        produce(&*log, 1, &call).await;
        produced.extend(call);
        let end = Position {
            x: produced.iter().filter(|(axis, _)| *axis == Axis::X).count() as i64,
            y: produced.iter().filter(|(axis, _)| *axis == Axis::Y).count() as i64,
        };
        assert_eq!(log.bounds(1).await.unwrap(), (Position::default(), end));
    }
    assert_same_per_axis(&read_all(&*log, 1, Position::default(), BYTES_MAX).await, &produced, Position::default());
}

pub async fn an_identical_call_writes_the_records_again(factory: &dyn LogFactory) {
    let log = factory.open().await;
    let call = alternating(1, 11);
    produce(&*log, 0, &call).await;
    produce(&*log, 0, &call).await;
    let fetched = read_all(&*log, 0, Position::default(), BYTES_MAX).await;
    assert_same_per_axis(&fetched, &[call.clone(), call].concat(), Position::default());
}

pub async fn partitions_of_the_log_don_t_mix(factory: &dyn LogFactory) {
    let log = factory.open().await;
    let calls = [alternating(0, 7), alternating(100, 120)];
    for (partition, call) in (0..).zip(&calls) {
        for some in call.chunks(3) {
            produce(&*log, partition, some).await;
        }
    }
    for (partition, call) in (0..).zip(&calls) {
        let fetched = read_all(&*log, partition, Position::default(), BYTES_MAX).await;
        assert_same_per_axis(&fetched, call, Position::default());
    }
}

pub async fn partitions_are_written_and_read_at_the_same_time(factory: &dyn LogFactory) {
    const CALLS: u64 = 50;
    let log = factory.open().await;
    let mut tasks = Vec::new();
    for partition in 0..2 {
        let (writer, reader) = (Arc::clone(&log), Arc::clone(&log));
        tasks.push(tokio::spawn(async move {
            for call in 0..CALLS {
                produce(&*writer, partition, &alternating(call * 100, call * 100 + 100)).await;
            }
        }));
        // Two readers of one partition: each gets all.
        for _ in 0..2 {
            let reader = Arc::clone(&reader);
            tasks.push(tokio::spawn(async move {
                let mut fetched = Vec::new();
                let mut next = Position::default();
                while (fetched.len() as u64) < CALLS * 100 {
                    let some = super::fixture::fetch(&*reader, partition, next, super::fixture::WAIT_LONG).await;
                    next = some.next;
                    fetched.extend(some.records);
                }
                for axis in Axis::BOTH {
                    let offsets = of_axis(&fetched, axis).map(|fetched| fetched.offset);
                    assert!(offsets.eq(0..(CALLS * 50) as i64), "{axis:?} of partition {partition}");
                }
            }));
        }
    }
    for task in tasks {
        within_deadline("writers and readers", task).await.unwrap();
    }
}

pub async fn a_record_that_is_too_large_is_named_and_stops_nothing_else(factory: &dyn LogFactory) {
    let log = factory.open().await;
    let large = RawRecord { value: vec![b'1'; 32 << 20], ..record(2) };
    let call = [(Axis::X, record(1)), (Axis::Y, large), (Axis::X, record(3))];
    match within_deadline("produce", log.produce(0, &call)).await {
        Err(LogError::TooLarge { index, .. }) => assert_eq!(index, 1),
        // A log without a bound of its own.
        Ok(()) => {}
        Err(other) => panic!("{other}"),
    }
    let (_, end) = log.bounds(0).await.unwrap();
    let call = alternating(10, 20);
    produce(&*log, 0, &call).await;
    assert_same_per_axis(&read_all(&*log, 0, end, BYTES_MAX).await, &call, end);
}

pub async fn a_probe_of_the_log_says_the_version(factory: &dyn LogFactory) {
    let log = factory.open().await;
    let info = within_deadline("a probe", log.probe()).await.unwrap();
    assert!(!info.version.trim().is_empty());
}
