//! Produces and fetches records of the usual size, right behind each other and then from the disk; prints rates and CPU time.
//! `cargo run --release -p orinoco-embedded --example log_rate [RECORDS] [BATCH]`

mod rate;

use std::time::Duration;

use orinoco_domain::{Axis, Position, RawRecord};
use orinoco_embedded::log::{FileLog, FileLogOptions};
use orinoco_ports::RecordLog;
use rate::{Outcome, Started};

const BYTES_MAX: usize = 256 << 10;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let mut next = |default| arguments.next().unwrap_or(Ok(default));
    let (records, batch) = (next(1_000_000)?, next(250)?);
    let directory = tempfile::tempdir()?;
    let options = FileLogOptions { partitions: 1, ..FileLogOptions::default() };
    let log = FileLog::open(directory.path(), options)?;
    let calls: Vec<(Axis, RawRecord)> = (0..batch).map(record).collect();

    let started = Started::now()?;
    let (mut position, mut fetched) = (Position::default(), 0);
    for _ in 0..records / batch {
        log.produce(0, &calls).await?;
        let page = log.fetch(0, position, BYTES_MAX, Duration::ZERO).await?;
        position = page.next;
        fetched += page.records.len() as u64;
    }
    started.print("produce and fetch, in turn", fetched)?;

    let log = {
        drop(log);
        FileLog::open(directory.path(), options)?
    };
    let started = Started::now()?;
    let (mut position, end) = log.bounds(0).await?;
    let mut fetched = 0;
    while position != end {
        let page = log.fetch(0, position, BYTES_MAX, Duration::ZERO).await?;
        position = page.next;
        fetched += page.records.len() as u64;
    }
    started.print("fetch from the disk", fetched)
}

fn record(number: u64) -> (Axis, RawRecord) {
    let record = RawRecord {
        key: Some(b"samu31".to_vec()),
        value: br#"{"message":"43.123456","timestamp":"2026-01-02T03:04:05.678Z"}"#.to_vec(),
        headers: vec![("orinoco-id".to_owned(), b"mqtt/3/9f2c9f2c9f2c9/123456".to_vec())],
        timestamp_ms: 1_767_323_045_678,
    };
    (Axis::BOTH[usize::from(number % 2 == 1)], record)
}
