//! REST on the HTTP port, health and metrics.

use std::{collections::BTreeSet, process::Stdio};

use orinoco_testkit::unique_name;
use serde_json::json;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::support::{Frame, Mode, Said, Setup, Socket, World, request, until, within};

for_both_modes! {
    the_latest_value_is_the_one_that_was_streamed
    history_is_paged_newest_last
    devices_are_listed_and_paged
    health_readiness_and_metrics_answer
}

async fn the_latest_value_is_the_one_that_was_streamed(mode: Mode) {
    let world = World::shared(mode).await;
    let name = unique_name("d");
    let mut socket = world.watch(&format!("?device={name}")).await;
    world.device().await.move_to(&name, 12.5, 3.25).await;
    let streamed = socket.text().await;
    let answer = world.get(&format!("/api/v1/devices/{name}/coordinates/latest")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(Frame::parse(&answer.body), Frame::parse(&streamed));
}

async fn history_is_paged_newest_last(mode: Mode) {
    let world = World::shared(mode).await;
    let name = unique_name("d");
    let device = world.device().await;
    device.move_to(&name, 0.0, 0.0).await;
    // From here on each message yields a frame, however the axes are fetched.
    until("a value", async || crate::support::latest(world, &name).await).await;
    for value in 1..5 {
        device.move_to(&name, f64::from(value), f64::from(value)).await;
    }
    let path = format!("/api/v1/devices/{name}/coordinates");
    let head = until("the last value", async || {
        crate::support::latest(world, &name).await.filter(|latest| (latest.x, latest.y) == (4.0, 4.0))
    })
    .await
    .offset;
    let offsets = async |query: &str| {
        let page = world.get(&format!("{path}{query}")).await.json();
        let frames: Vec<Frame> = serde_json::from_value(page["coordinates"].clone()).unwrap();
        (frames.into_iter().map(|frame| frame.offset).collect::<Vec<_>>(), page["next"].clone())
    };
    assert_eq!(offsets("").await, ((1..=head).collect(), json!(null)));
    assert_eq!(offsets("?limit=3&after=0").await, (vec![1, 2, 3], json!(3)));
    assert_eq!(offsets("?limit=3&after=3").await, (vec![4, 5, 6], json!(6)));
    assert_eq!(offsets(&format!("?after={}", head - 1)).await, (vec![head], json!(null)));
    assert_eq!(offsets(&format!("?after={head}")).await, (vec![], json!(null)));
}

async fn devices_are_listed_and_paged(mode: Mode) {
    let world = World::shared(mode).await;
    let prefix = unique_name("list");
    let names: Vec<String> = (0..5).map(|number| format!("{prefix}-{number}")).collect();
    let device = world.device().await;
    for name in &names {
        device.move_to(name, 1.0, 1.0).await;
    }
    for name in &names {
        until("a value", async || crate::support::latest(world, name).await).await;
    }
    // A listing may be a moment behind the values.
    until("all devices in pages of two", async || {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let page = world.get(&format!("/api/v1/devices?limit=2{after}")).await.json();
            let devices = page["devices"].as_array().unwrap();
            assert!(devices.len() <= 2, "{page}");
            found.extend(devices.iter().map(|device| device["device"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert!(found.is_sorted_by(|one, other| one < other), "a page repeats or goes back");
        names.iter().all(|name| found.contains(name)).then_some(())
    })
    .await;
}

async fn health_readiness_and_metrics_answer(mode: Mode) {
    let world = World::shared(mode).await;
    let name = unique_name("d");
    world.device().await.move_to(&name, 1.0, 1.0).await;
    until("a value", async || crate::support::latest(world, &name).await).await;
    assert_eq!(world.get("/healthz").await.status, 200);
    let ready = world.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.json().is_object());
    let metrics = world.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain"));
    assert_metrics(&metrics.body).await;
}

/// Prometheus' own tool finds nothing to complain of, and each metric is one that docs/metrics.md explains.
async fn assert_metrics(text: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.kill_on_drop(true).spawn().expect("promtool (scripts/install test)");
    child.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
    let output = within("promtool", child.wait_with_output()).await.unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && complaints.is_empty(), "{complaints}\n{text}");

    let names = |what: &str| -> BTreeSet<&str> {
        text.lines().filter_map(|line| line.strip_prefix(what)?.split(' ').next()).collect()
    };
    let families = names("# TYPE ");
    assert_eq!(families, names("# HELP "), "src/meters.rs explains all");
    let stages =
        ["messages_accepted_total", "record_age_seconds", "apply_duration_seconds", "actor_up", "journal_bytes"];
    for name in stages.map(|name| format!("orinoco_{name}")) {
        assert!(families.contains(name.as_str()), "{name}: {families:?}");
    }
    assert!(text.contains("orinoco_actor_up{actor=\"root/stream/writer.0\"} 1"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_error_is_a_problem() {
    let world = World::shared(Mode::Embedded).await;
    let unknown = unique_name("never");
    for path in ["/no/such/path", "/api/v1", "/api/v2/devices", "//", "/%2e%2e/etc/passwd"] {
        world.get(path).await.assert_problem(404);
    }
    for path in ["coordinates/latest", "coordinates", "coordinates?after=0"] {
        world.get(&format!("/api/v1/devices/{unknown}/{path}")).await.assert_problem(404);
    }
    let queries = ["limit=0", "limit=-1", "limit=x", "after=x", "after=-1", "limit=1&limit=2", "x=1"];
    for query in queries {
        world.get(&format!("/api/v1/devices/{unknown}/coordinates?{query}")).await.assert_problem(400);
    }
    for name in ["a%20b", "%00", "%C3%A9", "a%2Fb", &"x".repeat(65)] {
        world.get(&format!("/api/v1/devices/{name}/coordinates/latest")).await.assert_problem(400);
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        for path in ["/api/v1/devices", "/healthz", "/metrics"] {
            let answer = request(world.daemon.http_address(), method, path, &[("content-length", "0")]).await;
            answer.assert_problem(405);
            assert!(answer.header("allow").unwrap().contains("GET"), "RFC 9110, section 15.5.6: {answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_public_needs_a_token() {
    let world = World::start(Mode::Embedded, Setup::default().set("stream.public", "false")).await;
    for path in ["/api/v1/devices", "/api/v1/devices/a/coordinates/latest", "/api/v1/devices/a/coordinates"] {
        world.get(path).await.assert_problem(401);
        let headers = [("authorization", "Bearer nonsense")];
        request(world.daemon.http_address(), "GET", path, &headers).await.assert_problem(401);
    }
    assert_eq!(world.get("/healthz").await.status, 200);
    assert_eq!(world.get("/readyz").await.status, 200);
    let mut socket = world.watch("").await;
    socket.send(r#"{"accessToken":"nonsense"}"#).await;
    assert!(matches!(socket.next().await, Said::Closed(Some(3000..5000))), "an application's close code");
    let mut silent = world.watch("").await;
    assert!(matches!(silent.next().await, Said::Closed(Some(3000..5000))), "no token in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_anyone_may_watch_a_token_that_is_none_is_still_refused() {
    let world = World::start(Mode::Embedded, Setup::default()).await;
    assert_eq!(world.get("/api/v1/devices").await.status, 200);
    let nonsense = [("authorization", "Bearer nonsense")];
    request(world.daemon.http_address(), "GET", "/api/v1/devices", &nonsense).await.assert_problem(401);
    assert!(Socket::open_as(world.daemon.ws_address(), "", "nonsense").await.is_err(), "401 in place of the upgrade");
}
