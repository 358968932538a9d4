//! This interface, described by itself: `GET /openapi.json` (OpenAPI 3.1) for programs, `GET /docs` for people.
//!
//! | file | holds |
//! |---|---|
//! | `endpoints` | what each endpoint of `api` is; paths and methods come from the table that requests are dispatched by |
//! | `others` | the paths that warp's filters take |
//! | `operation` | one operation, step by step |
//! | `answers` | what answers have alike: headers, errors |
//! | `schemas` | what answers hold; bodies of requests come from the types that serde reads |
//! | `asyncapi` | MQTT, Kafka and WebSocket: `GET /asyncapi.json` (AsyncAPI 3) |
//! | `page` | the document as a page without scripts |
//!
//! Invariants: the document is made once, at the start; no file of it is written by hand. A test compares it with the router, another has a
//! tester of OpenAPI (schemathesis) try all of it.

mod answers;
mod asyncapi;
mod endpoints;
mod operation;
mod others;
mod page;
mod schemas;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderValue, Method,
    header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE},
};
use serde_json::{Map, Value, json};
use warp::{Filter, filters::BoxedFilter, reply::Response};

use super::{
    HttpDeps, api,
    api::creator,
    routes::{GET, methods},
};
use operation::{Operation, head_of, key};
pub(in crate::http) use schemas::{DEVICE, EMAIL, SECRET, USER_CODE, device_or_null, roles, roles_of_a_user};

const ABOUT: &str = "Everything on the HTTP port of orinoco: coordinates, accounts, logins by QR code, OAuth 2.0, administration, operations. \
    HEAD is answered as GET is, without a body; what is not listed for a path gets 405 with `Allow`, an unknown path 404. Errors are problems \
    (RFC 9457), below `/oauth` those of RFC 6749. Origins that `http.allowed_origins` lists get preflights answered (204).";

pub(super) fn routes(deps: &Arc<HttpDeps>) -> BoxedFilter<(Response,)> {
    let document = document(creator::name(&deps.auth.options.public_url));
    let page = page::render(&document);
    let (text, html) = (Bytes::from(document.to_string()), Bytes::from(page.html));
    // Base64 and ASCII.
    let policy = HeaderValue::from_str(&page.policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    let streams = Bytes::from(asyncapi::document().to_string());
    let json = warp::path!("openapi.json").and(methods(GET)).map(move || json_of(&text));
    let streams = warp::path!("asyncapi.json").and(methods(GET)).map(move || json_of(&streams));
    let docs = warp::path!("docs").and(methods(GET)).map(move || {
        let mut response = Response::new(html.clone().into());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
        response
    });
    json.or(streams).unify().or(docs).unify().boxed()
}

fn json_of(text: &Bytes) -> Response {
    let mut response = Response::new(text.clone().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The whole description; `cookie` is the name of the creators' cookie.
pub(super) fn document(cookie: &str) -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "orinoco",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths(),
        "components": {
            "schemas": schemas::all(),
            "responses": answers::responses(),
            "headers": answers::headers(),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token." },
                "verifier": { "type": "apiKey", "in": "header", "name": "Orinoco-Verifier", "description": "What `codeChallenge` was made of." },
                "cookie": { "type": "apiKey", "in": "cookie", "name": cookie, "description": "Given to who made a challenge without `codeChallenge`." },
            },
        },
    })
}

fn paths() -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut add = |path: String, method: &Method, operation: Operation, has_head: bool| {
        let written = operation.write();
        let item = paths.entry(path).or_default();
        if has_head {
            item.insert("head".to_owned(), head_of(&written));
        }
        item.insert(key(method), written);
    };
    for (path, method, operation) in others::all() {
        let has_head = method == Method::GET;
        add(path, &method, operation, has_head);
    }
    for (path, allow, methods) in api::all() {
        for (method, endpoint) in methods {
            let operation = endpoints::describe(*endpoint);
            let has_head = *method == Method::GET && allow.contains("HEAD");
            add(path.replace('*', &operation.path_parameter()), method, operation, has_head);
        }
    }
    json!(paths)
}
