#![allow(clippy::unwrap_used)]
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use clap::Parser;
use orinoco_embedded::broker::{BrokerOptions, EmbeddedBroker};
use orinoco_ports::{InboundMessage, Intake, MqttLink, MqttSource, Refused, Running, Server};

use super::*;
use crate::commands::output::tests::Captured;

#[derive(Debug, Parser)]
struct CommandLine {
    #[command(flatten)]
    args: SimulateArgs,
}

fn arguments(arguments: &[&str]) -> SimulateArgs {
    let line = std::iter::once("simulate").chain(arguments.iter().copied());
    CommandLine::try_parse_from(line).unwrap().args
}

fn tracks() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tracks.csv").display().to_string()
}

/// Topic and payload, in the order of acceptance.
#[derive(Default)]
struct Journal(Mutex<Vec<(String, String)>>);

#[async_trait]
impl Intake for Journal {
    fn accept_blocking(&self, _: InboundMessage<'_>) -> Result<(), Refused> {
        unreachable!("the embedded broker is asynchronous")
    }

    async fn accept(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
        let payload = String::from_utf8(message.payload.to_vec()).unwrap();
        self.0.lock().unwrap().push((message.topic.to_owned(), payload));
        Ok(())
    }
}

impl Journal {
    fn of(&self, device: &str) -> Vec<(String, String)> {
        let prefix = format!("devices/{device}/");
        self.0.lock().unwrap().iter().filter(|(topic, _)| topic.starts_with(&prefix)).cloned().collect()
    }
}

struct Setup {
    broker: Arc<EmbeddedBroker>,
    running: Option<Box<dyn Running>>,
    _link: Box<dyn MqttLink>,
    journal: Arc<Journal>,
    url: String,
}

impl Setup {
    async fn new() -> Self {
        let listen = format!("127.0.0.1:{}", free_port());
        let broker = EmbeddedBroker::new(BrokerOptions { listen, ..BrokerOptions::default() });
        let running = Some(broker.start().await.unwrap());
        let journal = Arc::new(Journal::default());
        let link = broker.connect(journal.clone()).await.unwrap();
        let url = format!("mqtt://{}", broker.local_addr().unwrap());
        Self { broker, running, _link: link, journal, url }
    }

    fn defaults(&self) -> SimulateDefaults {
        SimulateDefaults { url: self.url.clone(), tls: TlsOptions::default(), username: None, password: None }
    }
}

fn free_port() -> u16 {
    orinoco_testkit::free_port().unwrap()
}

fn summary_of(captured: &Captured) -> serde_json::Value {
    serde_json::from_str(&captured.text()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_publishes_every_row_once_and_in_order() {
    let setup = Setup::new().await;
    let captured = Captured::default();
    let args = arguments(&["--replay", &tracks(), "--rate", "2000", "--json"]);
    let code = run(&args, setup.defaults(), &mut captured.output()).await.unwrap();
    assert_eq!(code, ExitCode::SUCCESS);
    let summary = summary_of(&captured);
    for (key, expected) in [("sent", 120), ("acknowledged", 120), ("devices", 3), ("reconnections", 0)] {
        assert_eq!(summary[key], expected, "{key}");
    }
    let recorded = std::fs::read_to_string(tracks()).unwrap();
    for device in ["samu31", "rega-sg", "rega-zh"] {
        let mut expected = Vec::new();
        for line in recorded.lines().filter(|line| line.starts_with(device)) {
            let columns: Vec<&str> = line.split(',').collect();
            for (axis, value) in [("coordX", columns[2]), ("coordY", columns[3])] {
                let payload = format!(r#"{{"message":"{value}","timestamp":"{}"}}"#, columns[1]);
                expected.push((format!("devices/{device}/{axis}"), payload));
            }
        }
        assert_eq!(setup.journal.of(device), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_devices_publish_for_the_duration() {
    let setup = Setup::new().await;
    let captured = Captured::default();
    let args = arguments(&["--devices", "20", "--rate", "1000", "--duration", "1"]);
    assert_eq!(run(&args, setup.defaults(), &mut captured.output()).await.unwrap(), ExitCode::SUCCESS);
    assert!(captured.text().starts_with("sent 1000, acknowledged 1000; devices 20, "), "{}", captured.text());
    for device in ["sim-0001", "sim-0020"] {
        let axes: Vec<String> = setup.journal.of(device).into_iter().map(|(topic, _)| topic).collect();
        assert_eq!(axes.len(), 50);
        assert!(axes.iter().step_by(2).all(|topic| topic.ends_with("/coordX")));
    }
}

/// Long enough for attempts to connect that fail.
const AWAY: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_gets_everything_in_order() {
    let mut setup = Setup::new().await;
    let captured = Captured::default();
    let args = arguments(&["--devices", "2", "--rate", "2000", "--duration", "2", "--json"]);
    let (defaults, mut output) = (setup.defaults(), captured.output());
    let simulating = tokio::spawn(async move { run(&args, defaults, &mut output).await.unwrap() });
    for count in [500, 1_500] {
        while setup.journal.0.lock().unwrap().len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        setup.running.take().unwrap().drain().await;
        tokio::time::sleep(AWAY).await;
        setup.running = Some(setup.broker.start().await.unwrap());
    }
    assert_eq!(simulating.await.unwrap(), ExitCode::SUCCESS);
    let summary = summary_of(&captured);
    assert_eq!((&summary["sent"], &summary["acknowledged"]), (&4_000.into(), &4_000.into()));
    assert!(summary["reconnections"].as_u64().unwrap() >= 2);
    for device in ["sim-0001", "sim-0002"] {
        let mut accepted = setup.journal.of(device);
        let is_ordered = is_in_order_but_for_repetitions(&accepted);
        assert!(is_ordered, "{device}");
        accepted.sort();
        accepted.dedup();
        assert_eq!(accepted.len(), 2_000, "{device}: nothing is missing");
    }
}

/// What is repeated after a reconnection begins at something seen before, and goes on from there without a gap.
fn is_in_order_but_for_repetitions(accepted: &[(String, String)]) -> bool {
    let mut order = Vec::new();
    for message in accepted {
        if !order.contains(&message) {
            order.push(message);
        }
    }
    let mut next = 0;
    accepted.iter().all(|message| {
        let Some(position) = order.iter().position(|seen| *seen == message) else { return false };
        let goes_on = position <= next;
        next = position + 1;
        goes_on
    })
}

#[tokio::test]
async fn without_a_broker_it_says_what_to_do() {
    let url = format!("mqtt://127.0.0.1:{}", free_port());
    let defaults = SimulateDefaults { url: url.clone(), tls: TlsOptions::default(), username: None, password: None };
    let error = run(&arguments(&[]), defaults, &mut Captured::default().output()).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("MQTT broker {url} can't be reached; is it running")), "{error:#}");
}

#[tokio::test]
async fn a_bad_file_is_refused_before_anything_is_sent() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "device,timestamp,coordX,coordY\nD,1000,1,2\nD,2000,1,north\n").unwrap();
    let path = file.path().display().to_string();
    let defaults = SimulateDefaults {
        url: "mqtt://127.0.0.1:1".to_owned(),
        tls: TlsOptions::default(),
        username: None,
        password: None,
    };
    let error = run(&arguments(&["--replay", &path]), defaults, &mut Captured::default().output()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{path}:3: coordY is not a number"));
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    for wrong in [&["--devices", "0"][..], &["--rate", "0"], &["--speed", "2"], &["--replay", "f", "--speed", "0"]] {
        let line = std::iter::once("simulate").chain(wrong.iter().copied());
        assert!(CommandLine::try_parse_from(line).is_err(), "{wrong:?}");
    }
    assert!(CommandLine::try_parse_from(["simulate", "--replay", "f", "--rate", "9", "--duration", "5"]).is_ok());
}
