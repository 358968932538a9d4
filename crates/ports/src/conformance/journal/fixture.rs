//! Records, and what a journal holds.

use std::sync::Arc;

use crate::{Journal, JournalEntry, JournalRecord, conformance::within_deadline};

pub(super) const MIB: u64 = 1 << 20;
/// More than any case needs, but for those that fill the journal.
pub(super) const ROOMY: u64 = 256 * MIB;

pub(super) fn record(number: u64) -> JournalRecord {
    JournalRecord {
        topic: format!("devices/d{}/coordX", number % 7),
        payload: number.to_string().into_bytes(),
        traceparent: None,
        packet_id: u16::try_from(number % 1_000 + 1).ok(),
        redelivered: number.is_multiple_of(5),
        ingest_epoch: 3,
        received_ms: 1_767_323_045_678 + number as i64,
    }
}

/// Of 1,000 bytes and more.
pub(super) fn large_record(number: u64) -> JournalRecord {
    let payload = format!("{number:01000}").into_bytes();
    JournalRecord { payload, ..record(number) }
}

/// Appends records `from` to `to` (exclusive), which get these numbers as their sequences, and waits until they are safe.
pub(super) async fn append(journal: &dyn Journal, from: u64, to: u64) {
    for number in from..to {
        assert_eq!(journal.append(&record(number)).unwrap(), number);
    }
    durable(journal, to - 1).await;
}

pub(super) async fn durable(journal: &dyn Journal, sequence: u64) {
    within_deadline("durable", journal.durable(sequence)).await.unwrap();
}

/// Runs what blocks a thread away from the runtime, and fails the case where it does not end.
pub(super) async fn blocking<T: Send + 'static>(
    what: &str,
    journal: &Arc<dyn Journal>,
    act: impl FnOnce(&dyn Journal) -> T + Send + 'static,
) -> T {
    let journal = Arc::clone(journal);
    within_deadline(what, tokio::task::spawn_blocking(move || act(&*journal))).await.unwrap()
}

/// All after `sequence`, in reads of about `bytes_max`.
pub(super) fn read_all(journal: &dyn Journal, sequence: u64, bytes_max: usize) -> Vec<JournalEntry> {
    let mut entries: Vec<JournalEntry> = Vec::new();
    loop {
        let after = entries.last().map_or(sequence, |entry| entry.sequence);
        let some = journal.read_after(after, bytes_max).unwrap();
        if some.is_empty() {
            return entries;
        }
        entries.extend(some);
    }
}

/// The entries must be records `from` to `to` (exclusive) of [`record`], each at its sequence.
pub(super) fn assert_entries(entries: &[JournalEntry], from: u64, to: u64) {
    let sequences: Vec<u64> = entries.iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequences, (from..to).collect::<Vec<_>>());
    for entry in entries {
        assert_eq!(entry.record, record(entry.sequence));
    }
}
