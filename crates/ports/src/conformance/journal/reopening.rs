//! What outlives the process.

use std::sync::Arc;

use super::{
    JournalFactory,
    fixture::{MIB, ROOMY, append, assert_entries, large_record, read_all, record},
};
use crate::conformance::{until, within_deadline};

pub async fn sequences_go_on_after_reopening(factory: &dyn JournalFactory) {
    for run in 0..5_u64 {
        let journal = factory.open(ROOMY).await;
        assert_entries(&read_all(&*journal, 0, 1_000), 1, run * 10 + 1);
        assert_eq!(journal.depth().records, run * 10);
        append(&*journal, run * 10 + 1, run * 10 + 11).await;
    }
}

pub async fn sequences_go_on_after_all_was_committed(factory: &dyn JournalFactory) {
    let mut last = 0;
    for _run in 0..4 {
        let journal = factory.open(MIB).await;
        // Enough to fill whole files and have them deleted.
        for _ in 0..3_000 {
            last += 1;
            assert_eq!(journal.append(&large_record(last)).unwrap(), last);
            if last % 100 == 0 {
                journal.commit(last).unwrap();
            }
        }
        assert_eq!(journal.committed(), last);
    }
    let journal = factory.open(MIB).await;
    assert!(journal.committed() <= last);
    assert_eq!(journal.append(&record(0)).unwrap(), last + 1);
}

pub async fn a_commit_is_remembered_and_never_runs_ahead(factory: &dyn JournalFactory) {
    let journal = factory.open(ROOMY).await;
    append(&*journal, 1, 101).await;
    for sequence in [10, 70, 100] {
        journal.commit(sequence).unwrap();
        let killed = factory.open_as_after_kill(ROOMY).await;
        let committed = killed.committed();
        assert!(committed <= sequence, "{committed} is ahead of {sequence}");
        assert_entries(&read_all(&*killed, committed, 1_000), committed + 1, 101);
        drop(killed);
        until("a commit that outlives a kill", async || {
            (factory.open_as_after_kill(ROOMY).await.committed() == sequence).then_some(())
        })
        .await;
    }
    drop(journal);
    let journal = factory.open(ROOMY).await;
    assert!(journal.committed() <= 100);
    assert_eq!(journal.depth().records, 100 - journal.committed());
}

pub async fn what_append_returned_is_there_after_a_kill(factory: &dyn JournalFactory) {
    const RECORDS: u64 = 5_000;
    let journal = factory.open(ROOMY).await;
    let writer = Arc::clone(&journal);
    let writing = tokio::task::spawn_blocking(move || {
        for number in 1..=RECORDS {
            assert_eq!(writer.append(&record(number)).unwrap(), number);
        }
    });
    let mut finished = false;
    while !finished {
        finished = writing.is_finished();
        let before = journal.depth().records;
        let killed = factory.open_as_after_kill(ROOMY).await;
        let entries = read_all(&*killed, 0, 100_000);
        let count = entries.len() as u64;
        assert!(count >= before, "{count} records where {before} had been appended");
        assert_entries(&entries, 1, count + 1);
        // It goes on from there.
        assert_eq!(killed.append(&record(count + 1)).unwrap(), count + 1);
    }
    within_deadline("the writer", writing).await.unwrap();
    assert_eq!(read_all(&*factory.open_as_after_kill(ROOMY).await, 0, 100_000).len() as u64, RECORDS);
}
