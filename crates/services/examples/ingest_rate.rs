//! What taking messages from a broker costs: messages a second, processor seconds a million, of which reading DUP and packet
//! identifier out of paho's `Debug` text is measured apart.
//!
//! `cargo run --release -p orinoco-services --example ingest_rate -- [messages]`; starts a mosquitto of its own, and publishes with
//! mosquitto_pub, a process each of four devices.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use orinoco_ports::{InboundMessage, Intake, MqttSource, Refused};
use orinoco_services::{PahoSource, PahoSourceOptions};
use orinoco_testkit::{Mosquitto, ProcessUsage, poll_until};

const DEVICES: usize = 4;

#[derive(Default)]
struct Counter(AtomicUsize);

#[async_trait]
impl Intake for Counter {
    fn accept_blocking(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
        assert!(message.packet_id.is_some());
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn accept(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
        self.accept_blocking(message)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let messages: usize = std::env::args().nth(1).map_or(400_000, |argument| argument.parse().unwrap());
    let broker = Mosquitto::start().await.unwrap();
    let options = PahoSourceOptions::new(broker.url(), "orinoco", vec!["devices/+/coordX".to_owned()]);
    let source = PahoSource::new(options).unwrap();
    let intake = Arc::new(Counter::default());
    let _link = source.connect(Arc::clone(&intake) as _).await.unwrap();
    let cpu = || ProcessUsage::of(std::process::id()).unwrap().cpu_seconds;
    let (before, broker_before, started) = (cpu(), broker.usage().unwrap().cpu_seconds, Instant::now());
    let port = broker.address().host_and_port().rsplit_once(':').unwrap().1.to_owned();
    let publishers: Vec<_> = (0..DEVICES)
        .map(|device| {
            let port = port.clone();
            std::thread::spawn(move || publish(device, &port, messages / DEVICES))
        })
        .collect();
    let arrived = async || (intake.0.load(Ordering::Relaxed) >= messages / DEVICES * DEVICES).then_some(());
    poll_until(Duration::from_secs(600), "all messages", arrived).await.unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let millions = messages as f64 / 1e6;
    let rate = messages as f64 / seconds;
    let broker_cpu = (broker.usage().unwrap().cpu_seconds - broker_before) / millions;
    println!("{rate:.0} messages/s, {:.2} s/M here, {broker_cpu:.2} s/M mosquitto", (cpu() - before) / millions);
    for publisher in publishers {
        publisher.join().unwrap();
    }
}

/// One line a message.
fn publish(device: usize, port: &str, messages: usize) {
    let topic = format!("devices/d{device}/coordX");
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", port, "-q", "1", "-l", "-t", &topic]).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = String::new();
    for number in 0..messages {
        writeln!(lines, r#"{{"message":"{number}.25","timestamp":"2026-01-02T03:04:05.678Z"}}"#).unwrap();
    }
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    child.wait().unwrap();
}
