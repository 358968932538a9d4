//! The bound.

use std::{sync::Arc, time::Duration};

use super::{
    JournalFactory,
    fixture::{MIB, blocking, large_record, read_all},
};
use crate::{Journal, JournalError, conformance::within_deadline};

pub async fn a_full_journal_refuses_and_has_room_again_after_a_commit(factory: &dyn JournalFactory) {
    let journal = factory.open(MIB).await;
    let mut last = 0;
    for _round in 0..5 {
        let first = last + 1;
        last = fill(&*journal, first);
        assert!(last - first > 100, "1 MiB held {} records of 1,000 bytes", last - first + 1);
        let depth = journal.depth();
        assert_eq!((depth.full, depth.bytes_max), (true, MIB));
        assert!(depth.bytes <= MIB, "{} bytes", depth.bytes);
        let sequences = read_all(&*journal, first - 1, 100_000).into_iter().map(|entry| entry.sequence);
        assert!(sequences.eq(first..=last), "what was refused left traces");
        journal.commit(last).unwrap();
        assert_eq!((journal.depth().full, journal.depth().records), (false, 0));
    }
}

/// Appends until there is no room; returns the last sequence.
fn fill(journal: &dyn Journal, first: u64) -> u64 {
    for number in first..first + 10_000 {
        match journal.append(&large_record(number)) {
            Ok(sequence) => assert_eq!(sequence, number, "a refused append took a sequence"),
            Err(JournalError::Full { bytes_max, .. }) => {
                assert_eq!(bytes_max, MIB);
                let again = journal.append(&large_record(number));
                assert!(matches!(again, Err(JournalError::Full { .. })), "{again:?}");
                return number - 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    panic!("10,000 records of 1,000 bytes fit into 1 MiB");
}

pub async fn a_wait_for_room_ends_when_there_is_room(factory: &dyn JournalFactory) {
    let journal = factory.open(MIB).await;
    blocking("a wait for room that is there", &journal, |journal| {
        journal.wait_for_room_blocking(Duration::from_secs(3_600));
    })
    .await;
    let last = fill(&*journal, 1);
    let waiting = Arc::clone(&journal);
    let waiting = tokio::task::spawn_blocking(move || {
        // A wake-up may come early: it says only that appending may succeed.
        loop {
            waiting.wait_for_room_blocking(Duration::from_secs(3_600));
            if let Ok(sequence) = waiting.append(&large_record(0)) {
                return sequence;
            }
        }
    });
    journal.commit(last).unwrap();
    assert_eq!(within_deadline("a wait for room", waiting).await.unwrap(), last + 1);
}

pub async fn a_wait_for_room_ends_without_room_as_well(factory: &dyn JournalFactory) {
    let journal = factory.open(MIB).await;
    fill(&*journal, 1);
    for wait in [Duration::ZERO, Duration::from_millis(50)] {
        blocking("a bounded wait for room", &journal, move |journal| journal.wait_for_room_blocking(wait)).await;
    }
    assert!(journal.depth().full);
}

pub async fn a_full_journal_is_full_after_reopening_and_keeps_all(factory: &dyn JournalFactory) {
    let journal = factory.open(MIB).await;
    let last = fill(&*journal, 1);
    drop(journal);
    let journal = factory.open(MIB).await;
    assert!(read_all(&*journal, 0, 100_000).into_iter().map(|entry| entry.sequence).eq(1..=last));
    assert_eq!(journal.depth().records, last);
    journal.commit(last).unwrap();
    assert!(fill(&*journal, last + 1) > last);
    drop(journal);
    // A larger bound makes room.
    let journal = factory.open(4 * MIB).await;
    let next = journal.append(&large_record(1)).unwrap();
    assert!(next > last + 1);
}

pub async fn space_is_given_back_while_records_pass_through(factory: &dyn JournalFactory) {
    let journal = factory.open(MIB).await;
    // 16 MiB through a journal of 1 MiB, never more than 100 records waiting.
    for number in 1..=16_000_u64 {
        assert_eq!(journal.append(&large_record(number)).unwrap(), number);
        if number % 100 == 0 {
            journal.commit(number - 20).unwrap();
        }
    }
    assert!(journal.depth().bytes <= MIB, "{} bytes", journal.depth().bytes);
    let sequences = read_all(&*journal, 15_980, 100_000).into_iter().map(|entry| entry.sequence);
    assert!(sequences.eq(15_981..=16_000));
}
