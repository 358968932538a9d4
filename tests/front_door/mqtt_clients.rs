//! Other people's MQTT clients, each in MQTT 3.1.1 and in MQTT 5: Mosquitto's, Paho for Python, MQTT.js. With the embedded broker, and with
//! mosquitto.

use std::{path::Path, process::Stdio};

use orinoco_testkit::unique_name;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::support::{Mode, Setup, Socket, World, latest, until, within};

const VERSIONS: [&str; 2] = ["3.1.1", "5"];

for_both_modes! {
    mosquitto_s_clients_publish_are_remembered_and_leave_a_will
    paho_for_python_publishes_is_remembered_and_leaves_a_will
    mqtt_js_publishes_is_remembered_and_leaves_a_will
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_to_a_client_outlives_a_kill_of_the_embedded_daemon() {
    let world = World::start(Mode::Embedded, Setup::default()).await;
    for library in [Library::Paho, Library::MqttJs] {
        for version in VERSIONS {
            let name = unique_name("d");
            let mut device = Program::start(library, &world, version, &name, "acknowledged");
            device.event("acknowledged").await;
            world.daemon.kill().unwrap();
            world.daemon.restart().await.unwrap();
            let last = until("the last value", async || latest(&world, &name).await.filter(|last| last.x == 7.0)).await;
            assert_eq!((last.y, last.offset), (6.0, 2), "{library:?}, {version}");
        }
    }
}

/// The next frame's coordinates.
async fn moved(socket: &mut Socket) -> (f64, f64) {
    let frame = socket.frame().await;
    (frame.x, frame.y)
}

async fn paho_for_python_publishes_is_remembered_and_leaves_a_will(mode: Mode) {
    whole_life(Library::Paho, mode).await;
}

async fn mqtt_js_publishes_is_remembered_and_leaves_a_will(mode: Mode) {
    whole_life(Library::MqttJs, mode).await;
}

/// QoS 0, 1 and 2, a retained message, sessions that are kept and that are not, a will.
async fn whole_life(library: Library, mode: Mode) {
    let world = World::shared(mode).await;
    for version in VERSIONS {
        let name = unique_name("d");
        let mut socket = world.watch(&format!("?device={name}")).await;
        let mut device = Program::start(library, world, version, &name, "life");
        // One axis at a time: in `services` mode there is no order across them.
        device.event("begun").await;
        assert_eq!(moved(&mut socket).await, (1.0, 1.0), "{version}");
        device.go_on().await;
        device.event("published").await;
        for expected in [(2.0, 1.0), (3.0, 1.0), (4.0, 1.0)] {
            assert_eq!(moved(&mut socket).await, expected, "{version}");
        }
        device.go_on().await;
        let retained = device.event("retained").await;
        assert_eq!((&retained["payload"], &retained["retain"]), (&json!("4"), &json!(true)), "{version}");
        device.go_on().await;
        let sessions = device.event("sessions").await;
        let expected = json!({"event": "sessions", "first": false, "again": true, "kept": "5", "cleaned": false});
        assert_eq!(sessions, expected, "{version}");
        assert_eq!(moved(&mut socket).await, (4.0, 5.0), "{version}");
        // Without DISCONNECT.
        device.kill().await;
        assert_eq!(moved(&mut socket).await, (1000.0, 5.0), "the will, {version}");
    }
}

async fn mosquitto_s_clients_publish_are_remembered_and_leave_a_will(mode: Mode) {
    let world = World::shared(mode).await;
    for version in VERSIONS {
        let name = unique_name("d");
        let [x, y] = ["coordX", "coordY"].map(|axis| format!("devices/{name}/{axis}"));
        let mut socket = world.watch(&format!("?device={name}")).await;
        mosquitto(world, version, "pub", &["-t", &x, "-m", "1", "-q", "0"]).await;
        mosquitto(world, version, "pub", &["-t", &y, "-m", "1", "-q", "1"]).await;
        assert_eq!(moved(&mut socket).await, (1.0, 1.0), "{version}");
        for (payload, more) in [("2", &["-q", "1"][..]), ("3", &["-q", "2"]), ("4", &["-q", "1", "-r"])] {
            mosquitto(world, version, "pub", &[&["-t", &x, "-m", payload], more].concat()).await;
            assert_eq!(moved(&mut socket).await, (payload.parse().unwrap(), 1.0), "{version}");
        }
        let retained = mosquitto(world, version, "sub", &["-t", &x, "-C", "1", "-F", "%r %p"]).await;
        assert_eq!(retained, "1 4", "{version}");
        let keeper = unique_name("keeper");
        // `-c`: the session is kept.
        let mut kept = vec!["-c", "-i", keeper.as_str(), "-q", "1", "-t", y.as_str()];
        if version == "5" {
            kept.extend(["-x", "300"]);
        }
        // `-E`: it leaves when it has subscribed.
        mosquitto(world, version, "sub", &[&kept[..], &["-E"]].concat()).await;
        mosquitto(world, version, "pub", &["-t", &y, "-m", "5", "-q", "1"]).await;
        assert_eq!(moved(&mut socket).await, (4.0, 5.0), "{version}");
        assert_eq!(mosquitto(world, version, "sub", &[&kept[..], &["-C", "1"]].concat()).await, "5", "{version}");
        // It goes on reading lines until it is killed.
        let will = ["--will-topic", &x, "--will-payload", "1000", "--will-qos", "1"];
        let mut dying = command(world, version, "pub", &[&["-l", "-q", "1", "-t", x.as_str()][..], &will].concat());
        let mut dying = dying.stdin(Stdio::piped()).spawn().unwrap();
        dying.stdin.as_mut().unwrap().write_all(b"6\n").await.unwrap();
        assert_eq!(moved(&mut socket).await, (6.0, 5.0), "{version}");
        dying.kill().await.unwrap();
        assert_eq!(moved(&mut socket).await, (1000.0, 5.0), "the will, {version}");
    }
}

/// `mosquitto_pub` or `mosquitto_sub`.
fn command(world: &World, version: &str, which: &str, arguments: &[&str]) -> Command {
    let url = world.mqtt_url();
    let (host, port) = url.trim_start_matches("mqtt://").split_once(':').unwrap();
    let mut command = Command::new(format!("mosquitto_{which}"));
    command.args(["-h", host, "-p", port, "-V", if version == "5" { "5" } else { "311" }]).args(arguments);
    command.kill_on_drop(true);
    command
}

/// What it prints, when it ends well.
async fn mosquitto(world: &World, version: &str, which: &str, arguments: &[&str]) -> String {
    let output = within("the end of Mosquitto's client", command(world, version, which, arguments).output()).await;
    let output = output.expect("mosquitto_pub and mosquitto_sub (scripts/install services)");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[derive(Debug, Clone, Copy)]
enum Library {
    Paho,
    MqttJs,
}

/// A program of tests/clients that takes turns with the test.
struct Program {
    process: Child,
    turns: ChildStdin,
    events: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(library: Library, world: &World, version: &str, name: &str, part: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (programs, installed) = (root.join("tests/clients"), root.join(".stack/clients"));
        let mut command = match library {
            Library::Paho => {
                let mut command = Command::new(installed.join("python/bin/python"));
                command.arg(programs.join("mqtt_paho.py"));
                command
            }
            Library::MqttJs => {
                let mut command = Command::new("node");
                command.arg(programs.join("mqtt_js.mjs")).arg(&installed);
                command
            }
        };
        let url = world.mqtt_url();
        let (host, port) = url.trim_start_matches("mqtt://").split_once(':').unwrap();
        command.args([host, port, version, name, part]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let process = command.spawn();
        let mut process =
            process.unwrap_or_else(|error| panic!("{library:?}: {error}; scripts/install test installs it"));
        let turns = process.stdin.take().unwrap();
        let events = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, turns, events }
    }

    /// What it reaches next, which must be this.
    async fn event(&mut self, name: &str) -> Value {
        let line = within(name, self.events.next_line()).await.unwrap();
        let line = line.unwrap_or_else(|| panic!("it ended before {name}; its error is above"));
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["event"], name, "{event}");
        event
    }

    async fn go_on(&mut self) {
        self.turns.write_all(b"\n").await.unwrap();
    }

    async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }
}
