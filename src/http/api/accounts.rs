//! Signup, login, refresh, logout; the own account and its logins.

use http::StatusCode;
use orinoco_domain::{
    DeviceId,
    account::{Account, Email, UserId},
    refresh::{Family, FamilyId},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use warp::reply::Response;

use super::{json as answer, no_content, request::Request, time};
use crate::{
    auth::{Password, ReuseNotice, Signup, TokenPair},
    http::{body::wrong, openapi, problem::Problem},
};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct SignupBody {
    #[schemars(length(max = Email::LENGTH_MAX), regex(pattern = openapi::EMAIL))]
    email: String,
    #[schemars(length(min = Password::CHARACTERS_MIN, max = Password::CHARACTERS_MAX))]
    password: String,
    #[schemars(regex(pattern = openapi::DEVICE))]
    orin_id: Option<String>,
    /// Of a device that has credentials.
    device_secret: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct LoginBody {
    email: String,
    password: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct RefreshBody {
    refresh_token: String,
}

pub(super) async fn sign_up(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    let body: SignupBody = request.json()?;
    let signup = Signup {
        email: email(&body.email)?,
        password: password(&body.password)?,
        orin_id: body.orin_id.as_deref().map(device).transpose()?,
        device_secret: body.device_secret,
    };
    let account = request.auth().sign_up(signup, request.caller.address).await?;
    Ok(answer(StatusCode::CREATED, &shown(&account)))
}

pub(super) async fn log_in(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    let body: LoginBody = request.json()?;
    let password = Password::presented(&body.password);
    let pair = request.auth().log_in(&body.email, password, &request.caller).await?;
    Ok(tokens(&pair))
}

pub(super) async fn refresh(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    let body: RefreshBody = request.json()?;
    let pair = request.auth().refresh(&body.refresh_token, None, &request.caller).await?;
    Ok(tokens(&pair))
}

pub(super) async fn log_out(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    let claims = request.auth().claims(request.token())?;
    request.auth().log_out(&claims, request.caller.address).await?;
    Ok(no_content())
}

pub(super) async fn log_out_all(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    let signed_in = request.signed_in().await?;
    request.auth().log_out_all(signed_in.account.id, request.caller.address).await?;
    Ok(no_content())
}

pub(super) async fn me(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    let account = request.signed_in().await?.account;
    let mut body = shown(&account);
    body["notices"] = shown_notices(request, account.id);
    Ok(answer(StatusCode::OK, &body))
}

pub(super) async fn sessions(request: &Request) -> Result<Response, Problem> {
    let (limit, query) = request.page()?;
    let signed_in = request.signed_in().await?;
    let page = request.auth().sessions(&signed_in.account, query.text("after"), limit).await?;
    let sessions: Vec<Value> =
        page.families.iter().map(|family| shown_session(family, signed_in.claims.session)).collect();
    let mut body = json!({ "sessions": sessions, "notices": shown_notices(request, signed_in.account.id) });
    if let Some(next) = page.next {
        body["next"] = next.into();
    }
    Ok(answer(StatusCode::OK, &body))
}

pub(super) async fn end_session(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    let signed_in = request.signed_in().await?;
    let id = FamilyId::parse(&request.id()).map_err(|_| Problem::not_found("there is no such login"))?;
    request.auth().end_session(signed_in.account.id, &id, request.caller.address).await?;
    Ok(no_content())
}

/// RFC 6749, section 5.1, in camelCase.
pub(super) fn tokens(pair: &TokenPair) -> Response {
    let body = json!({
        "accessToken": pair.access_token,
        "refreshToken": pair.refresh_token.expose(),
        "tokenType": "Bearer",
        "expiresIn": pair.expires_in_s,
    });
    answer(StatusCode::OK, &body)
}

/// What is shown of an account. Its id is text, as `sub` of its tokens is: a number of 64 bits is not safe in JavaScript.
pub(super) fn shown(account: &Account) -> Value {
    json!({
        "id": account.id.to_string(),
        "email": account.email,
        "orinId": account.orin_id,
        "roles": account.roles,
        "enabled": account.enabled,
        "createdAt": time(account.created_at_ms),
        "updatedAt": time(account.updated_at_ms),
    })
}

fn shown_session(family: &Family, own: FamilyId) -> Value {
    json!({
        "id": family.id,
        "device": family.client.user_agent(),
        "address": family.client.address(),
        "clientId": family.client_id,
        "createdAt": time(family.created_at_ms),
        "lastUsedAt": time(family.last_used_at_ms),
        "expiresAt": time(family.expires_at_ms),
        "current": family.id == own,
    })
}

fn shown_notices(request: &Request, user_id: UserId) -> Value {
    let notices = request.auth().notices(user_id);
    let shown = |notice: &ReuseNotice| json!({ "type": "refreshTokenReuse", "session": notice.session, "at": time(notice.at_ms) });
    notices.iter().map(shown).collect()
}

pub(super) fn email(text: &str) -> Result<Email, Problem> {
    Email::parse(text).map_err(|error| wrong("email", &error))
}

pub(super) fn password(text: &str) -> Result<Password, Problem> {
    Password::new(text).map_err(|error| wrong("password", &error))
}

pub(super) fn device(text: &str) -> Result<DeviceId, Problem> {
    DeviceId::parse(text).map_err(|error| wrong("orinId", &error))
}
