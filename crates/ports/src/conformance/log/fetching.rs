//! Fetches: limits, waiting, and the two ends of a log.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use orinoco_domain::{Axis, Position, RawRecord};

use super::{
    LogFactory,
    fixture::{BYTES_MAX, WAIT_LONG, WAIT_SHORT, alternating, assert_same_per_axis, fetch, produce, read_all, record},
};
use crate::{LogError, RecordLog, conformance::within_deadline};

pub async fn a_fetch_at_the_end_brings_nothing_and_stays_there(factory: &dyn LogFactory) {
    let log = factory.open().await;
    for records in [0, 10_u64] {
        produce(&*log, 0, &alternating(0, records)).await;
        let end = Position { x: records as i64 / 2, y: records as i64 / 2 };
        for wait in [Duration::ZERO, WAIT_SHORT] {
            let fetched = fetch(&*log, 0, end, wait).await;
            assert_eq!((fetched.records.len(), fetched.next, fetched.end), (0, end, end));
        }
    }
}

pub async fn a_fetch_starts_where_it_is_told_on_each_axis(factory: &dyn LogFactory) {
    let log = factory.open().await;
    for call in alternating(0, 40).chunks(8) {
        produce(&*log, 0, call).await;
    }
    for from in [(0, 0), (3, 5), (19, 0), (20, 0), (0, 20), (7, 20), (20, 20)] {
        let from = Position { x: from.0, y: from.1 };
        let fetched = read_all(&*log, 0, from, BYTES_MAX).await;
        let expected: Vec<_> = alternating(0, 40)
            .into_iter()
            .enumerate()
            .filter(|(index, (axis, _))| (index / 2) as i64 >= from.of(*axis))
            .map(|(_, (axis, record))| (axis, record.value))
            .collect();
        for axis in Axis::BOTH {
            let fetched: Vec<_> = fetched.iter().filter(|fetched| fetched.axis == axis).collect();
            let expected: Vec<_> = expected.iter().filter(|(expected, _)| *expected == axis).collect();
            assert_eq!(fetched.len(), expected.len(), "{axis:?} from {from:?}");
            for (index, (fetched, (_, value))) in fetched.iter().zip(expected).enumerate() {
                assert_eq!(fetched.offset, from.of(axis) + index as i64);
                assert_eq!(&fetched.record.value, value);
            }
        }
    }
}

pub async fn a_fetch_is_bounded_and_always_brings_something(factory: &dyn LogFactory) {
    const RECORD_BYTES: usize = 1_000;
    let log = factory.open().await;
    let sized = |axis, sequence| (axis, RawRecord { value: vec![b'1'; RECORD_BYTES], ..record(sequence) });
    let mut produced = Vec::new();
    for call in 0..100_u64 {
        let records: Vec<_> = (0..10).map(|index| sized(Axis::BOTH[(call % 2) as usize], call * 10 + index)).collect();
        produce(&*log, 0, &records).await;
        produced.extend(records);
    }
    for bytes_max in [1, 5_000, 64 * 1_024, BYTES_MAX] {
        let first = within_deadline("fetch", log.fetch(0, Position::default(), bytes_max, WAIT_LONG)).await.unwrap();
        // A log of batches gives whole ones; and each axis may be asked by itself.
        let bytes = first.records.len() * RECORD_BYTES;
        assert!(bytes <= 4 * bytes_max + 4 * 10 * RECORD_BYTES, "{bytes} bytes where {bytes_max} were asked for");
        assert!(!first.records.is_empty());
        assert_eq!(first.end, Position { x: 500, y: 500 });
        let fetched = read_all(&*log, 0, Position::default(), bytes_max).await;
        assert_same_per_axis(&fetched, &produced, Position::default());
    }
}

pub async fn a_record_larger_than_the_bound_is_fetched_all_the_same(factory: &dyn LogFactory) {
    let log = factory.open().await;
    let large = RawRecord { value: vec![b'1'; 500_000], ..record(1) };
    let call = [(Axis::X, record(0)), (Axis::Y, large), (Axis::X, record(2))];
    produce(&*log, 0, &call).await;
    assert_same_per_axis(&read_all(&*log, 0, Position::default(), 1_000).await, &call, Position::default());
}

pub async fn a_waiting_fetch_returns_as_soon_as_either_axis_has_a_record(factory: &dyn LogFactory) {
    let log = factory.open().await;
    let mut position = Position::default();
    for round in 0..10 {
        let axis = Axis::BOTH[round % 2];
        let waiting = spawn_fetch(&log, position);
        produce(&*log, 0, &[(axis, record(round as u64))]).await;
        let fetched = within_deadline("a fetch that waited", waiting).await.unwrap();
        assert_eq!(fetched.records.iter().map(|fetched| fetched.axis).collect::<Vec<_>>(), [axis]);
        position = fetched.next;
    }
    assert_eq!(position, Position { x: 5, y: 5 });
}

pub async fn a_waiting_fetch_does_not_wake_for_another_partition(factory: &dyn LogFactory) {
    let log = factory.open().await;
    let waiting = spawn_fetch(&log, Position::default());
    produce(&*log, 1, &alternating(0, 100)).await;
    produce(&*log, 0, &alternating(500, 501)).await;
    let fetched = within_deadline("a fetch that waited", waiting).await.unwrap();
    assert_eq!(super::fixture::ids(&fetched.records), [500]);
}

fn spawn_fetch(log: &Arc<dyn RecordLog>, from: Position) -> tokio::task::JoinHandle<crate::Fetched> {
    let log = Arc::clone(log);
    tokio::spawn(async move { fetch(&*log, 0, from, WAIT_LONG).await })
}

pub async fn a_fetch_that_is_given_up_loses_nothing(factory: &dyn LogFactory) {
    let log = factory.open().await;
    for round in 0..20_u64 {
        let call = alternating(round * 2, round * 2 + 2);
        let from = Position { x: round as i64, y: round as i64 };
        // Given up before, while and after the records come.
        given_up(&*log, from).await;
        tokio::join!(given_up(&*log, from), produce(&*log, 0, &call));
        given_up(&*log, from).await;
        assert_same_per_axis(&read_all(&*log, 0, from, BYTES_MAX).await, &call, from);
    }
}

async fn given_up(log: &dyn RecordLog, from: Position) {
    let mut fetching = pin!(log.fetch(0, from, BYTES_MAX, WAIT_LONG));
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        if let Poll::Ready(fetched) = fetching.as_mut().poll(&mut context) {
            fetched.unwrap();
            return;
        }
        tokio::task::yield_now().await;
    }
}

pub async fn a_position_behind_the_end_is_out_of_range(factory: &dyn LogFactory) {
    let log = factory.open().await;
    produce(&*log, 0, &alternating(0, 6)).await;
    for (axis, from) in [(Axis::X, (4, 3)), (Axis::Y, (3, 4)), (Axis::X, (1_000_000, 0)), (Axis::Y, (0, 9))] {
        let from = Position { x: from.0, y: from.1 };
        let refused = within_deadline("fetch", log.fetch(0, from, BYTES_MAX, WAIT_LONG)).await;
        assert_out_of_range(refused, axis, from.of(axis), (0, 3));
    }
    assert_eq!(fetch(&*log, 0, Position { x: 3, y: 3 }, WAIT_SHORT).await.records.len(), 0);
}

pub async fn a_position_before_the_first_is_out_of_range(factory: &dyn LogFactory) {
    let log = factory.open().await;
    for call in alternating(0, 2_000).chunks(20) {
        produce(&*log, 0, call).await;
    }
    produce(&*log, 1, &alternating(0, 10)).await;
    let log = factory.expire_oldest(log, 0).await;
    let (first, end) = log.bounds(0).await.unwrap();
    assert_eq!(end, Position { x: 1_000, y: 1_000 });
    assert!(
        0 < first.x && first.x < end.x && 0 < first.y && first.y < end.y,
        "expire_oldest left {first:?} to {end:?}"
    );
    for axis in Axis::BOTH {
        for below in [0, first.of(axis) - 1] {
            let mut from = first;
            from.set(axis, below);
            let refused = within_deadline("fetch", log.fetch(0, from, BYTES_MAX, WAIT_LONG)).await;
            assert_out_of_range(refused, axis, below, (first.of(axis), end.of(axis)));
        }
    }
    let fetched = read_all(&*log, 0, first, BYTES_MAX).await;
    for axis in Axis::BOTH {
        let offsets = fetched.iter().filter(|fetched| fetched.axis == axis).map(|fetched| fetched.offset);
        assert!(offsets.eq(first.of(axis)..end.of(axis)), "{axis:?} of what is left");
    }
    produce(&*log, 0, &alternating(2_000, 2_002)).await;
    assert_eq!(log.bounds(0).await.unwrap().1, Position { x: 1_001, y: 1_001 });
    assert_eq!(read_all(&*log, 1, Position::default(), BYTES_MAX).await.len(), 10, "of the partition beside it");
}

fn assert_out_of_range(refused: Result<crate::Fetched, LogError>, axis: Axis, wanted: i64, held: (i64, i64)) {
    match refused {
        Err(LogError::OutOfRange { topic, partition, wanted: named, first, end }) => {
            assert!(topic.ends_with(axis.name()), "{topic} is not the topic of {axis:?}");
            assert_eq!((partition, named, (first, end)), (0, wanted, held));
        }
        other => panic!("{axis:?} at {wanted}, held {held:?}: {other:?}"),
    }
}
