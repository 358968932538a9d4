//! QR challenges: by their creator (create, poll, cancel, exchange), and by a logged-in phone (scan, approve, deny).

use http::{HeaderValue, StatusCode, header::LOCATION};
use orinoco_actors::{Action, ChallengeError, ChallengeView};
use orinoco_domain::{
    challenge::{ChallengeKey, Phone},
    secret::{Binding, ChallengeId, CodeChallenge, DerivationKeys, Nonce, Otc, Proof},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use warp::reply::Response;

use super::{
    accounts::tokens,
    creator::{cookie_to_bind, proof, proof_to_act, set_cookie},
    json as answer, no_content,
    request::Request,
    time,
};
use crate::{
    auth::{AuthError, Limited, random},
    http::{
        body::wrong,
        challenges::{self, qr_payload},
        openapi,
        problem::Problem,
    },
};

#[derive(Deserialize, Default, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct CreateBody {
    /// BASE64URL(SHA-256(verifier)) without padding. Without it, a cookie binds the challenge to the browser.
    #[schemars(regex(pattern = openapi::SECRET))]
    code_challenge: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ScanBody {
    nonce: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ExchangeBody {
    otc: String,
}

pub(super) async fn create(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    let body: CreateBody = request.json_or_default()?;
    let (binding, cookie) = match &body.code_challenge {
        Some(text) => {
            let what = "BASE64URL(SHA-256(verifier)) without padding: 43 characters";
            (Binding::Verifier(CodeChallenge::parse(text).map_err(|_| wrong("codeChallenge", &what))?), None)
        }
        None => {
            let cookie = cookie_to_bind(request)?;
            (Binding::to_cookie(&cookie), Some(cookie))
        }
    };
    request.auth().limits.check(Limited::Challenge, request.caller.address).map_err(AuthError::from)?;
    let draw = || Ok((ChallengeId::from_bytes(random()?), ()));
    let (id, (), view) = challenges::create(&request.deps, &request.caller, binding, None, draw).await?;
    let keys = request.auth().derivation();
    let nonce = view.record.nonce(keys).ok_or(ChallengeError::NotFound)?;
    let mut shown = shown(&view, &id.expose(), keys);
    shown["nonce"] = nonce.expose().into();
    shown["qrPayload"] = qr_payload(&request.auth().options.public_url, &id, &nonce).into();
    let mut response = answer(StatusCode::CREATED, &shown);
    if let Ok(location) = HeaderValue::from_str(&format!("/api/v1/qr/challenges/{}", id.expose())) {
        response.headers_mut().insert(LOCATION, location);
    }
    if let Some(cookie) = cookie {
        set_cookie(&mut response, request, &cookie);
    }
    Ok(response)
}

pub(super) async fn poll(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    let (id, view) = own(request, proof(request).as_ref()).await?;
    Ok(answer(StatusCode::OK, &shown(&view, &id.expose(), request.auth().derivation())))
}

pub(super) async fn cancel(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    let proof = proof_to_act(request)?;
    limit_acts(request)?;
    request.deps.challenges.act(ChallengeKey::of(&id(request)?), &Action::Cancel { proof }).await?;
    Ok(no_content())
}

pub(super) async fn scan(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    limit_acts(request)?;
    let signed_in = request.signed_in().await?;
    let body: ScanBody = request.json()?;
    let id = id(request)?;
    // One of another form is as wrong as any.
    let nonce = Nonce::parse(&body.nonce).map_err(|_| ChallengeError::NotFound)?;
    let phone = Phone { user_id: signed_in.account.id, session: signed_in.claims.session };
    let view = request.deps.challenges.act(ChallengeKey::of(&id), &Action::Scan { nonce, phone }).await?;
    Ok(answer(StatusCode::OK, &shown_to_phone(&view, &id, request.auth().derivation())))
}

/// What a phone is told that scanned: who asks.
pub(super) fn shown_to_phone(view: &ChallengeView, id: &ChallengeId, keys: &DerivationKeys) -> Value {
    let mut body = shown(view, &id.expose(), keys);
    let (record, body_of) = (&view.record, body.as_object_mut());
    if let Some(body) = body_of {
        // The otc is the creator's.
        body.remove("otc");
        body.insert("address".to_owned(), record.creator.address().into());
        body.insert("userAgent".to_owned(), record.creator.user_agent().into());
        if let Some(grant) = &record.device_grant {
            body.insert("clientId".to_owned(), (*grant.client_id).into());
        }
    }
    body
}

pub(super) async fn approve(request: &Request) -> Result<Response, Problem> {
    answer_by_phone(request, |phone| Action::Approve { phone }).await
}

pub(super) async fn deny(request: &Request) -> Result<Response, Problem> {
    answer_by_phone(request, |phone| Action::Deny { phone }).await
}

async fn answer_by_phone(request: &Request, action: impl Fn(Phone) -> Action) -> Result<Response, Problem> {
    request.no_query()?;
    limit_acts(request)?;
    // Asks both stores: who was disabled or logged out a moment ago approves nothing.
    let signed_in = request.signed_in().await?;
    let id = id(request)?;
    let phone = Phone { user_id: signed_in.account.id, session: signed_in.claims.session };
    let view = request.deps.challenges.act(ChallengeKey::of(&id), &action(phone)).await?;
    Ok(answer(StatusCode::OK, &json!({ "challengeId": id.expose(), "status": view.status().as_str() })))
}

pub(super) async fn exchange(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    let proof = proof_to_act(request)?;
    limit_acts(request)?;
    let body: ExchangeBody = request.json()?;
    // One of another form is as wrong as any, and counts.
    let otc = Otc::parse(&body.otc).unwrap_or(Otc::from_bytes([0; 32]));
    let (_, view) = own(request, Some(&proof)).await?;
    Ok(tokens(&challenges::exchange(&request.deps, &request.caller, &view, &proof, &otc).await?))
}

fn limit_acts(request: &Request) -> Result<(), Problem> {
    Ok(request.auth().limits.check(Limited::Act, request.caller.address).map_err(AuthError::from)?)
}

/// The challenge of the path.
///
/// # Errors
/// 404: what is no id is none's.
pub(super) fn id(request: &Request) -> Result<ChallengeId, ChallengeError> {
    ChallengeId::parse(&request.id()).map_err(|_| ChallengeError::NotFound)
}

/// The challenge of the path, if it is the caller's.
///
/// # Errors
/// 404 for another's as well.
pub(super) async fn own(
    request: &Request,
    proof: Option<&Proof>,
) -> Result<(ChallengeId, ChallengeView), ChallengeError> {
    let id = id(request)?;
    let proof = proof.ok_or(ChallengeError::NotFound)?;
    let view = request.deps.challenges.look(ChallengeKey::of(&id)).await?;
    if view.record.binding.accepts(proof) { Ok((id, view)) } else { Err(ChallengeError::NotFound) }
}

/// A challenge as its creator sees it: in a poll and in an event alike.
pub(super) fn shown(view: &ChallengeView, id: &str, keys: &DerivationKeys) -> Value {
    let (record, status) = (&view.record, view.status());
    let left_ms = if status.is_terminal() { 0 } else { (record.deadline_ms - view.now_ms).max(0) };
    let mut shown = json!({
        "challengeId": id,
        "status": status.as_str(),
        "createdAt": time(record.created_at_ms),
        "expiresAt": time(record.deadline_ms),
        // Whole seconds, never more than are left.
        "expiresIn": left_ms / 1000,
    });
    if let Some(at_ms) = record.approved_at_ms {
        shown["approvedAt"] = time(at_ms).into();
    }
    if let Some(at_ms) = record.exchanged_at_ms() {
        shown["exchangedAt"] = time(at_ms).into();
    }
    // That of a device grant stays inside: its token request is the exchange.
    if let Some(otc) = record.otc(keys, view.now_ms).filter(|_| record.device_grant.is_none()) {
        shown["otc"] = otc.expose().into();
    }
    shown
}
