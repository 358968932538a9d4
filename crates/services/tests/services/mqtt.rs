//! MQTT through paho, on mosquitto: what the suites can't know.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use orinoco_ports::{InboundMessage, Intake, MqttError, MqttSource, Refused};
use orinoco_services::{PahoSource, PahoSourceOptions};
use orinoco_testkit::{Mosquitto, free_port, poll_until};
use tokio::time::timeout;

use crate::device::Device;

const DEADLINE: Duration = Duration::from_secs(60);

fn source(url: &str) -> PahoSource {
    let filters = ["devices/+/coordX", "coordX"].map(str::to_owned).to_vec();
    PahoSource::new(PahoSourceOptions::new(url, "orinoco", filters)).unwrap()
}

fn device(broker: &Mosquitto) -> Device {
    Device::new(broker.address().host_and_port())
}

/// Topic, payload, whether redelivered, packet identifier.
type Received = (String, String, bool, Option<u16>);

/// Keeps what it accepts; may be told to panic, or to wait.
#[derive(Default)]
struct Recorder {
    received: Mutex<Vec<Received>>,
    panics: AtomicBool,
    waits: Mutex<bool>,
    woken: Condvar,
    closed: AtomicBool,
}

impl Recorder {
    fn payloads(&self) -> Vec<String> {
        self.received.lock().unwrap().iter().map(|(_, payload, ..)| payload.clone()).collect()
    }

    async fn until(&self, count: usize) -> Vec<Received> {
        let enough = async || Some(self.received.lock().unwrap().clone()).filter(|received| received.len() >= count);
        poll_until(DEADLINE, "messages", enough).await.unwrap()
    }

    fn wait(&self, wait: bool) {
        *self.waits.lock().unwrap() = wait;
        self.woken.notify_all();
    }
}

#[async_trait]
impl Intake for Recorder {
    fn accept_blocking(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
        assert!(!self.panics.load(Ordering::SeqCst), "as told");
        let mut waits = self.waits.lock().unwrap();
        while *waits {
            waits = self.woken.wait(waits).unwrap();
        }
        if self.closed.load(Ordering::SeqCst) {
            return Err(Refused::Closed);
        }
        let payload = String::from_utf8_lossy(message.payload).into_owned();
        let received = (message.topic.to_owned(), payload, message.redelivered, message.packet_id);
        self.received.lock().unwrap().push(received);
        Ok(())
    }

    async fn accept(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
        self.accept_blocking(message)
    }
}

async fn publish(device: &mut Device, topic: &str, payload: &str) {
    let code = device.publish_raw(topic.as_bytes(), payload.as_bytes(), None, false).await.unwrap();
    assert!(code < 0x80, "reason code {code}");
}

#[tokio::test]
async fn packet_identifiers_and_the_duplicate_flag_are_read() {
    let broker = Mosquitto::start().await.unwrap();
    let source = source(broker.url());
    let first = Arc::new(Recorder::default());
    let link = source.connect(Arc::clone(&first) as _).await.unwrap();
    let mut device = device(&broker);
    publish(&mut device, "coordX", "1").await;
    publish(&mut device, "coordX", "2").await;
    let received = first.until(2).await;
    assert!(received.iter().all(|(_, _, redelivered, packet_id)| !redelivered && packet_id.is_some()), "{received:?}");
    assert_ne!(received[0].3, received[1].3);
    first.wait(true);
    publish(&mut device, "coordX", "3").await;
    // It waits in the callback; the link is left, and then it is refused.
    first.closed.store(true, Ordering::SeqCst);
    drop(link);
    first.wait(false);
    let second = Arc::new(Recorder::default());
    let _link = source.connect(Arc::clone(&second) as _).await.unwrap();
    let again = second.until(1).await;
    assert_eq!((again[0].1.as_str(), again[0].2), ("3", true), "refused, so redelivered, with DUP");
    assert!(again[0].3.is_some());
}

#[tokio::test]
async fn an_intake_that_panics_refuses_and_the_process_lives() {
    let broker = Mosquitto::start().await.unwrap();
    let source = source(broker.url());
    let intake = Arc::new(Recorder::default());
    let mut link = source.connect(Arc::clone(&intake) as _).await.unwrap();
    intake.panics.store(true, Ordering::SeqCst);
    publish(&mut device(&broker), "coordX", "1").await;
    let why = timeout(DEADLINE, link.lost()).await.unwrap();
    assert!(why.to_string().contains("refused"), "{why}");
    intake.panics.store(false, Ordering::SeqCst);
    drop(link);
    let _link = source.connect(Arc::clone(&intake) as _).await.unwrap();
    assert_eq!(intake.until(1).await[0].1, "1");
}

/// Of the session they share the broker ends one connection at once: a message refused on that one must hold up no other.
#[tokio::test]
async fn a_connect_that_is_given_up_holds_up_no_other() {
    const ROUNDS: usize = 40;
    let broker = Mosquitto::start().await.unwrap();
    let mut options = PahoSourceOptions::new(broker.url(), "orinoco", vec!["coordX".to_owned()]);
    // Were one waited for until the broker gives it up, it would be for longer than the test waits.
    options.keep_alive = 10 * DEADLINE;
    let source = Arc::new(PahoSource::new(options).unwrap());
    let intake = Arc::new(Recorder::default());
    drop(source.connect(Arc::clone(&intake) as _).await.unwrap());
    let (mut device, mut expected) = (device(&broker), Vec::new());
    for round in 0..ROUNDS {
        for number in 0..3 {
            expected.push(format!("{round}.{number}"));
            publish(&mut device, "coordX", expected.last().unwrap()).await;
        }
        let given_up = tokio::spawn({
            let (source, intake) = (Arc::clone(&source), Arc::clone(&intake));
            async move { source.connect(intake).await.map(drop) }
        });
        // From before the attempt to after the answer.
        tokio::time::sleep(Duration::from_micros(150 * round as u64)).await;
        given_up.abort();
        let mut link = timeout(DEADLINE, source.connect(Arc::clone(&intake) as _)).await.unwrap().unwrap();
        let last = async || intake.payloads().contains(expected.last().unwrap()).then_some(());
        tokio::select! {
            there = poll_until(DEADLINE, "what waited for the link", last) => there.unwrap(),
            why = link.lost() => panic!("the next one's link was lost: {why}"),
        }
        drop(link);
    }
    let mut received = intake.payloads();
    received.sort();
    received.dedup();
    expected.sort();
    assert_eq!(received, expected);
}

const ALONE: &str = "ORINOCO_TEST_ALONE";

/// Whether this process runs no other test; otherwise runs the one of that name in a process of its own. For tests that hold up the thread
/// that paho has for all clients of a process.
fn is_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("1 passed"), "no test is named {test}");
    false
}

#[tokio::test]
async fn an_intake_that_waits_holds_up_other_clients_but_not_for_ever() {
    if !is_alone("mqtt::an_intake_that_waits_holds_up_other_clients_but_not_for_ever") {
        return;
    }
    let broker = Mosquitto::start().await.unwrap();
    let mut options = PahoSourceOptions::new(broker.url(), "orinoco", vec!["coordX".to_owned()]);
    options.connect_timeout = Duration::from_millis(200);
    let source = PahoSource::new(options).unwrap();
    let intake = Arc::new(Recorder::default());
    let link = source.connect(Arc::clone(&intake) as _).await.unwrap();
    intake.wait(true);
    publish(&mut device(&broker), "coordX", "1").await;
    // The library's only thread waits now, so nobody else gets in; but nobody hangs.
    let held_up = async || match source.probe().await {
        Err(MqttError::Unavailable { .. }) => Some(()),
        _ => None,
    };
    poll_until(DEADLINE, "a probe that is held up", held_up).await.unwrap();
    timeout(DEADLINE, link.disconnect()).await.unwrap();
    intake.wait(false);
    let intake = Arc::new(Recorder::default());
    let connect = async || source.connect(Arc::clone(&intake) as _).await.ok();
    let _link = poll_until(DEADLINE, "a connection afterwards", connect).await.unwrap();
    publish(&mut device(&broker), "coordX", "2").await;
    let enough = async || intake.payloads().contains(&"2".to_owned()).then_some(());
    poll_until(DEADLINE, "a message afterwards", enough).await.unwrap();
}

#[tokio::test]
async fn topics_that_are_no_text_are_kept_away_by_the_broker() {
    let broker = Mosquitto::start().await.unwrap();
    let intake = Arc::new(Recorder::default());
    let _link = source(broker.url()).connect(Arc::clone(&intake) as _).await.unwrap();
    // paho's Rust layer would abort the process on these (MQTT 5.0, section 1.5.4: the broker must not let them through).
    for topic in [&b"devices/\0/coordX"[..], b"devices/\xff\xfe/coordX", b"devices/\xed\xa0\x80/coordX"] {
        let outcome = device(&broker).publish_raw(topic, b"1", None, false).await;
        assert!(!matches!(outcome, Ok(0..0x80)), "{topic:?}: {outcome:?}");
    }
    let mut device = device(&broker);
    let odd = ["devices/\u{1}/coordX", "devices/a\nb/coordX", "devices/é漢🚁/coordX", "devices//coordX"];
    let mut accepted = Vec::new();
    for topic in odd {
        if device.publish_raw(topic.as_bytes(), b"1", None, false).await.is_ok_and(|code| code < 0x80) {
            accepted.push(topic.to_owned());
        }
    }
    publish(&mut device, "coordX", "end").await;
    accepted.push("coordX".to_owned());
    let received = intake.until(accepted.len()).await;
    assert_eq!(received.into_iter().map(|(topic, ..)| topic).collect::<Vec<_>>(), accepted);
}

#[tokio::test]
async fn a_retained_message_comes_once_and_may_have_come_before() {
    let broker = Mosquitto::start().await.unwrap();
    device(&broker).publish_raw(b"coordX", b"retained", None, true).await.unwrap();
    let source = source(broker.url());
    let intake = Arc::new(Recorder::default());
    let link = source.connect(Arc::clone(&intake) as _).await.unwrap();
    let received = intake.until(1).await;
    assert_eq!((received[0].1.as_str(), received[0].2), ("retained", true));
    link.disconnect().await;
    let _link = source.connect(Arc::clone(&intake) as _).await.unwrap();
    publish(&mut device(&broker), "coordX", "live").await;
    intake.until(2).await;
    assert_eq!(intake.payloads(), ["retained", "live"]);
}

#[tokio::test]
async fn filters_of_an_earlier_configuration_double_nothing() {
    let broker = Mosquitto::start().await.unwrap();
    let mut options = PahoSourceOptions::new(broker.url(), "orinoco", vec!["devices/+/coordX".to_owned()]);
    let before = PahoSource::new(options.clone()).unwrap();
    before.connect(Arc::new(Recorder::default())).await.unwrap().disconnect().await;

    options.superseded = std::mem::replace(&mut options.filters, vec!["devices/#".to_owned()]);
    let now = PahoSource::new(options).unwrap();
    let intake = Arc::new(Recorder::default());
    let _link = now.connect(Arc::clone(&intake) as _).await.unwrap();
    let mut device = device(&broker);
    // Between SUBSCRIBE and UNSUBSCRIBE the broker has both, and may send twice.
    let mut round = 0;
    let once = async || {
        round += 1;
        publish(&mut device, "devices/a/coordX", &round.to_string()).await;
        let is_at_end = async || {
            // Again, as the first may come before the SUBSCRIBE that it needs.
            publish(&mut device, "devices/a/end", &round.to_string()).await;
            let received = intake.received.lock().unwrap().clone();
            received
                .iter()
                .any(|(topic, payload, ..)| topic == "devices/a/end" && *payload == round.to_string())
                .then_some(received)
        };
        let received = poll_until(DEADLINE, "the end of the round", is_at_end).await.unwrap();
        let copies =
            received.iter().filter(|(topic, payload, ..)| topic == "devices/a/coordX" && *payload == round.to_string());
        (copies.count() == 1).then_some(())
    };
    poll_until(DEADLINE, "a message that comes once", once).await.unwrap();
}

#[tokio::test]
async fn a_session_that_another_takes_over_is_lost_to_the_first() {
    let broker = Mosquitto::start().await.unwrap();
    let (one, two) = (source(broker.url()), source(broker.url()));
    let (first, second) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
    let mut link = one.connect(Arc::clone(&first) as _).await.unwrap();
    let _link = two.connect(Arc::clone(&second) as _).await.unwrap();
    let why = timeout(DEADLINE, link.lost()).await.unwrap();
    assert!(matches!(why, MqttError::Unavailable { .. }), "{why}");
    publish(&mut device(&broker), "coordX", "1").await;
    second.until(1).await;
    assert!(first.payloads().is_empty());
}

#[tokio::test]
async fn a_probe_tells_the_broker_s_version_and_leaves_the_session_alone() {
    let broker = Mosquitto::start().await.unwrap();
    let source = source(broker.url());
    let intake = Arc::new(Recorder::default());
    let _link = source.connect(Arc::clone(&intake) as _).await.unwrap();
    let info = source.probe().await.unwrap();
    assert!(info.version.starts_with("mosquitto version"), "{info:?}");
    publish(&mut device(&broker), "coordX", "1").await;
    intake.until(1).await;
}

/// A mosquitto that wants a password, ended when dropped.
struct Guarded {
    process: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Guarded {
    async fn start() -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port().unwrap());
        let path = |name: &str| folder.path().join(name).display().to_string();
        let created =
            Command::new("mosquitto_passwd").args(["-b", "-c", &path("passwords"), "user", "s3cret"]).status();
        assert!(created.unwrap().success());
        fs::write(folder.path().join("acl"), "user user\ntopic read coordX\n").unwrap();
        let lines = [
            format!("listener {port} 127.0.0.1"),
            "allow_anonymous false".to_owned(),
            format!("password_file {}", path("passwords")),
            format!("acl_file {}", path("acl")),
            "user root".to_owned(),
        ];
        fs::write(folder.path().join("conf"), lines.join("\n")).unwrap();
        let mut command = Command::new("/usr/sbin/mosquitto");
        let process = command.args(["-c", &path("conf")]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let answers = async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok();
        poll_until(DEADLINE, "a mosquitto", answers).await.unwrap();
        Self { process, url: format!("mqtt://127.0.0.1:{port}"), _folder: folder }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_broker_that_refuses_us_names_the_remedy_and_not_the_password() {
    let broker = Guarded::start().await;
    let connect = async |username: Option<&str>, password: Option<&str>, filter: &str| {
        let mut options = PahoSourceOptions::new(&broker.url, "orinoco", vec![filter.to_owned()]);
        (options.username, options.password) = (username.map(str::to_owned), password.map(str::to_owned));
        PahoSource::new(options).unwrap().connect(Arc::new(Recorder::default())).await
    };
    for (username, password) in [(None, None), (Some("user"), Some("wr0ng")), (Some("other"), Some("s3cret"))] {
        match connect(username, password, "coordX").await.err() {
            Some(MqttError::Rejected { url, reason }) => {
                assert!(url == broker.url && !reason.contains("wr0ng") && !reason.contains("s3cret"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    connect(Some("user"), Some("s3cret"), "coordX").await.unwrap().disconnect().await;
}

/// Writes each message to a file, by one write(2), before it is acknowledged.
struct FileIntake(Mutex<File>);

#[async_trait]
impl Intake for FileIntake {
    fn accept_blocking(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
        let payload = String::from_utf8_lossy(message.payload);
        let line = format!("{payload} {} {}\n", message.redelivered, message.packet_id.unwrap_or(0));
        self.0.lock().unwrap().write_all(line.as_bytes()).map_err(|_| Refused::Full)
    }

    async fn accept(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
        self.accept_blocking(message)
    }
}

const CHILD_URL: &str = "ORINOCO_TEST_CHILD_URL";
const CHILD_FILE: &str = "ORINOCO_TEST_CHILD_FILE";

/// Does nothing, unless the next test runs it in a process of its own.
#[tokio::test]
async fn as_a_child_takes_messages_into_a_file_until_it_is_killed() {
    let (Ok(url), Ok(path)) = (std::env::var(CHILD_URL), std::env::var(CHILD_FILE)) else { return };
    let file = File::options().append(true).create(true).open(path).unwrap();
    let intake = Arc::new(FileIntake(Mutex::new(file)));
    let source = source(&url);
    let connect = async || source.connect(Arc::clone(&intake) as _).await.ok();
    let mut link = poll_until(DEADLINE, "a connection", connect).await.unwrap();
    panic!("{}", link.lost().await);
}

fn spawn_child(url: &str, file: &Path) -> Child {
    let test = "mqtt::as_a_child_takes_messages_into_a_file_until_it_is_killed";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]).env(CHILD_URL, url).env(CHILD_FILE, file);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed_under_load() {
    const MESSAGES: usize = 12_000;
    const KILLS: usize = 5;
    let broker = Mosquitto::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("messages");
    let lines = || fs::read_to_string(&file).unwrap_or_default().lines().count();
    // So that the broker knows the session.
    source(broker.url()).connect(Arc::new(Recorder::default())).await.unwrap().disconnect().await;

    let mut publisher = device(&broker);
    let publishing = tokio::spawn(async move {
        for number in 0..MESSAGES {
            publish(&mut publisher, "devices/d/coordX", &number.to_string()).await;
        }
    });
    for _ in 0..KILLS {
        let before = lines();
        let mut child = spawn_child(broker.url(), &file);
        let grown = async || (lines() >= (before + 500).min(MESSAGES)).then_some(());
        poll_until(DEADLINE, "messages in the file", grown).await.unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
    timeout(DEADLINE, publishing).await.unwrap().unwrap();
    let mut child = spawn_child(broker.url(), &file);
    let complete = async || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        text.contains(&format!("\n{} ", MESSAGES - 1)).then_some(text)
    };
    let text = poll_until(DEADLINE, "the last message", complete).await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_complete(&text, MESSAGES);
}

/// Each number is there, in order where it comes first; where one comes again it is flagged, under the packet identifier of before.
fn assert_complete(text: &str, messages: usize) {
    let mut packet_ids: HashMap<usize, &str> = HashMap::new();
    for line in text.lines() {
        let [number, redelivered, packet_id] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let number: usize = number.parse().unwrap();
        match packet_ids.get(&number) {
            None => assert_eq!(number, packet_ids.len(), "lost, or out of order"),
            Some(first) => assert_eq!((redelivered, *first), ("true", packet_id), "{number} came twice"),
        }
        packet_ids.insert(number, packet_id);
    }
    assert_eq!(packet_ids.len(), messages);
}
