//! What Kafka costs this side: records a second, processor seconds a million records written and read.
//!
//! `cargo run --release -p orinoco-services --example kafka_rate -- [records] [brokers]`; without brokers, starts a Kafka of its own.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::{Duration, Instant};

use orinoco_domain::{Axis, HEADER_ID, HEADER_TRACEPARENT, Position, RawRecord};
use orinoco_ports::RecordLog;
use orinoco_services::{KafkaLog, KafkaLogOptions};
use orinoco_testkit::{Kafka, ProcessUsage, unique_name};

const BATCHES: [usize; 3] = [20, 200, 1_000];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let records: usize = arguments.next().map_or(500_000, |argument| argument.parse().unwrap());
    let given = arguments.next();
    let own = if given.is_none() { Some(Kafka::start().await.unwrap()) } else { None };
    let brokers = given.unwrap_or_else(|| own.as_ref().unwrap().address().brokers().to_owned());
    println!("{:<24} {:>10} {:>12}", "", "records/s", "s/M");
    for records_a_call in BATCHES {
        let records = if records_a_call < 100 { records / 10 } else { records };
        let options = KafkaLogOptions::new(vec![brokers.clone()]);
        let topic_prefix = format!("{}-", unique_name("rate"));
        let log = KafkaLog::new(KafkaLogOptions { topic_prefix, partitions: 1, ..options });
        log.partitions().await.unwrap();
        let started = (cpu(), Instant::now());
        for first in (0..records).step_by(records_a_call) {
            let call: Vec<_> = (first..(first + records_a_call).min(records)).map(record).collect();
            log.produce(0, &call).await.unwrap();
        }
        print_row(&format!("produce, {records_a_call} a call"), records, started);
        let started = (cpu(), Instant::now());
        let (mut next, mut read) = (Position::default(), 0);
        while read < records {
            let fetched = log.fetch(0, next, 1 << 20, Duration::from_secs(1)).await.unwrap();
            (next, read) = (fetched.next, read + fetched.records.len());
        }
        print_row("fetch", records, started);
    }
}

fn record(number: usize) -> (Axis, RawRecord) {
    let header = |name: &str, value: String| (name.to_owned(), value.into_bytes());
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned();
    let record = RawRecord {
        key: Some(b"device-17".to_vec()),
        value: format!(r#"{{"message":"{number}.25","timestamp":"2026-01-02T03:04:05.678Z"}}"#).into_bytes(),
        headers: vec![header(HEADER_ID, format!("mqtt/1/9f2c/{number}")), header(HEADER_TRACEPARENT, traceparent)],
        timestamp_ms: 1_767_323_045_678 + number as i64,
    };
    (Axis::BOTH[number % 2], record)
}

fn cpu() -> f64 {
    ProcessUsage::of(std::process::id()).unwrap().cpu_seconds
}

fn print_row(name: &str, records: usize, (cpu_before, started): (f64, Instant)) {
    let rate = records as f64 / started.elapsed().as_secs_f64();
    println!("{name:<24} {rate:>10.0} {:>12.2}", (cpu() - cpu_before) / (records as f64 / 1e6));
}
