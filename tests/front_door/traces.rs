//! Traces, from a device's user property to the store, exported to a collector that reads them by OpenTelemetry's official messages.

use std::path::Path;

use orinoco_testkit::{free_port, unique_name};
use serde_json::Value;
use tokio::{process::Command, time::Instant};

use crate::support::{Authority, Collector, Mode, Setup, World, command, folder, latest, request, until, within};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

for_both_modes! {
    one_coordinate_is_one_trace_from_the_device_to_the_store
    a_trace_that_is_not_recorded_or_no_trace_gives_no_span
    a_collector_that_is_away_holds_nothing_up_and_gets_what_was_kept
}

fn sampled() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

async fn start(mode: Mode, collector: &Collector, setup: Setup) -> World {
    World::start(mode, setup.set("telemetry.otlp_endpoint", collector.url())).await
}

/// Publishes by paho for Python, one coordX each, and waits for all to be in the store.
async fn publish(world: &World, name: &str, parents: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let device = world.device().await;
    device.publish(&format!("devices/{name}/coordY"), "0").await;
    let url = world.mqtt_url();
    let (host, port) = url.trim_start_matches("mqtt://").split_once(':').unwrap();
    let mut python = Command::new(root.join(".stack/clients/python/bin/python"));
    python.arg(root.join("tests/clients/mqtt_traced.py")).args([host, port, name]).args(parents).kill_on_drop(true);
    let output = within("the device", python.output()).await.expect("python; scripts/install test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let last = parents.len() as f64;
    until("the last value", async || latest(world, name).await.filter(|latest| latest.x == last)).await;
}

/// Those of a device, by their span's name up to its destination.
fn operation(span: &Value) -> &str {
    span["name"].as_str().unwrap().split(' ').next().unwrap()
}

fn is_of(span: &Value, trace: &str) -> bool {
    span["trace"] == trace
}

async fn one_coordinate_is_one_trace_from_the_device_to_the_store(mode: Mode) {
    let mut collector = Collector::start().await;
    let setup = Setup::default()
        .set("telemetry.otlp_headers", "Authorization=Bearer%20t0ken,x-tenant=7")
        .set("telemetry.service_name", "orinoco-test");
    let world = start(mode, &collector, setup).await;
    let name = unique_name("d");
    publish(&world, &name, &[&sampled()]).await;
    let spans = collector.spans(3).await;
    let find =
        |wanted: &str| spans.iter().find(|span| operation(span) == wanted).unwrap_or_else(|| panic!("{spans:#?}"));
    let (receive, send, process) = (find("receive"), find("send"), find("process"));
    assert!(spans.iter().all(|span| is_of(span, TRACE) && span["flags"] == 1 && span["scope"] == "orinoco"));
    assert_eq!(receive["parent"], PARENT);
    assert_eq!((&send["parent"], &process["parent"]), (&receive["span"], &send["span"]));
    let kinds = [receive, send, process].map(|span| span["kind"].as_str().unwrap());
    assert_eq!(kinds, ["SPAN_KIND_CONSUMER", "SPAN_KIND_PRODUCER", "SPAN_KIND_CONSUMER"]);
    assert_eq!(receive["name"], "receive devices/{device}/coordX");
    let (system, topic) = match mode {
        Mode::Embedded => ("orinoco", "coordX".to_owned()),
        Mode::Services => ("kafka", world.topic("coordX")),
    };
    assert_eq!(
        (&send["name"], &process["name"]),
        (&format!("send {topic}").into(), &format!("process {topic}").into())
    );
    let of_process = &process["attributes"];
    assert_eq!(
        (&of_process["messaging.system"], &of_process["messaging.kafka.message.key"]),
        (&system.into(), &name.clone().into())
    );
    assert_eq!(
        (&of_process["messaging.destination.name"], &of_process["messaging.kafka.offset"]),
        (&topic.into(), &0.into())
    );
    assert_eq!(receive["attributes"]["messaging.destination.name"], format!("devices/{name}/coordX"));
    for span in &spans {
        assert!(
            span["begun"].as_u64().unwrap() > 1_600_000_000_000_000_000
                && span["begun"].as_u64() <= span["ended"].as_u64()
        );
        assert_eq!(
            (&span["resource"]["service.name"], &span["status"]),
            (&"orinoco-test".into(), &"STATUS_CODE_UNSET".into())
        );
    }
    let asked = collector.request();
    assert_eq!(asked["path"], "/v1/traces");
    assert_eq!(
        (&asked["headers"]["authorization"], &asked["headers"]["x-tenant"]),
        (&"Bearer t0ken".into(), &"7".into())
    );
    assert!(!world.daemon.stderr().unwrap().contains("t0ken"));
    assert!(!String::from_utf8(world.command(&["check"]).stdout).unwrap().contains("t0ken"));
    if mode == Mode::Services {
        let record = crate::kafka_clients::consume(&world, "coordX");
        let header = format!("traceparent=00-{TRACE}-{}-01", send["span"].as_str().unwrap());
        assert!(record.len() == 1 && record[0].contains(&header), "{record:?} {header}");
    }
}

async fn a_trace_that_is_not_recorded_or_no_trace_gives_no_span(mode: Mode) {
    let mut collector = Collector::start().await;
    let world = start(mode, &collector, Setup::default()).await;
    let name = unique_name("d");
    // W3C Trace Context, section 3.2; the last one is to be traced, and comes after the others.
    let ignored = [
        "-".to_owned(),
        format!("00-{TRACE}-{PARENT}-00"),
        "rubbish".to_owned(),
        format!("00-{}-{PARENT}-01", TRACE.replace('4', "g")),
        format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
        format!("00-{}-{PARENT}-01", "0".repeat(32)),
        format!("00-{TRACE}-{}-01", "0".repeat(16)),
        format!("ff-{TRACE}-{PARENT}-01"),
        format!("00-{TRACE}-{PARENT}-01-more"),
        format!("00-{TRACE}-{PARENT}-01{}", "0".repeat(1_000)),
    ];
    let last = format!("00-{}-{PARENT}-01", "e".repeat(32));
    let parents: Vec<&str> = ignored.iter().map(String::as_str).chain([last.as_str()]).collect();
    publish(&world, &name, &parents).await;
    let spans = collector.spans(3).await;
    assert!(spans.iter().all(|span| is_of(span, &"e".repeat(32))), "{spans:#?}");
    world.daemon.terminate().await.unwrap();
    assert_eq!(collector.rest().await, Vec::<Value>::new());
}

async fn a_collector_that_is_away_holds_nothing_up_and_gets_what_was_kept(mode: Mode) {
    const KEPT: usize = 512;
    let port = free_port().unwrap();
    let setup = Setup::default().set("telemetry.spans_max", KEPT).set("telemetry.trace_ratio", 1);
    let world = World::start(mode, setup.set("telemetry.otlp_endpoint", format!("http://127.0.0.1:{port}"))).await;
    let (name, device) = (unique_name("d"), world.device().await);
    // Three spans each.
    for number in 0..400 {
        device.publish(&format!("devices/{name}/coordX"), number.to_string()).await;
    }
    device.publish(&format!("devices/{name}/coordY"), "7").await;
    until("all values", async || latest(&world, &name).await.filter(|latest| latest.x == 399.0)).await;
    let full = "orinoco_trace_spans_dropped_total{reason=\"full\"}";
    // 401 messages, but for what waits.
    let dropped = (401 * 3 - KEPT) as f64;
    until("what found no place", async || world.metric(full).await.filter(|lost| *lost >= dropped)).await;
    let failed = "orinoco_trace_exports_failed_total";
    until("a try that failed", async || world.metric(failed).await.filter(|tries| *tries > 0.0)).await;
    let mut collector = Collector::start_at(port).await;
    let spans = collector.spans(KEPT).await;
    assert!(spans.iter().all(|span| span["resource"]["service.name"] == "orinoco"));
    let exported = "orinoco_trace_spans_exported_total";
    until("what was kept", async || world.metric(exported).await.filter(|spans| *spans >= KEPT as f64)).await;
    assert_eq!(world.metric(full).await, Some(dropped));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_collector_refuses_is_counted_and_what_it_puts_off_is_sent_again() {
    let mut collector = Collector::start().await;
    let world = start(Mode::Embedded, &collector, Setup::default()).await;
    let (name, refused) = (unique_name("d"), "orinoco_trace_spans_dropped_total{reason=\"refused\"}");
    let lost =
        async |spans: f64| until("the count", async || world.metric(refused).await.filter(|lost| *lost >= spans)).await;
    collector.set("answer 400").await;
    publish(&world, &name, &[&sampled()]).await;
    assert_eq!(lost(3.0).await, 3.0);
    for status in ["429 1", "503", "502", "504"] {
        collector.set(&format!("answer {status}")).await;
        publish(&world, &unique_name("d"), &[&sampled()]).await;
        collector.refused().await;
        collector.set("answer 200").await;
        assert_eq!(collector.spans(3).await.len(), 3, "{status}");
    }
    collector.set("partial 2").await;
    publish(&world, &unique_name("d"), &[&sampled()]).await;
    collector.spans(3).await;
    assert!(lost(5.0).await >= 5.0);
    collector.set("hang").await;
    let begun = Instant::now();
    publish(&world, &unique_name("d"), &[&sampled()]).await;
    // An export that hangs ends with the daemon.
    world.daemon.terminate().await.unwrap();
    println!("with a collector that hangs: published and stopped in {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_is_traced_by_its_header_and_its_path_is_told_without_ids() {
    let mut collector = Collector::start().await;
    let world = start(Mode::Embedded, &collector, Setup::default()).await;
    let sampled = sampled();
    let header = [("traceparent", sampled.as_str())];
    let address = world.daemon.http_address();
    request(address, "GET", "/api/v1/devices", &header).await;
    request(address, "GET", "/api/v1/qr/challenges/nobody-s", &header).await;
    let spans = collector.spans(1).await;
    assert_eq!(
        (&spans[0]["name"], &spans[0]["kind"]),
        (&"GET /api/v1/qr/challenges/{id}".into(), &"SPAN_KIND_SERVER".into())
    );
    assert_eq!((&spans[0]["trace"], &spans[0]["parent"]), (&TRACE.into(), &PARENT.into()));
    assert_eq!(spans[0]["attributes"]["http.response.status_code"], 404);
    assert!(!spans[0].to_string().contains("nobody-s"));
    world.daemon.terminate().await.unwrap();
    assert_eq!(collector.rest().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_is_reached_by_https_where_its_authority_is_trusted() {
    let folder = folder();
    let authorities = ["ours", "others"].map(|name| Authority::new(folder.path().join(name)));
    let files = authorities[0].issue("collector", &["localhost"]);
    let mut collector = Collector::start_with(0, Some(&files)).await;
    let endpoint = format!("https://localhost:{}", collector.port());
    let [ours, others] = authorities.each_ref().map(|authority| authority.ca_file().display().to_string());
    let setup = |ca: &str| Setup::default().set("telemetry.otlp_endpoint", &endpoint).set("telemetry.otlp_tls_ca", ca);
    let trusting = World::start(Mode::Embedded, setup(&ours)).await;
    publish(&trusting, &unique_name("d"), &[&sampled()]).await;
    assert_eq!(collector.spans(3).await.len(), 3);
    let doubting = World::start(Mode::Embedded, setup(&others)).await;
    publish(&doubting, &unique_name("d"), &[&sampled()]).await;
    let failed = "orinoco_trace_exports_failed_total";
    until("a try that failed", async || doubting.metric(failed).await.filter(|tries| *tries > 0.0)).await;
    assert!(doubting.daemon.stderr().unwrap().contains("UnknownIssuer"));
    assert_eq!(collector.rest().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_of_no_use_is_bad_configuration() {
    let folder = folder();
    let data_dir = folder.path().join("data");
    let environment = [
        ("ORINOCO__TELEMETRY__OTLP_ENDPOINT".to_owned(), "https://localhost:4318".to_owned()),
        ("ORINOCO__TELEMETRY__OTLP_TLS_CA".to_owned(), folder.path().join("missing.pem").display().to_string()),
    ];
    for arguments in [["check"], ["serve"]] {
        let output = command(&environment, &data_dir, &arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{text}");
        assert!(text.contains("OTLP_TLS_CA") && text.contains("missing.pem"), "{text}");
    }
    assert!(!data_dir.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_collector_at_https_needs_the_systems_authorities() {
    let folder = folder();
    let none = folder.path().join("none").display().to_string();
    let check = |collector: &[(&str, &str)]| {
        let system = [("SSL_CERT_FILE", none.as_str()), ("SSL_CERT_DIR", none.as_str())];
        let environment = system.iter().chain(collector).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        command(&environment.collect::<Vec<_>>(), &folder.path().join("data"), &["check"]).status.code()
    };
    let endpoint = "ORINOCO__TELEMETRY__OTLP_ENDPOINT";
    assert_eq!(check(&[]), Some(0));
    assert_eq!(check(&[(endpoint, "http://localhost:4318")]), Some(0));
    assert_eq!(check(&[(endpoint, "https://localhost:4318")]), Some(64));
}
