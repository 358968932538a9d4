//! What outlives the process.

use orinoco_domain::Position;

use super::{
    LogFactory,
    fixture::{BYTES_MAX, alternating, assert_same_per_axis, produce, read_all},
};

pub async fn the_log_goes_on_after_reopening(factory: &dyn LogFactory) {
    let mut produced = Vec::new();
    let mut partitions = None;
    for run in 0..4_u64 {
        let log = factory.open().await;
        let count = log.partitions().await.unwrap();
        assert_eq!(*partitions.get_or_insert(count), count);
        let call = alternating(run * 10, run * 10 + 10);
        produce(&*log, 1, &call).await;
        produced.extend(call);
        let fetched = read_all(&*log, 1, Position::default(), BYTES_MAX).await;
        assert_same_per_axis(&fetched, &produced, Position::default());
        assert_eq!(log.bounds(0).await.unwrap().1, Position::default(), "of the partition beside it");
    }
}

pub async fn what_was_acknowledged_is_there_after_a_kill(factory: &dyn LogFactory) {
    let log = factory.open().await;
    let mut produced = Vec::new();
    for run in 0..4_u64 {
        let call = alternating(run * 25, run * 25 + 25);
        produce(&*log, 0, &call).await;
        produced.extend(call);
        let reopened = factory.open_as_after_kill().await;
        let fetched = read_all(&*reopened, 0, Position::default(), BYTES_MAX).await;
        assert_same_per_axis(&fetched, &produced, Position::default());
    }
}

pub async fn the_ends_of_the_log_are_remembered_after_retention(factory: &dyn LogFactory) {
    let log = factory.open().await;
    for call in alternating(0, 2_000).chunks(20) {
        produce(&*log, 0, call).await;
    }
    let log = factory.expire_oldest(log, 0).await;
    let bounds = log.bounds(0).await.unwrap();
    drop(log);
    let log = factory.open().await;
    assert_eq!(log.bounds(0).await.unwrap(), bounds);
    let call = alternating(2_000, 2_010);
    produce(&*log, 0, &call).await;
    assert_same_per_axis(&read_all(&*log, 0, bounds.1, BYTES_MAX).await, &call, bounds.1);
}
