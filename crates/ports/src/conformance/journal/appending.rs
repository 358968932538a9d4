//! Appending, and the waits that go with it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    JournalFactory,
    fixture::{MIB, ROOMY, append, assert_entries, blocking, durable, read_all, record},
};
use crate::{JournalRecord, conformance::within_deadline};

pub async fn sequences_count_from_one(factory: &dyn JournalFactory) {
    let journal = factory.open(ROOMY).await;
    assert_eq!(journal.committed(), 0);
    assert_eq!(journal.read_after(0, 1_000).unwrap(), []);
    append(&*journal, 1, 301).await;
    assert_entries(&read_all(&*journal, 0, 1_000), 1, 301);
}

pub async fn the_identity_is_legal_and_stays_the_same(factory: &dyn JournalFactory) {
    let journal = factory.open(ROOMY).await;
    let id = journal.id().to_owned();
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    assert!((1..=32).contains(&id.len()) && id.bytes().all(legal), "{id:?}");
    drop(journal);
    assert_eq!(factory.open(MIB).await.id(), id);
    assert_eq!(factory.open_as_after_kill(MIB).await.id(), id);
}

pub async fn records_of_every_shape_come_back_exactly(factory: &dyn JournalFactory) {
    let journal = factory.open(ROOMY).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let plain = record(1);
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned();
    let records = [
        JournalRecord { topic: String::new(), payload: Vec::new(), ..plain.clone() },
        JournalRecord { topic: "a\u{0}b\nc/é漢🚁".to_owned(), payload: every_byte, ..plain.clone() },
        JournalRecord { topic: "t/".repeat(32_767), payload: vec![0; MIB as usize], ..plain.clone() },
        JournalRecord { traceparent: Some(traceparent), packet_id: Some(u16::MAX), ..plain.clone() },
        JournalRecord { traceparent: Some(String::new()), packet_id: None, redelivered: true, ..plain.clone() },
        JournalRecord { ingest_epoch: (1 << 53) + 1, received_ms: -1, ..plain.clone() },
        JournalRecord { ingest_epoch: 0, received_ms: i64::MAX, ..plain },
    ];
    for record in &records {
        journal.append(record).unwrap();
    }
    durable(&*journal, records.len() as u64).await;
    let found: Vec<_> = read_all(&*journal, 0, ROOMY as usize).into_iter().map(|entry| entry.record).collect();
    assert_eq!(found, records);
    drop(journal);
    let journal = factory.open(ROOMY).await;
    let found: Vec<_> = read_all(&*journal, 0, 1).into_iter().map(|entry| entry.record).collect();
    assert_eq!(found, records, "after reopening");
}

pub async fn threads_that_append_at_the_same_time_share_the_sequences(factory: &dyn JournalFactory) {
    const THREADS: u64 = 8;
    const RECORDS: u64 = 1_000;
    let journal = factory.open(ROOMY).await;
    let mut tasks = Vec::new();
    for thread in 0..THREADS {
        let journal = Arc::clone(&journal);
        tasks.push(tokio::task::spawn_blocking(move || {
            let own = |number| JournalRecord { ingest_epoch: thread, ..record(number) };
            let sequences: Vec<u64> = (0..RECORDS).map(|number| journal.append(&own(number)).unwrap()).collect();
            journal.durable_blocking(sequences[sequences.len() - 1]).unwrap();
            assert!(sequences.is_sorted_by(|one, other| one < other), "a thread's appends went back");
            sequences
        }));
    }
    let mut expected = BTreeMap::new();
    for (thread, task) in (0..).zip(tasks) {
        let sequences = within_deadline("a thread that appends", task).await.unwrap();
        expected.extend(sequences.into_iter().zip((0..RECORDS).map(move |number| (thread, number))));
    }
    assert!(expected.keys().copied().eq(1..=THREADS * RECORDS), "sequences have gaps or repeats");
    let entries = read_all(&*journal, 0, 100_000);
    assert_eq!(entries.len(), expected.len());
    for entry in entries {
        let (thread, number) = expected[&entry.sequence];
        assert_eq!(entry.record, JournalRecord { ingest_epoch: thread, ..record(number) });
    }
}

pub async fn what_was_appended_becomes_durable_for_all_who_wait(factory: &dyn JournalFactory) {
    let journal = factory.open(ROOMY).await;
    for round in 0..5_u64 {
        let first = round * 50 + 1;
        let sequences: Vec<u64> = (first..first + 50).map(|number| journal.append(&record(number)).unwrap()).collect();
        let mut waiting = Vec::new();
        for sequence in sequences.into_iter().rev() {
            let journal = Arc::clone(&journal);
            waiting.push(tokio::spawn(async move { journal.durable(sequence).await.unwrap() }));
        }
        blocking("durable for a thread", &journal, move |journal| journal.durable_blocking(first + 49)).await.unwrap();
        for task in waiting {
            within_deadline("durable", task).await.unwrap();
        }
        durable(&*journal, first).await;
    }
}

pub async fn a_reader_that_waits_is_woken_by_the_next_append(factory: &dyn JournalFactory) {
    let journal = factory.open(ROOMY).await;
    for number in 1..=50 {
        let waiting = Arc::clone(&journal);
        let reader = tokio::spawn(async move {
            waiting.wait_after(number - 1).await;
            waiting.read_after(number - 1, 1_000).unwrap()
        });
        // Given up at once: nothing is lost by it.
        let early = tokio::time::timeout(Duration::ZERO, journal.wait_after(number - 1)).await;
        assert!(early.is_err(), "nothing was appended");
        blocking("append", &journal, move |journal| journal.append(&record(number))).await.unwrap();
        assert_entries(&within_deadline("the reader", reader).await.unwrap(), number, number + 1);
        within_deadline("a wait for what is there", journal.wait_after(0)).await;
    }
}

pub async fn a_reader_follows_a_writer_without_gap_and_repeat(factory: &dyn JournalFactory) {
    const RECORDS: u64 = 20_000;
    let journal = factory.open(ROOMY).await;
    let writer = Arc::clone(&journal);
    let writing = tokio::task::spawn_blocking(move || {
        for number in 1..=RECORDS {
            assert_eq!(writer.append(&record(number)).unwrap(), number);
        }
    });
    let mut last = 0;
    while last < RECORDS {
        within_deadline("the next record", journal.wait_after(last)).await;
        let entries = journal.read_after(last, 10_000).unwrap();
        assert_entries(&entries, last + 1, last + 1 + entries.len() as u64);
        last += entries.len() as u64;
        journal.commit(last).unwrap();
    }
    within_deadline("the writer", writing).await.unwrap();
    assert_eq!((journal.committed(), journal.depth().records), (RECORDS, 0));
}
