//! For administrators: accounts, devices, connections, the actor tree, the audit log.

use std::collections::BTreeSet;

use http::StatusCode;
use orinoco_domain::{
    DeviceId,
    account::{Email, Role, UserId},
    audit::{AuditEntry, AuditEvent},
};
use orinoco_ports::DeviceCredential;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use warp::reply::Response;

use super::{
    OpenStream,
    accounts::{device, email, password, shown},
    json as answer, listed, no_content,
    request::Request,
    time,
};
use crate::{
    auth::{AccountChange, Password, call},
    control::{self, KillError},
    http::{
        body, openapi,
        problem::Problem,
        query::{device_segment, wrong},
    },
    ws::WsConnection,
};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct CreateBody {
    #[schemars(length(max = Email::LENGTH_MAX), regex(pattern = openapi::EMAIL))]
    email: String,
    #[schemars(length(min = Password::CHARACTERS_MIN, max = Password::CHARACTERS_MAX))]
    password: String,
    #[schemars(regex(pattern = openapi::DEVICE))]
    orin_id: Option<String>,
    /// Left out: USER.
    #[schemars(default, schema_with = "openapi::roles")]
    roles: Option<BTreeSet<Role>>,
}

/// What is left out stays; an `orinId` of null unbinds the device.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct ChangeBody {
    enabled: Option<bool>,
    #[schemars(default, schema_with = "openapi::roles_of_a_user")]
    roles: Option<BTreeSet<Role>>,
    /// Null unbinds the device.
    #[schemars(schema_with = "openapi::device_or_null")]
    #[serde(default, deserialize_with = "present")]
    orin_id: Option<Option<String>>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

pub(super) async fn users(request: &Request) -> Result<Response, Problem> {
    let (limit, query) = request.page()?;
    request.administrator().await?;
    let after = query.number("after", 0..=i64::MAX.unsigned_abs())?.map(|id| UserId(id.cast_signed()));
    let page = call(request.auth().accounts.list(after, limit)).await?;
    let users: Vec<Value> = page.accounts.iter().map(shown).collect();
    Ok(listed("users", users, page.next.map(|id| id.to_string())))
}

pub(super) async fn create_user(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    let administrator = request.administrator().await?;
    let body: CreateBody = request.json()?;
    let orin_id = body.orin_id.as_deref().map(device).transpose()?;
    let roles = body.roles.unwrap_or_else(|| BTreeSet::from([Role::User]));
    let auth = request.auth();
    let account = auth.create_account(email(&body.email)?, password(&body.password)?, orin_id, roles).await?;
    let detail = format!("by user {}", administrator.account.id);
    auth.audit().write(AuditEvent::UserCreated, Some(account.id), Some(request.caller.address), &detail).await;
    Ok(answer(StatusCode::CREATED, &shown(&account)))
}

pub(super) async fn user(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    request.administrator().await?;
    let account = call(request.auth().accounts.by_id(user_id(request)?)).await?;
    Ok(answer(StatusCode::OK, &shown(&account.ok_or_else(no_user)?)))
}

pub(super) async fn change_user(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    let administrator = request.administrator().await?;
    let id = user_id(request)?;
    let body: ChangeBody = request.json()?;
    let orin_id = body.orin_id.map(|orin_id| orin_id.as_deref().map(device).transpose()).transpose()?;
    if body.roles.as_ref().is_some_and(BTreeSet::is_empty) {
        return Err(body::wrong("roles", &"name one at least"));
    }
    let change = AccountChange { enabled: body.enabled, roles: body.roles, orin_id };
    let (actor, address) = (Some(administrator.account.id), Some(request.caller.address));
    Ok(answer(StatusCode::OK, &shown(&request.auth().change_account(id, change, actor, address).await?)))
}

pub(super) async fn devices(request: &Request) -> Result<Response, Problem> {
    let (limit, query) = request.page()?;
    request.administrator().await?;
    let after = query.device("after")?;
    let page = call(request.auth().accounts.device_credentials(after.as_ref(), limit)).await?;
    let devices: Vec<Value> = page.credentials.iter().map(shown_device).collect();
    Ok(listed("devices", devices, page.next.map(|device| device.as_str().to_owned())))
}

pub(super) async fn give_device_secret(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    let administrator = request.administrator().await?;
    let device = device_of(request)?;
    let (actor, address) = (Some(administrator.account.id), Some(request.caller.address));
    let secret = request.auth().give_device_secret(&device, actor, address).await?;
    Ok(answer(StatusCode::CREATED, &json!({ "orinId": device, "secret": secret })))
}

pub(super) async fn revoke_device_secret(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    let administrator = request.administrator().await?;
    let device = device_of(request)?;
    let (actor, address) = (Some(administrator.account.id), Some(request.caller.address));
    request.auth().revoke_device_secret(&device, actor, address).await?;
    Ok(no_content())
}

/// Sockets first, then streams, each in the order in which they came.
pub(super) async fn connections(request: &Request) -> Result<Response, Problem> {
    let (limit, query) = request.page()?;
    request.administrator().await?;
    let (of_streams, after) = cursor(query.text("after"))?;
    let sockets = if of_streams { Vec::new() } else { request.deps.connections.list(after, limit + 1) };
    let room = limit + 1 - sockets.len();
    let streams = request.deps.streams_open.list(if of_streams { after } else { 0 }, room);
    let ids = sockets.iter().map(|socket| format!("ws-{}", socket.session_id));
    let ids: Vec<String> = ids.chain(streams.iter().map(|stream| format!("sse-{}", stream.session_id))).collect();
    let mut shown: Vec<Value> = sockets.iter().map(shown_socket).chain(streams.iter().map(shown_stream)).collect();
    let next = (shown.len() > limit).then(|| ids[limit - 1].clone());
    shown.truncate(limit);
    Ok(listed("connections", shown, next))
}

fn cursor(after: Option<&str>) -> Result<(bool, u64), Problem> {
    let Some(after) = after else { return Ok((false, 0)) };
    let (kind, number) = after.split_once('-').unwrap_or_default();
    match (kind, number.parse()) {
        ("ws", Ok(number)) => Ok((false, number)),
        ("sse", Ok(number)) => Ok((true, number)),
        _ => Err(wrong("after", "is none; give the `next` of the page before")),
    }
}

/// The tree as `orinoco tree` has it.
pub(super) async fn actors(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    request.administrator().await?;
    let tree = request.deps.tree.tree().ok_or_else(starting)?;
    Ok(answer(StatusCode::OK, &json!({ "actors": tree.inspect(), "killAllowed": tree.chaos().allow_kill })))
}

/// Children of one pool, of which the tree shows the first ones only.
pub(super) async fn pool_children(request: &Request) -> Result<Response, Problem> {
    let (limit, query) = request.page_of(&["path"])?;
    request.administrator().await?;
    let tree = request.deps.tree.tree().ok_or_else(starting)?;
    let path = query.text("path").ok_or_else(|| wrong("path", "is missing; name a pool, as the tree does"))?;
    let children =
        tree.children(path, query.text("after"), limit).map_err(|_| wrong("path", "is no pool of the tree"))?;
    let next = (children.len() == limit).then(|| children.last().map(|child| child.key.clone())).flatten();
    Ok(listed("children", children, next))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct KillBody {
    path: String,
}

/// As `orinoco tree --kill`.
pub(super) async fn kill_actor(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    let administrator = request.administrator().await?;
    let body: KillBody = request.json()?;
    let tree = request.deps.tree.tree().ok_or_else(starting)?;
    control::kill(tree, &body.path).map_err(|error| match error {
        KillError::NotAllowed => Problem::new(StatusCode::FORBIDDEN, error.to_string()),
        KillError::NotThere(_) => Problem::not_found(error.to_string()),
    })?;
    let (actor, address) = (Some(administrator.account.id), Some(request.caller.address));
    let detail = format!("killed the actor {}", body.path);
    request.auth().audit().write(AuditEvent::AuthorizationAdmin, actor, address, &detail).await;
    Ok(no_content())
}

fn starting() -> Problem {
    Problem::unavailable("the tree is still starting; try again")
}

pub(super) async fn audit(request: &Request) -> Result<Response, Problem> {
    let (limit, query) = request.page()?;
    request.administrator().await?;
    let before = query.number("after", 0..=i64::MAX.unsigned_abs())?.map(u64::cast_signed);
    let page = call(request.auth().accounts.audit(before, limit)).await?;
    let entries: Vec<Value> = page.entries.iter().map(shown_entry).collect();
    Ok(listed("entries", entries, page.next.map(|id| id.to_string())))
}

fn user_id(request: &Request) -> Result<UserId, Problem> {
    request.id().parse().map(UserId).map_err(|_| no_user())
}

fn no_user() -> Problem {
    Problem::not_found("there is no such account")
}

fn device_of(request: &Request) -> Result<DeviceId, Problem> {
    device_segment(request.ids.first().map_or("", String::as_str))
}

fn shown_device(credential: &DeviceCredential) -> Value {
    json!({
        "orinId": credential.device,
        "revoked": credential.secret_hash.is_none(),
        "createdAt": time(credential.created_at_ms),
        "updatedAt": time(credential.updated_at_ms),
    })
}

fn shown_socket(socket: &WsConnection) -> Value {
    json!({
        "kind": "websocket",
        "sessionId": format!("ws-{}", socket.session_id),
        "clientId": socket.user_id.map(|id| id.to_string()),
        "clientIP": socket.client_ip,
        "connectedAt": time(socket.connected_at_ms),
    })
}

fn shown_stream(stream: &OpenStream) -> Value {
    json!({
        "kind": "sse",
        "sessionId": format!("sse-{}", stream.session_id),
        "clientId": stream.challenge.to_string(),
        "clientIP": stream.client_ip,
        "connectedAt": time(stream.connected_at_ms),
    })
}

fn shown_entry(line: &AuditEntry) -> Value {
    json!({
        "id": line.id.to_string(),
        "at": time(line.at_ms),
        "event": line.entry.event.as_str(),
        "userId": line.entry.user_id.map(|id| id.to_string()),
        "address": line.entry.address(),
        "detail": line.entry.detail(),
    })
}
