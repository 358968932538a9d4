//! What the embedded broker costs: CPU seconds a million QoS 1 publishes, and memory an idle connection.
//!
//! `cargo run --release -p orinoco-embedded --example broker_rate [messages]` (default 1,000,000). The broker runs in a child
//! process of its own, with an intake that counts; the clients are this process. Linux.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use orinoco_embedded::broker::{BrokerOptions, EmbeddedBroker};
use orinoco_ports::{InboundMessage, Intake, MqttSource, Refused, Server};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinSet;

const CHILD: &str = "ORINOCO_BROKER_RATE_CHILD";
const MESSAGES: usize = 1_000_000;
const IDLE_CONNECTIONS: usize = 5_000;
/// MQTT 3.1.1, section 3.4: a PUBACK is four bytes.
const PUBACK_SIZE: usize = 4;
/// USER_HZ of Linux.
const TICKS_PER_SECOND: f64 = 100.0;

struct Counting(AtomicU64);

#[async_trait]
impl Intake for Counting {
    fn accept_blocking(&self, _: InboundMessage<'_>) -> Result<(), Refused> {
        Ok(())
    }

    async fn accept(&self, _: InboundMessage<'_>) -> Result<(), Refused> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::main]
async fn main() {
    if std::env::var_os(CHILD).is_some() {
        return serve().await;
    }
    let messages = std::env::args().nth(1).map_or(MESSAGES, |count| count.parse().expect("a number of messages"));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pid = child.id().unwrap();
    let address = BufReader::new(child.stdout.take().unwrap()).lines().next_line().await.unwrap().unwrap();
    let address: SocketAddr = address.parse().unwrap();

    let before = resident_bytes(pid);
    let idle = connect_all(address, IDLE_CONNECTIONS).await;
    let each = (resident_bytes(pid) - before) / IDLE_CONNECTIONS;
    println!("{IDLE_CONNECTIONS} idle connections: {:.1} KiB each", each as f64 / 1024.0);
    drop(idle);

    publish(address, pid, 8, 100, messages).await;
    publish(address, pid, 100, 1, messages / 10).await;
}

async fn serve() {
    let broker = EmbeddedBroker::new(BrokerOptions { listen: "127.0.0.1:0".to_owned(), ..BrokerOptions::default() });
    let _running = broker.start().await.unwrap();
    let _link = broker.connect(Arc::new(Counting(AtomicU64::new(0)))).await.unwrap();
    println!("{}", broker.local_addr().unwrap());
    std::future::pending::<()>().await;
}

async fn connect_all(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    for number in 0..count {
        clients.push(connect(address, &format!("client-{number:06}")).await);
    }
    clients
}

async fn connect(address: SocketAddr, client_id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut connect = vec![0x10, 12 + u8::try_from(client_id.len()).unwrap(), 0, 4];
    connect.extend_from_slice(b"MQTT\x04\x02\x00\x00\x00");
    connect.push(u8::try_from(client_id.len()).unwrap());
    connect.extend_from_slice(client_id.as_bytes());
    stream.write_all(&connect).await.unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).await.unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0]);
    stream
}

/// `clients` connections, each with `window` messages in flight.
async fn publish(address: SocketAddr, pid: u32, clients: usize, window: usize, messages: usize) {
    let streams = connect_all(address, clients).await;
    let (started, cpu_before) = (Instant::now(), cpu_seconds(pid));
    let mut publishing = JoinSet::new();
    for stream in streams {
        publishing.spawn(publish_all(stream, window, messages / clients));
    }
    publishing.join_all().await;
    let (elapsed, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds(pid) - cpu_before);
    println!(
        "{clients} clients with {window} in flight: {:.0} messages/s, {:.1} CPU s a million",
        messages as f64 / elapsed,
        cpu * 1e6 / messages as f64
    );
}

async fn publish_all(mut stream: TcpStream, window: usize, count: usize) {
    let mut burst = Vec::new();
    for packet_id in 1..=u16::try_from(window).unwrap() {
        let topic = b"devices/sim-0001/coordX";
        let payload = br#"{"message":"12.5","timestamp":"2026-01-02T03:04:05.678Z"}"#;
        burst.extend([0x32, u8::try_from(topic.len() + payload.len() + 4).unwrap(), 0, topic.len() as u8]);
        burst.extend_from_slice(topic);
        burst.extend_from_slice(&packet_id.to_be_bytes());
        burst.extend_from_slice(payload);
    }
    let mut acknowledgements = vec![0; PUBACK_SIZE * window];
    for _ in 0..count / window {
        stream.write_all(&burst).await.unwrap();
        stream.read_exact(&mut acknowledgements).await.unwrap();
    }
}

/// proc(5): fields 14 and 15 of stat.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / TICKS_PER_SECOND
}

fn resident_bytes(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}
