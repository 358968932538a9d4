//! The mosquitto project's clients, as people use them.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::client::DEADLINE;
use crate::setup::{Setup, until};

fn mosquitto(program: &str, setup: &Setup, version: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["-h", "127.0.0.1", "-V", version, "-p"]).arg(setup.address.port().to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn publish(setup: &Setup, version: &str, qos: &str, topic: &str, payload: &str) {
    let output = mosquitto("mosquitto_pub", setup, version).args(["-q", qos, "-t", topic, "-m", payload]).output();
    let output = timeout(DEADLINE, output).await.unwrap().expect("mosquitto_pub (scripts/install services)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn mosquitto_pub_and_mosquitto_sub_work_at_every_qos_and_version() {
    let setup = Setup::new().await;
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            let mut subscriber = mosquitto("mosquitto_sub", &setup, version)
                .args(["-q", qos, "-t", "devices/#", "-F", "%t %p"])
                .spawn()
                .expect("mosquitto_sub (scripts/install services)");
            let mut lines = BufReader::new(subscriber.stdout.take().unwrap()).lines();
            // It says nothing when its subscription stands, so publish until it says what it got.
            let line = until("the subscriber gets a message", async || {
                publish(&setup, version, qos, "devices/D/coordX", "12.5").await;
                timeout(Duration::from_millis(200), lines.next_line()).await.ok()?.ok()?
            })
            .await;
            assert_eq!(line, "devices/D/coordX 12.5");
            subscriber.kill().await.unwrap();
        }
    }
    let accepted = setup.journal.accepted.lock().unwrap();
    assert!(accepted.len() >= 9);
    assert!(accepted.iter().all(|message| message.payload == b"12.5"));
}
