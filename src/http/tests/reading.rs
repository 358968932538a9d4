//! What is read: devices, coordinates, health.

use std::sync::atomic::Ordering;

use orinoco_ports::{Running, StoreError};
use serde_json::{Value, json};

use super::world::{OneAccount, PUBLIC, World, get, request};
use crate::http::{Access, HttpServer, PublicOnly};

const ROUTES: [&str; 6] = [
    "/api/v1/devices",
    "/api/v1/devices/d1/coordinates/latest",
    "/api/v1/devices/d1/coordinates",
    "/healthz",
    "/readyz",
    "/metrics",
];

async fn serve(world: &World, access: impl Access) -> Box<dyn Running> {
    HttpServer::new(world.http_deps(access)).start().await.unwrap()
}

/// Publishes, and waits until the hubs know the devices.
async fn publish(world: &World, port: &dyn Running, devices: &[&str]) {
    for device in devices {
        world.store.publish(device, 1.0);
    }
    loop {
        let list = get(port.place(), "/api/v1/devices?limit=1000").await.json();
        if list["devices"].as_array().unwrap().len() >= devices.len() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

fn names(list: &Value) -> Vec<&str> {
    list["devices"].as_array().unwrap().iter().map(|device| device["device"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn devices_of_all_partitions_are_listed_in_order_page_by_page() {
    let world = World::start().await;
    let port = serve(&world, PUBLIC).await;
    publish(&world, &*port, &["d4", "d1", "d5", "d3", "d2"]).await;

    let all = get(port.place(), "/api/v1/devices").await;
    assert_eq!(all.header("content-type"), Some("application/json"));
    assert_eq!(names(&all.json()), ["d1", "d2", "d3", "d4", "d5"]);
    assert!(all.json().get("next").is_none());

    let first = get(port.place(), "/api/v1/devices?limit=2").await.json();
    assert_eq!((names(&first), &first["next"]), (vec!["d1", "d2"], &json!("d2")));
    let second = get(port.place(), "/api/v1/devices?limit=2&after=d2").await.json();
    assert_eq!((names(&second), &second["next"]), (vec!["d3", "d4"], &json!("d4")));
    let third = get(port.place(), "/api/v1/devices?limit=2&after=d4").await.json();
    assert_eq!((names(&third), third.get("next")), (vec!["d5"], None));
}

#[tokio::test]
async fn the_latest_coordinates_go_out_as_they_are_stored() {
    let world = World::start().await;
    let port = serve(&world, PUBLIC).await;
    world.store.publish("d1", 1.0);
    let latest = world.store.publish("d1", 12.5);
    let answer = get(port.place(), "/api/v1/devices/d1/coordinates/latest").await;
    assert_eq!((answer.status, &answer.body), (200, &latest));
    let unknown = get(port.place(), "/api/v1/devices/d9/coordinates/latest").await;
    assert_eq!((unknown.status, unknown.detail().as_str()), (404, "device `d9` has no coordinates yet"));
}

#[tokio::test]
async fn history_begins_with_the_newest_and_goes_on_after_an_offset() {
    let world = World::start().await;
    let port = serve(&world, PUBLIC).await;
    for x in 1..=60 {
        world.store.publish("d1", f64::from(x));
    }
    let read = async |query: &str| {
        let page = get(port.place(), &format!("/api/v1/devices/d1/coordinates{query}")).await.json();
        let list = page["coordinates"].as_array().unwrap();
        let offsets: Vec<u64> = list.iter().map(|data| data["offset"].as_u64().unwrap()).collect();
        assert_eq!(page["epoch"], "e1");
        (offsets, page["next"].as_u64())
    };
    assert_eq!(read("?limit=3").await, (vec![58, 59, 60], None));
    assert_eq!(read("?limit=2&after=20").await, (vec![21, 22], Some(22)));
    assert_eq!(read("?limit=2&after=58").await, (vec![59, 60], None));
    assert_eq!(read("?after=60").await, (vec![], None));
    assert_eq!(read("?after=99").await, (vec![], None));
    // Fifty are kept.
    assert_eq!(read("").await.0, (11..=60).collect::<Vec<_>>());
    assert_eq!(read("?limit=2&after=0").await, (vec![11, 12], Some(12)));
    assert_eq!(get(port.place(), "/api/v1/devices/d9/coordinates").await.status, 404);
    assert_eq!(get(port.place(), "/api/v1/devices/d9/coordinates?after=3").await.status, 404);
}

#[tokio::test]
async fn an_unknown_path_is_404_and_another_method_405_with_allow() {
    let world = World::start().await;
    let port = serve(&world, PUBLIC).await;
    for path in ["/api/v1", "/api/v1/device", "/api/v1/devices/d1", "/healthz/x", "/api/v1/devices/a/b/c", "//"] {
        let answer = get(port.place(), path).await;
        assert_eq!(answer.status, 404, "{path}");
        answer.detail();
    }
    for path in ROUTES {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
            let answer = request(port.place(), method, path, "").await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
            answer.detail();
        }
    }
}

#[tokio::test]
async fn head_answers_as_get_without_a_body() {
    let world = World::start().await;
    let port = serve(&world, PUBLIC).await;
    publish(&world, &*port, &["d1"]).await;
    for path in ROUTES {
        let (head, get) = (request(port.place(), "HEAD", path, "").await, get(port.place(), path).await);
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        assert_eq!(head.header("content-length"), Some(get.body.len().to_string().as_str()), "{path}");
        assert_eq!(head.body, "", "{path}");
    }
}

#[tokio::test]
async fn a_wrong_parameter_is_named_with_its_remedy() {
    let world = World::start().await;
    let port = serve(&world, PUBLIC).await;
    let cases = [
        ("/api/v1/devices?limit=0", "parameter `limit` is \"0\"; use a whole number, 1 or more"),
        ("/api/v1/devices?limit=18446744073709551616", "use a whole number, 1 or more"),
        ("/api/v1/devices?after=a%20b", "parameter `after` is no device"),
        ("/api/v1/devices?page=2", "parameter `page` is not known here; there is `limit`, `after`"),
        ("/api/v1/devices/d1/coordinates?after=x", "parameter `after` is \"x\""),
        ("/api/v1/devices/d1/coordinates?limit=1&limit=2", "parameter `limit` is given twice"),
        ("/api/v1/devices/d1/coordinates/latest?x", "parameter `x` is not known here; there is none"),
        ("/api/v1/devices/a%20b/coordinates", "1 to 64 characters of [A-Za-z0-9._-]"),
    ];
    for (path, detail) in cases {
        let answer = get(port.place(), path).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.detail().contains(detail), "{path}: {}", answer.detail());
    }
}

#[tokio::test]
async fn an_outage_is_503_with_retry_after() {
    let world = World::start().await;
    let port = serve(&world, PUBLIC).await;
    world.store.publish("d1", 1.0);
    world.store.set_down(true);
    for path in ["/api/v1/devices/d1/coordinates/latest", "/api/v1/devices/d1/coordinates"] {
        let answer = get(port.place(), path).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")), "{path}");
        answer.detail();
    }
    world.tree.shutdown().await;
    let devices = get(port.place(), "/api/v1/devices").await;
    assert_eq!((devices.status, devices.header("retry-after")), (503, Some("2")));
}

#[tokio::test]
async fn a_closed_stream_asks_for_a_token() {
    let world = World::start().await;
    let port = serve(&world, PublicOnly { public: false }).await;
    for path in &ROUTES[..3] {
        let answer = get(port.place(), path).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer realm=\"orinoco\"")));
        answer.detail();
        let refused = request(port.place(), "GET", path, "Authorization: Bearer x\r\n").await;
        assert_eq!(refused.status, 401);
        assert!(refused.header("www-authenticate").unwrap().contains("invalid_token"));
    }
    for path in &ROUTES[3..] {
        assert_eq!(get(port.place(), path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn an_account_sees_its_own_device_only() {
    let world = World::start().await;
    let port = serve(&world, OneAccount { token: "t", device: "d1" }).await;
    world.store.publish("d1", 1.0);
    world.store.publish("d2", 1.0);
    let read = async |path: &str| request(port.place(), "GET", path, "Authorization: Bearer t\r\n").await;
    assert_eq!(names(&read("/api/v1/devices").await.json()), ["d1"]);
    assert!(names(&read("/api/v1/devices?after=d1").await.json()).is_empty());
    assert_eq!(read("/api/v1/devices/d1/coordinates/latest").await.status, 200);
    assert_eq!(read("/api/v1/devices/d2/coordinates/latest").await.status, 403);
    assert_eq!(read("/api/v1/devices/d2/coordinates").await.status, 403);
}

#[tokio::test]
async fn ready_is_said_with_all_components_and_alarms() {
    let world = World::start().await;
    let port = serve(&world, PUBLIC).await;
    world.health.alarm("truncated", "coordX-0 begins at 7");
    let ready = get(port.place(), "/readyz").await;
    assert_eq!(ready.status, 200);
    let stream = |partition: u32| json!({ "name": format!("stream/{partition}"), "state": "up" });
    let alarms = json!({ "truncated": "coordX-0 begins at 7" });
    let logins = json!({ "name": "logins", "state": "up" });
    assert_eq!(ready.json(), json!({ "ready": true, "components": [logins, stream(0), stream(1)], "alarms": alarms }));

    world.health.down("kafka", "connection refused");
    let unready = get(port.place(), "/readyz").await;
    assert_eq!((unready.status, unready.detail().as_str()), (503, "not ready: kafka"));
    assert_eq!(unready.json()["ready"], false);
    let kafka = json!({ "name": "kafka", "state": "down", "reason": "connection refused" });
    assert_eq!(unready.json()["components"][0], kafka);
    assert_eq!(unready.json()["alarms"], alarms);
    assert_eq!(get(port.place(), "/healthz").await.status, 200);
}

#[tokio::test]
async fn metrics_are_prometheus_text_with_gauges_set_before() {
    let world = World::start().await;
    let port = serve(&world, PUBLIC).await;
    let metrics = get(port.place(), "/metrics").await;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(metrics.body.lines().any(|line| line == "orinoco_test_total 3"), "{}", metrics.body);
    assert_eq!(world.metrics_asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let world = World::start().await;
    let port = serve(&world, PUBLIC).await;
    for path in ROUTES.iter().chain(&["/unknown"]) {
        let answer = get(port.place(), path).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert!(answer.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"), "{path}");
    }
}

#[test]
fn what_a_store_holds_and_nobody_understands_is_500_without_its_reason() {
    let corrupt = StoreError::Corrupt { place: "file /secret".to_owned(), reason: "checksum".to_owned() };
    let answer = crate::http::problem::Problem::from(corrupt).into_response();
    assert_eq!(answer.status(), 500);
}
