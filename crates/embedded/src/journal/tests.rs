#![allow(clippy::unwrap_used)]
//! What the journal promises beyond the port's conformance suite: restarts, limits, power cuts.

use std::{fs, sync::Barrier, thread};

use tempfile::TempDir;

use super::*;
use crate::power::{LEAP, pretend_power_loss};

fn record(number: u64, payload_bytes: usize) -> JournalRecord {
    JournalRecord {
        topic: format!("devices/{number}/coordX"),
        payload: vec![b'1'; payload_bytes],
        traceparent: None,
        packet_id: Some(7),
        redelivered: false,
        ingest_epoch: 3,
        received_ms: number.cast_signed(),
    }
}

fn open(directory: &TempDir, options: JournalOptions) -> FileJournal {
    FileJournal::open(directory.path(), options).unwrap()
}

fn small() -> JournalOptions {
    JournalOptions { bytes_max: 64 << 10, tail_bytes_max: 8 << 10, ..JournalOptions::default() }
}

fn sequences(journal: &FileJournal, after: u64) -> Vec<u64> {
    journal.read_after(after, usize::MAX).unwrap().iter().map(|entry| entry.sequence).collect()
}

/// Appends until the journal refuses; returns the last sequence.
fn fill(journal: &FileJournal) -> u64 {
    loop {
        match journal.append(&record(1, 100)) {
            Ok(_) => {}
            Err(JournalError::Full { bytes, bytes_max }) => {
                assert!(bytes <= bytes_max && bytes_max == 64 << 10);
                return journal.depth().records + journal.committed();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn sequences_the_id_the_commit_position_and_the_tail_outlive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(&directory, small());
    let id = journal.id().to_owned();
    for number in 1..=20 {
        assert_eq!(journal.append(&record(number, 30)).unwrap(), number);
    }
    journal.commit(15).unwrap();
    drop(journal);
    let journal = open(&directory, small());
    assert_eq!((journal.id(), journal.committed()), (id.as_str(), 15));
    assert_eq!(sequences(&journal, 15), [16, 17, 18, 19, 20]);
    assert_eq!(journal.tail(3).iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [18, 19, 20]);
    assert_eq!(journal.tail(1)[0].record, record(20, 30));
    assert_eq!(journal.append(&record(21, 30)).unwrap(), 21);
    assert_eq!(journal.depth().records, 6);
}

#[test]
fn a_full_journal_refuses_until_a_tenth_is_free_and_tells_who_waits() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(&directory, small());
    let last = fill(&journal);
    assert!(journal.depth().full);
    journal.commit(1).unwrap();
    assert!(matches!(journal.append(&record(1, 1)), Err(JournalError::Full { .. })), "a small one is refused as well");
    let waiting = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            waiting.wait();
            journal.wait_for_room_blocking(Duration::from_secs(30));
            assert_eq!(journal.append(&record(1, 100)).unwrap(), last + 1);
        });
        waiting.wait();
        journal.commit(last / 2).unwrap();
    });
    assert!(!journal.depth().full);
    assert!(fs::read_dir(directory.path()).unwrap().count() < 20, "space is given back");
}

#[test]
fn room_comes_back_however_small_the_limit() {
    for bytes_max in [400, 2 << 10, 9 << 10] {
        let directory = tempfile::tempdir().unwrap();
        let journal = open(&directory, JournalOptions { bytes_max, ..JournalOptions::default() });
        let mut refused = 0;
        for number in 1..=500 {
            let Err(error) = journal.append(&record(number, 100)) else { continue };
            assert!(matches!(error, JournalError::Full { .. }), "{error}");
            refused += 1;
            journal.commit(u64::MAX).unwrap();
            journal.append(&record(number, 100)).unwrap();
        }
        assert!(refused > 4, "{bytes_max}");
        assert_eq!(journal.append(&record(1, 1)).unwrap_or(501), 501);
    }
}

#[test]
fn waiting_for_room_ends_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(&directory, small());
    fill(&journal);
    journal.wait_for_room_blocking(Duration::from_millis(1));
    assert!(journal.depth().full);
}

#[test]
fn sequences_go_on_when_every_segment_was_moved_away() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(&directory, small());
    let last = fill(&journal);
    drop(journal);
    for entry in fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "segment") {
            fs::remove_file(path).unwrap();
        }
    }
    let journal = open(&directory, small());
    assert!(journal.append(&record(1, 1)).unwrap() > last);
}

#[tokio::test]
async fn after_a_power_cut_sequences_leap_and_nobody_is_woken_for_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(&directory, small());
    for number in 1..=4 {
        journal.append(&record(number, 10)).unwrap();
    }
    journal.commit(2).unwrap();
    drop(journal);
    pretend_power_loss(directory.path()).unwrap();
    let journal = open(&directory, small());
    assert_eq!(sequences(&journal, 2), [3, 4]);
    assert_eq!((journal.depth().records, journal.tail(9).len()), (2, 4));
    assert!(futures_poll(journal.wait_after(4)).await.is_none(), "there is no record after 4 yet");
    let sequence = journal.append(&record(5, 10)).unwrap();
    assert_eq!(sequence, 5 + LEAP);
    assert!(futures_poll(journal.wait_after(4)).await.is_some());
    assert_eq!(sequences(&journal, 2), [3, 4, sequence]);
    assert_eq!((journal.depth().records, journal.tail(9).len()), (3, 5));
    journal.commit(sequence).unwrap();
    drop(journal);
    let journal = open(&directory, small());
    assert_eq!(journal.append(&record(6, 10)).unwrap(), sequence + 1, "an orderly end leads to no leap");
}

/// Polls once.
async fn futures_poll<F: Future<Output = ()>>(future: F) -> Option<()> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_ready().then_some(()))).await
}

#[test]
fn appends_of_many_threads_get_sequences_without_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(&directory, JournalOptions::default());
    thread::scope(|scope| {
        for thread in 0..4_u64 {
            let journal = &journal;
            scope.spawn(move || {
                let mut before = 0;
                for number in 0..500 {
                    let sequence = journal.append(&record(thread * 1000 + number, 40)).unwrap();
                    assert!(sequence > before);
                    before = sequence;
                }
            });
        }
    });
    let entries = journal.read_after(0, usize::MAX).unwrap();
    assert!(entries.iter().map(|entry| entry.sequence).eq(1..=2000));
    for thread in 0..4 {
        let of_thread = entries.iter().map(|entry| entry.record.received_ms).filter(|number| number / 1000 == thread);
        assert!(of_thread.eq(thread * 1000..thread * 1000 + 500), "order of appends is order of sequences");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_mode_power_all_who_wait_are_served_by_a_sync() {
    let directory = tempfile::tempdir().unwrap();
    let options = JournalOptions { durability: Durability::Power, ..small() };
    let journal = Arc::new(open(&directory, options));
    let waiting: Vec<_> = (1..=200)
        .map(|number| {
            let sequence = journal.append(&record(number, 40)).unwrap();
            let journal = Arc::clone(&journal);
            tokio::spawn(async move { journal.durable(sequence).await })
        })
        .collect();
    for task in waiting {
        task.await.unwrap().unwrap();
    }
    journal.durable(200).await.unwrap();
    let blocking = Arc::clone(&journal);
    let sequence = journal.append(&record(201, 40)).unwrap();
    tokio::task::spawn_blocking(move || blocking.durable_blocking(sequence)).await.unwrap().unwrap();
}

#[test]
fn reading_is_bounded_by_bytes_and_brings_one_record_at_least() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(&directory, small());
    for number in 1..=10 {
        journal.append(&record(number, 1000)).unwrap();
    }
    assert_eq!(journal.read_after(0, 0).unwrap().len(), 1);
    assert_eq!(journal.read_after(0, 2500).unwrap().len(), 2);
    assert_eq!(journal.read_after(2, 2500).unwrap()[0].sequence, 3);
    assert_eq!(journal.read_after(10, 2500).unwrap(), []);
    assert_eq!(journal.read_after(3, usize::MAX).unwrap().len(), 7);
}

#[test]
fn a_record_above_the_limit_of_a_record_is_an_error_that_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(&directory, JournalOptions::default());
    let error = journal.append(&record(1, 5 << 20)).unwrap_err();
    assert!(error.to_string().contains("above the limit of 4194304 bytes"), "{error}");
    assert_eq!(journal.append(&record(1, 5)).unwrap(), 1);
}

#[test]
fn a_damaged_id_is_an_error_that_names_the_file() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("id"), "Not An Id").unwrap();
    let error = FileJournal::open(directory.path(), small()).unwrap_err().to_string();
    assert!(error.contains("journal") && error.contains("/id is damaged"), "{error}");
}
