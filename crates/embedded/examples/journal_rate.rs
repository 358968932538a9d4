//! Appends, reads and commits records of the usual size; prints records a second and CPU seconds a million.
//! `cargo run --release -p orinoco-embedded --example journal_rate [RECORDS] [process|power]`

use std::{fs, time::Instant};

use orinoco_embedded::journal::{Durability, FileJournal, JournalOptions};
use orinoco_ports::{Journal, JournalRecord};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let records: u64 = arguments.next().map_or(Ok(1_000_000), |records| records.parse())?;
    let durability = if arguments.next().as_deref() == Some("power") { Durability::Power } else { Durability::Process };
    let directory = tempfile::tempdir()?;
    let options = JournalOptions { durability, ..JournalOptions::default() };
    let journal = FileJournal::open(directory.path(), options)?;
    let record = JournalRecord {
        topic: "devices/samu31/coordX".to_owned(),
        payload: br#"{"message":"12.5","timestamp":"2026-01-02T03:04:05.678Z"}"#.to_vec(),
        traceparent: None,
        packet_id: Some(1),
        redelivered: false,
        ingest_epoch: 1,
        received_ms: 1_767_323_045_678,
    };
    measure("append", records, || {
        for number in 1..=records {
            journal.append(&record)?;
            if durability == Durability::Power && number % 100 == 0 {
                journal.durable_blocking(number)?;
            }
        }
        Ok(())
    })?;
    measure("read and commit", records, || {
        let mut sequence = 0;
        while sequence < records {
            let entries = journal.read_after(sequence, 256 << 10)?;
            sequence = entries.last().map_or(sequence, |entry| entry.sequence);
            journal.commit(sequence)?;
        }
        Ok(())
    })?;
    measure("both, two threads", records, || {
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut sequence = records;
                while sequence < 2 * records {
                    let entries = journal.read_after(sequence, 256 << 10)?;
                    let Some(last) = entries.last() else {
                        std::thread::yield_now();
                        continue;
                    };
                    sequence = last.sequence;
                    journal.commit(sequence)?;
                }
                Ok::<_, orinoco_ports::JournalError>(())
            });
            for _ in 0..records {
                journal.append(&record)?;
            }
            reader.join().map_err(|_| "reader panicked")??;
            Ok(())
        })
    })?;
    println!("{:?}", journal.depth());
    Ok(())
}

/// Runs `work` on `records` records and prints what it took.
fn measure(
    name: &str,
    records: u64,
    work: impl FnOnce() -> Result<(), Box<dyn std::error::Error>>,
) -> Result<(), Box<dyn std::error::Error>> {
    let (started, cpu_before) = (Instant::now(), cpu_seconds()?);
    work()?;
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds()? - cpu_before);
    let millions = records as f64 / 1e6;
    println!("{name}: {:.0} records/s, {:.2} CPU s per million", records as f64 / wall, cpu / millions);
    Ok(())
}

/// User and system time of this process (proc(5), `stat`, fields 14 and 15), at 100 ticks a second.
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / 100.0)
}
