//! Reading: bounds, the tail, and what committing leaves.

use super::{
    JournalFactory,
    fixture::{ROOMY, append, assert_entries, large_record, read_all},
};

pub async fn a_read_starts_behind_the_sequence_it_is_given(factory: &dyn JournalFactory) {
    let journal = factory.open(ROOMY).await;
    append(&*journal, 1, 1_001).await;
    for after in [0, 1, 2, 499, 998, 999] {
        let entries = journal.read_after(after, 1 << 20).unwrap();
        assert_entries(&entries, after + 1, 1_001);
        // Back and forth: no place is remembered.
        assert_entries(&journal.read_after(500, 1).unwrap(), 501, 502);
    }
    assert_eq!(journal.read_after(1_000, 1 << 20).unwrap(), [], "at the end");
    assert_eq!(journal.read_after(2_000, 1 << 20).unwrap(), [], "behind the end");
}

pub async fn a_read_is_bounded_and_brings_one_record_at_least(factory: &dyn JournalFactory) {
    let journal = factory.open(ROOMY).await;
    for number in 1..=200 {
        journal.append(&large_record(number)).unwrap();
    }
    for bytes_max in [0, 1, 999, 5_000, 50_000] {
        let first = journal.read_after(0, bytes_max).unwrap();
        let bytes: usize = first.iter().map(|entry| entry.record.payload.len()).sum();
        assert!(first.len() == 1 || bytes <= bytes_max, "{bytes} bytes where {bytes_max} were asked for");
        assert!(bytes_max < 2_500 || first.len() > 1, "one record where {bytes_max} bytes were asked for");
        let sequences = read_all(&*journal, 0, bytes_max).into_iter().map(|entry| entry.sequence);
        assert!(sequences.eq(1..=200), "in reads of {bytes_max}");
    }
}

pub async fn the_tail_is_the_last_records_committed_or_not(factory: &dyn JournalFactory) {
    let journal = factory.open(ROOMY).await;
    assert_eq!(journal.tail(10), []);
    append(&*journal, 1, 6).await;
    assert_entries(&journal.tail(10), 1, 6);
    append(&*journal, 6, 3_001).await;
    assert_entries(&journal.tail(1_000), 2_001, 3_001);
    assert_entries(&journal.tail(1), 3_000, 3_001);
    assert_eq!(journal.tail(0), []);
    journal.commit(3_000).unwrap();
    assert_entries(&journal.tail(1_000), 2_001, 3_001);
}

pub async fn the_tail_is_there_after_reopening(factory: &dyn JournalFactory) {
    let journal = factory.open(ROOMY).await;
    append(&*journal, 1, 1_501).await;
    journal.commit(1_500).unwrap();
    assert_entries(&factory.open_as_after_kill(ROOMY).await.tail(1_000), 501, 1_501);
    drop(journal);
    let journal = factory.open(ROOMY).await;
    assert_entries(&journal.tail(1_000), 501, 1_501);
    append(&*journal, 1_501, 1_503).await;
    assert_entries(&journal.tail(5), 1_498, 1_503);
}

pub async fn committing_counts_down_what_is_left(factory: &dyn JournalFactory) {
    let journal = factory.open(ROOMY).await;
    append(&*journal, 1, 101).await;
    let depth = journal.depth();
    assert_eq!((depth.records, depth.bytes_max, depth.full), (100, ROOMY, false));
    assert!(depth.bytes > 0);
    for (sequence, left) in [(0, 100), (1, 99), (60, 40), (60, 40), (100, 0)] {
        journal.commit(sequence).unwrap();
        assert_eq!((journal.committed(), journal.depth().records), (sequence, left));
        let entries = read_all(&*journal, sequence, 1_000);
        assert_entries(&entries, sequence + 1, 101);
    }
    append(&*journal, 101, 103).await;
    assert_eq!((journal.committed(), journal.depth().records), (100, 2));
}

pub async fn a_commit_never_goes_back_nor_beyond_the_end(factory: &dyn JournalFactory) {
    let journal = factory.open(ROOMY).await;
    append(&*journal, 1, 11).await;
    journal.commit(7).unwrap();
    // A late, lower one may be refused or passed over.
    _ = journal.commit(3);
    assert_eq!(journal.committed(), 7);
    let beyond = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| _ = journal.commit(11)));
    // One beyond the end is the caller's mistake, and may be asserted.
    assert!(journal.committed() <= 10, "passed what was appended: {beyond:?}");
    append(&*journal, 11, 13).await;
    assert!(journal.committed() <= 10);
    assert_entries(&read_all(&*journal, 10, 1_000), 11, 13);
}
