//! Appends, reads and commits records of the usual size; prints rates and CPU time.
//! `cargo run --release -p orinoco-embedded --example journal_rate [RECORDS] [process|power]`

mod rate;

use orinoco_embedded::journal::{Durability, FileJournal, JournalOptions};
use orinoco_ports::{Journal, JournalError, JournalRecord};
use rate::{Outcome, Started};

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let records: u64 = arguments.next().map_or(Ok(1_000_000), |records| records.parse())?;
    let durability = if arguments.next().as_deref() == Some("power") { Durability::Power } else { Durability::Process };
    let directory = tempfile::tempdir()?;
    let journal = FileJournal::open(directory.path(), JournalOptions { durability, ..JournalOptions::default() })?;
    let record = JournalRecord {
        topic: "devices/samu31/coordX".to_owned(),
        payload: br#"{"message":"12.5","timestamp":"2026-01-02T03:04:05.678Z"}"#.to_vec(),
        traceparent: None,
        packet_id: Some(1),
        redelivered: false,
        ingest_epoch: 1,
        received_ms: 1_767_323_045_678,
    };

    let started = Started::now()?;
    for number in 1..=records {
        journal.append(&record)?;
        // As if 100 messages were in flight.
        if durability == Durability::Power && number % 100 == 0 {
            journal.durable_blocking(number)?;
        }
    }
    started.print("append", records)?;

    let started = Started::now()?;
    drain(&journal, 0, records)?;
    started.print("read and commit", records)?;

    let started = Started::now()?;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| drain(&journal, records, 2 * records));
        for _ in 0..records {
            journal.append(&record)?;
        }
        reader.join().map_err(|_| "reader panicked")??;
        Outcome::Ok(())
    })?;
    started.print("both at once", records)?;
    println!("{:?}", journal.depth());
    Ok(())
}

/// Reads and commits up to sequence `last`.
fn drain(journal: &FileJournal, mut sequence: u64, last: u64) -> Result<(), JournalError> {
    while sequence < last {
        match journal.read_after(sequence, 256 << 10)?.last() {
            Some(entry) => sequence = entry.sequence,
            None => std::thread::yield_now(),
        }
        journal.commit(sequence)?;
    }
    Ok(())
}
