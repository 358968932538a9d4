//! Order across the axes.

use orinoco_domain::{Axis, Position, RawRecord};

use super::{
    LogFactory,
    fixture::{BYTES_MAX, WAIT_LONG, WAIT_SHORT, alternating, fetch, ids, now_ms, produce, read_all, record},
};
use crate::{RecordLog, conformance::until};

pub async fn records_of_one_journal_come_in_the_order_of_their_ids(factory: &dyn LogFactory) {
    let log = factory.open().await;
    // One time for all, so that only the ids tell.
    let timestamp_ms = now_ms();
    let axes = [Axis::X, Axis::Y, Axis::Y, Axis::X, Axis::X, Axis::X, Axis::Y];
    let call: Vec<(Axis, RawRecord)> = (0..70_u64)
        .map(|sequence| (axes[sequence as usize % axes.len()], RawRecord { timestamp_ms, ..record(sequence) }))
        .collect();
    produce(&*log, 0, &call).await;
    let fetched = fetch_settled(&*log, call.len()).await;
    assert_eq!(ids(&fetched), (0..70).collect::<Vec<_>>());
}

pub async fn records_without_ids_come_in_the_order_of_their_times(factory: &dyn LogFactory) {
    let log = factory.open().await;
    let first_ms = now_ms() - 1_000;
    let axes = [Axis::Y, Axis::X, Axis::X, Axis::Y, Axis::Y];
    let call: Vec<(Axis, RawRecord)> = (0..50)
        .map(|index: i64| {
            let value = index.to_string().into_bytes();
            let record = RawRecord { value, timestamp_ms: first_ms + index, ..RawRecord::default() };
            (axes[index as usize % axes.len()], record)
        })
        .collect();
    produce(&*log, 0, &call).await;
    let fetched = fetch_settled(&*log, call.len()).await;
    let times: Vec<i64> = fetched.iter().map(|fetched| fetched.record.timestamp_ms - first_ms).collect();
    assert_eq!(times, (0..50).collect::<Vec<_>>());
}

/// One fetch that brings all `count` records of partition 0. They are all there; but a log that asks for the axes apart need not wait
/// for the slower answer, so it may take another fetch.
async fn fetch_settled(log: &dyn RecordLog, count: usize) -> Vec<crate::FetchedRecord> {
    until("a fetch that brings both axes", async || {
        let fetched = fetch(log, 0, Position::default(), WAIT_LONG).await;
        (fetched.records.len() == count).then_some(fetched.records)
    })
    .await
}

/// Of [`super::super::exact_order_log`].
pub async fn the_order_of_writing_is_kept_across_the_axes(factory: &dyn LogFactory) {
    let log = factory.open().await;
    let timestamp_ms = now_ms();
    let mut random = fastrand::Rng::with_seed(7);
    let mut produced = Vec::new();
    while produced.len() < 2_000 {
        let call: Vec<(Axis, RawRecord)> = (0..random.usize(1..40))
            .map(|index| {
                let value = (produced.len() + index).to_string().into_bytes();
                // Neither ids nor times help.
                (Axis::BOTH[random.usize(0..2)], RawRecord { value, timestamp_ms, ..RawRecord::default() })
            })
            .collect();
        produce(&*log, 0, &call).await;
        produced.extend(call);
    }
    for bytes_max in [200, 4_096, BYTES_MAX] {
        assert_order(&read_all(&*log, 0, Position::default(), bytes_max).await, &produced);
    }
    drop(log);
    let log = factory.open().await;
    assert_order(&read_all(&*log, 0, Position::default(), BYTES_MAX).await, &produced);
}

fn assert_order(fetched: &[crate::FetchedRecord], produced: &[(Axis, RawRecord)]) {
    assert_eq!(fetched.len(), produced.len());
    for (fetched, (axis, record)) in fetched.iter().zip(produced) {
        assert_eq!((fetched.axis, &fetched.record.value), (*axis, &record.value));
    }
}

/// Of [`super::super::exact_order_log`].
pub async fn a_position_between_two_axes_brings_each_record_once(factory: &dyn LogFactory) {
    let log = factory.open().await;
    produce(&*log, 0, &alternating(0, 100)).await;
    // X was read to 40, Y to 10: Y's records from 10 on, in order with X's from 40 on.
    let fetched = fetch(&*log, 0, Position { x: 40, y: 10 }, WAIT_SHORT).await;
    let expected: Vec<u64> = (0..100).filter(|id| if id % 2 == 0 { id / 2 >= 40 } else { id / 2 >= 10 }).collect();
    assert_eq!(ids(&fetched.records), expected);
    assert_eq!(fetched.next, Position { x: 50, y: 50 });
}
