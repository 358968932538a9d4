//! The description of the port, held against the port.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{login::Api, world::get};

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

/// What no route takes is told this.
fn is_nowhere(body: &str) -> bool {
    body.contains("nothing is here")
}

async fn document(api: &Api) -> Value {
    let answer = get(&api.place, "/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    answer.json()
}

/// A path that is asked for: those of the console's files are known only where they exist.
fn filled(path: &str) -> Option<String> {
    if path != "/assets/{file}" {
        return Some(
            path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/"),
        );
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/web/dist/assets");
    let name = std::fs::read_dir(folder).ok()?.next()?.ok()?.file_name();
    Some(format!("/assets/{}", name.to_str()?))
}

#[tokio::test]
async fn each_path_takes_the_methods_that_are_described_and_no_others() {
    let api = Api::open().await;
    for (path, item) in document(&api).await["paths"].as_object().unwrap() {
        let Some(filled) = filled(path) else { continue };
        let described: BTreeSet<String> = item.as_object().unwrap().keys().map(|key| key.to_uppercase()).collect();
        for method in METHODS {
            let answer = api.send(method, &filled, "", None).await;
            assert!(!is_nowhere(&answer.body), "{method} {path}: {answer:?}");
            assert_eq!(answer.status != 405, described.contains(method), "{method} {path}: {answer:?}");
            if let Some(allow) = answer.header("allow") {
                let allowed: BTreeSet<String> = allow.split(", ").map(str::to_owned).collect();
                assert_eq!(allowed, described, "{path}");
            }
            if method != "HEAD" && described.contains(method) {
                let described = &item[method.to_lowercase()]["responses"];
                assert!(described.get(answer.status.to_string()).is_some(), "{method} {path}: {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn each_path_that_another_page_names_is_described() {
    let api = Api::open().await;
    let document = document(&api).await;
    let described: BTreeSet<String> =
        document["paths"].as_object().unwrap().keys().filter_map(|path| filled(path)).collect();
    let pages = [
        include_str!("../../../docs/rest.md"),
        include_str!("../../../docs/oauth.md"),
        include_str!("../../../web/pages.json"),
    ];
    let words = pages.iter().flat_map(|page| page.split(['`', '"', ' ', '?', '\n', '|', '\'']));
    let starts = [
        "/api/",
        "/oauth/",
        "/.well-known/",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi",
        "/docs",
        "/admin",
        "/login",
    ];
    let paths = words.filter(|word| starts.iter().any(|start| word.starts_with(start)));
    for path in paths.filter(|path| !path.ends_with(".md") && !path.contains("samu31")) {
        assert!(described.contains(&filled(path).unwrap()), "{path} is not described");
    }
}

#[tokio::test]
async fn every_reference_and_link_of_the_description_leads_somewhere_and_ids_are_unique() {
    let api = Api::open().await;
    let document = document(&api).await;
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    let ids: Vec<&str> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    visit(&document, &mut |object| {
        if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
        for link in object.get("links").and_then(Value::as_object).into_iter().flat_map(|links| links.values()) {
            assert!(ids.contains(&link["operationId"].as_str().unwrap()), "{link}");
        }
    });
}

fn visit(value: &Value, with: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            with(object);
            object.values().for_each(|value| visit(value, with));
        }
        Value::Array(values) => values.iter().for_each(|value| visit(value, with)),
        _ => {}
    }
}

#[tokio::test]
async fn the_page_runs_nothing_and_loads_nothing() {
    let api = Api::open().await;
    let page = get(&api.place, "/docs").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'; style-src 'sha256-"));
    for path in ["/docs", "/openapi.json"] {
        let head = api.send("HEAD", path, "", None).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        let refused = api.send("POST", path, "", None).await;
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{path}");
    }
}
