//! kill -9 under load: what was acknowledged is in the file.
//!
//! The broker runs in a child process, which is this test binary again with one ignored test.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use orinoco_embedded::broker::EmbeddedBroker;
use orinoco_ports::{InboundMessage, Intake, MqttSource, Refused, Server};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::client::{Client, Connect, PUBACK, PUBREC, Publish, VERSIONS};
use crate::setup::{options, until, until_true};

const FILE: &str = "ORINOCO_TEST_BROKER_FILE";
const KILLS: usize = 5;
const CLIENTS: usize = 8;
/// In flight a client.
const WINDOW: usize = 100;
/// Acknowledgements between two kills.
const ACKNOWLEDGED_BETWEEN_KILLS: usize = 4_000;

/// One line a message, written with write(2) before it is accepted.
struct FileIntake(Mutex<File>);

#[async_trait]
impl Intake for FileIntake {
    fn accept_blocking(&self, _: InboundMessage<'_>) -> Result<(), Refused> {
        unreachable!("the embedded broker is asynchronous")
    }

    async fn accept(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
        let mut line = message.payload.to_vec();
        line.push(b'\n');
        self.0.lock().unwrap().write_all(&line).map_err(|_| Refused::Full)
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the child process of the test below"]
async fn the_broker_that_is_killed() {
    let Ok(path) = std::env::var(FILE) else { return };
    let file = File::options().create(true).append(true).open(path).unwrap();
    let broker = EmbeddedBroker::new(options());
    let _running = broker.start().await.unwrap();
    let _link = broker.connect(Arc::new(FileIntake(Mutex::new(file)))).await.unwrap();
    println!("\nlistening on {}", broker.local_addr().unwrap());
    std::future::pending::<()>().await;
}

async fn start(file: &Path) -> (Child, SocketAddr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::the_broker_that_is_killed", "--ignored", "--nocapture"])
        .env(FILE, file)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = until("the child listens", async || {
        let line = lines.next_line().await.unwrap().expect("a child that lives");
        line.strip_prefix("listening on ")?.parse().ok()
    })
    .await;
    (child, address)
}

/// Publishes with a window until the connection ends; notes what was acknowledged.
async fn publish_until_the_end(
    address: SocketAddr,
    name: String,
    number: usize,
    acknowledged: Arc<Mutex<Vec<String>>>,
) {
    let (version, qos) = (VERSIONS[number % 2], 1 + u8::try_from(number / 2 % 2).unwrap());
    let mut client = Client::connect(address, Connect::new(version, &name)).await;
    let payload = |sequence: usize| format!("{name}:{sequence}");
    let packet_id = |sequence: usize| u16::try_from(sequence % 60_000 + 1).unwrap();
    let (mut sent, mut received) = (0, 0);
    loop {
        while sent < received + WINDOW {
            let message = payload(sent);
            let publish = Publish { qos, ..Publish::qos1(packet_id(sent), "coordX", message.as_bytes()) };
            client.publish(publish).await;
            sent += 1;
        }
        let Some(packet) = client.receive().await else { return };
        if matches!(packet.kind(), PUBACK | PUBREC) {
            assert_eq!(packet.packet_id(), packet_id(received), "in order");
            acknowledged.lock().unwrap().push(payload(received));
            received += 1;
        }
        if packet.kind() == PUBREC {
            client.release(packet.packet_id()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("accepted");
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    for kill in 0..KILLS {
        let (mut child, address) = start(&file).await;
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let name = format!("{kill}-{number}");
            clients.spawn(publish_until_the_end(address, name, number, acknowledged.clone()));
        }
        let enough = (kill + 1) * ACKNOWLEDGED_BETWEEN_KILLS;
        until_true("enough is acknowledged", || acknowledged.lock().unwrap().len() >= enough).await;
        child.kill().await.unwrap(); // SIGKILL
        clients.join_all().await;
    }
    let written = std::fs::read_to_string(&file).unwrap();
    let accepted: HashSet<&str> = written.lines().collect();
    let acknowledged = acknowledged.lock().unwrap();
    let lost: Vec<&String> = acknowledged.iter().filter(|payload| !accepted.contains(payload.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged messages are lost", lost.len(), acknowledged.len());
    assert!(acknowledged.len() >= KILLS * ACKNOWLEDGED_BETWEEN_KILLS);
}
