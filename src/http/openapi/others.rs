//! The paths that warp's filters take: coordinates, OAuth, operations, the console, and this description itself.

use http::Method;
use serde_json::{Value, json};

use super::{
    answers::header,
    operation::{Access, Operation},
    schemas::{device, object, reference, text},
};
use crate::http::{console, oauth};

/// A path, its methods and what they are.
pub(super) type Described = (String, Method, Operation);

const CONSOLE: &str = "Web console";

pub(super) fn all() -> Vec<Described> {
    [reading(), authorization(), operations(), pages()].into_iter().flatten().collect()
}

fn get(path: &str, operation: Operation) -> Described {
    (path.to_owned(), Method::GET, operation)
}

fn post(path: &str, operation: Operation) -> Described {
    (path.to_owned(), Method::POST, operation)
}

fn reading() -> Vec<Described> {
    let of = |id, summary| Operation::api(id, "Coordinates", summary, Access::Viewer);
    let offset = json!({ "type": "integer", "format": "uint64", "minimum": 0, "maximum": u64::MAX });
    let history = of("history", "A device's coordinates, newest last")
        .describe("Without `after` the newest `limit` of them, with it those after that offset, oldest first.")
        .path("orinId", device())
        .page(offset)
        .answer(200, "A page of them", reference("History"))
        .errors(&[404]);
    let latest = of("latest", "A device's latest coordinates")
        .path("orinId", device())
        .answer(200, "The latest", reference("CoordinateData"))
        .errors(&[404]);
    let devices = of("devices", "The devices with coordinates, in order of name").page(device()).answer(
        200,
        "A page of them",
        reference("Devices"),
    );
    let devices = devices.link(200, "history", of_first("history")).link(200, "latest", of_first("latest"));
    vec![
        get("/api/v1/devices", devices),
        get("/api/v1/devices/{orinId}/coordinates", history),
        get("/api/v1/devices/{orinId}/coordinates/latest", latest),
    ]
}

/// Of the first device of a list.
fn of_first(target: &str) -> Value {
    json!({ "operationId": target, "parameters": { "orinId": "$response.body#/devices/0/device" } })
}

fn authorization() -> Vec<Described> {
    let metadata = Operation::new("serverMetadata", "OAuth", "What this authorization server can do (RFC 8414)")
        .answer(200, "Its metadata", reference("ServerMetadata"));
    let ask = Operation::oauth("authorizeDevice", "A device asks for a login (RFC 8628)")
        .form(object(&[("client_id", client()), ("scope?", text())]))
        .answer(200, "What to show", reference("DeviceAuthorization"))
        .link(200, "token", token_link("$response.body#/device_code"))
        .link(
            200,
            "enterUserCode",
            json!({ "operationId": "enterUserCode", "requestBody": { "userCode": "$response.body#/user_code" } }),
        )
        .errors(&[401]);
    let token = Operation::oauth("token", "Tokens, by a device code or a refresh token (RFC 8628, RFC 6749)")
        .form(json!({ "oneOf": [
            object(&[("grant_type", json!({ "const": oauth::token::DEVICE_GRANT })), ("client_id", client()), ("device_code", value())]),
            object(&[("grant_type", json!({ "const": oauth::token::REFRESH_GRANT })), ("client_id", client()), ("refresh_token", value())]),
        ] }))
        .answer(200, "Tokens", reference("OAuthTokens"))
        .errors(&[401]);
    let revoke = Operation::oauth("revoke", "Ends the login of a token (RFC 7009)")
        .form(object(&[("client_id", client()), ("token", value()), ("token_type_hint?", text())]))
        .answer(200, "It has ended, or never was", reference("Revoked"))
        .errors(&[401]);
    let introspect = Operation::oauth("introspect", "What a token is worth (RFC 7662)")
        .security(json!([{ "bearer": [] }]))
        .form(object(&[("token", value()), ("token_type_hint?", text())]))
        .answer(200, "What holds now", reference("Introspection"))
        .errors(&[401]);
    vec![
        get("/.well-known/oauth-authorization-server", metadata),
        post(oauth::DEVICE_AUTHORIZATION, ask),
        post(oauth::TOKEN, token),
        post(oauth::REVOKE, revoke),
        post(oauth::INTROSPECT, introspect),
    ]
}

/// One that is empty counts as left out.
fn value() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

fn client() -> Value {
    json!({ "type": "string", "minLength": 1, "description": "One of `auth.oauth_clients`.", "examples": ["orinoco-cli"] })
}

fn token_link(code: &str) -> Value {
    let body = json!({ "grant_type": oauth::token::DEVICE_GRANT, "client_id": "orinoco-cli", "device_code": code });
    json!({ "operationId": "token", "requestBody": body })
}

fn operations() -> Vec<Described> {
    let of = |id, summary| Operation::new(id, "Operations", summary);
    let unready = json!({ "$ref": "#/components/headers/RetryAfter" });
    let ready = of("ready", "Whether every needed backend is reachable and caught up")
        .answer(200, "Ready", reference("Ready"))
        .typed(503, "Not ready", "application/problem+json", reference("Unready"))
        .header(503, "Retry-After", unready);
    let document = of("openapi", "This description").answer(200, "OpenAPI 3.1", json!({ "type": "object" }));
    let streams =
        of("asyncapi", "MQTT, Kafka and WebSocket, described").answer(200, "AsyncAPI 3", json!({ "type": "object" }));
    vec![
        get("/healthz", of("alive", "The process answers").answer(200, "It does", reference("Alive"))),
        get("/readyz", ready),
        get("/metrics", of("metrics", "Metrics for Prometheus").typed(200, "Metrics", "text/plain", text())),
        get("/openapi.json", document),
        get("/asyncapi.json", streams),
        get("/docs", of("docs", "This description, for people").typed(200, "A page", "text/html", text())),
    ]
}

fn pages() -> Vec<Described> {
    let about = Operation::new("console", CONSOLE, "What the web console must know").answer(
        200,
        "About this daemon",
        reference("Console"),
    );
    let asset = Operation::new("asset", CONSOLE, "A file of the web console, to be kept for ever")
        .path("file", text())
        .contents(200, "The file", &["text/javascript", "text/css", "image/svg+xml"], &json!({}))
        .errors(&[404]);
    let mut described = vec![get("/api/v1/console", about), get("/assets/{file}", asset)];
    described.extend(console::PATHS.iter().map(|path| get(path, page(path))));
    described
}

/// One document for all paths: its script shows what the path says.
fn page(path: &str) -> Operation {
    let known = json!({ "name": "If-None-Match", "in": "header", "schema": text() });
    let id = format!("page{}", path.trim_end_matches('/').replace('/', "_"));
    let mut operation = Operation::new(id, CONSOLE, "A page")
        .parameter(known)
        .typed(200, "The page", "text/html", text())
        .empty(304, "It is the one that the client has")
        .typed(503, "This build is without the web console", "application/problem+json", reference("Problem"));
    for name in ["ETag", "Permissions-Policy", "Cross-Origin-Opener-Policy"] {
        let described = || header("Of the page.", true);
        operation = operation.header(200, name, described()).header(304, name, described());
    }
    operation
}
