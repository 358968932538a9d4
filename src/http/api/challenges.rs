//! QR challenges: by their creator (create, poll, cancel, exchange), and by a logged-in phone (scan, approve, deny).

use http::{HeaderValue, StatusCode, header::LOCATION};
use orinoco_actors::{Action, ChallengeError, ChallengeView};
use orinoco_domain::{
    audit::AuditEvent,
    challenge::{ChallengeKey, NewChallenge, Phone, Status},
    secret::{Binding, ChallengeId, CodeChallenge, DerivationKeys, Nonce, Otc, Proof, Salt},
};
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
    http::{body::wrong, problem::Problem},
};

/// Tries to draw a name that no challenge, or login, has.
const DRAWS_MAX: usize = 3;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateBody {
    code_challenge: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScanBody {
    nonce: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExchangeBody {
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
    let (id, view) = make(request, binding).await?;
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

async fn make(request: &Request, binding: Binding) -> Result<(ChallengeId, ChallengeView), Problem> {
    let auth = request.auth();
    for _ in 0..DRAWS_MAX {
        let id = ChallengeId::from_bytes(random().map_err(AuthError::from)?);
        let new = NewChallenge {
            key: ChallengeKey::of(&id),
            salt: Salt::from_bytes(random().map_err(AuthError::from)?),
            key_id: auth.derivation().current().id(),
            binding,
            creator: request.caller.client.clone(),
            device_grant: None,
            ttl_ms: auth.options.challenge_ttl_ms,
        };
        match request.deps.challenges.create(&new).await {
            Err(ChallengeError::Taken) => {}
            made => return Ok((id, made?)),
        }
    }
    Err(ChallengeError::Taken.into())
}

/// What the picture holds. The nonce is in the fragment, which no browser sends: it stands in no log.
pub(super) fn qr_payload(public_url: &str, id: &ChallengeId, nonce: &Nonce) -> String {
    format!("{public_url}/qr?challengeId={}#nonce={}", id.expose(), nonce.expose())
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
    let mut body = shown(&view, &id.expose(), request.auth().derivation());
    let (record, body_of) = (&view.record, body.as_object_mut());
    if let Some(body) = body_of {
        // The otc is the creator's.
        body.remove("otc");
        body.insert("address".to_owned(), record.creator.address().into());
        body.insert("userAgent".to_owned(), record.creator.user_agent().into());
    }
    Ok(answer(StatusCode::OK, &body))
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
    let (id, view) = own(request, Some(&proof)).await?;
    let user_id = match (view.status(), view.record.user_id) {
        (Status::Approved, Some(user_id)) => user_id,
        (status, _) => return Err(ChallengeError::Conflict(status).into()),
    };
    let auth = request.auth();
    let account = crate::auth::call(auth.accounts.by_id(user_id)).await?;
    let account = account.filter(|account| account.enabled);
    let account = account.ok_or(AuthError::Forbidden("the account that approved can't log in any more"))?;
    for _ in 0..DRAWS_MAX {
        let login = auth.new_family(&account, None, &request.caller)?;
        match request.deps.challenges.exchange(ChallengeKey::of(&id), proof.clone(), otc.clone(), login).await {
            Ok(began) => {
                let pair = auth.token_pair(&account, &began.family, began.token)?;
                let address = Some(request.caller.address);
                auth.audit().write(AuditEvent::LoginSuccess, Some(account.id), address, "QR challenge").await;
                return Ok(tokens(&pair));
            }
            Err(ChallengeError::Taken) => {}
            Err(error) => {
                if error == (ChallengeError::WrongOtc { tries_left: 0 }) {
                    let (user_id, address) = (Some(account.id), Some(request.caller.address));
                    let detail = "a challenge was ended by its creator's wrong otc";
                    auth.audit().write(AuditEvent::InputValidationFail, user_id, address, detail).await;
                }
                return Err(error.into());
            }
        }
    }
    Err(ChallengeError::Taken.into())
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
    if let Some(otc) = record.otc(keys, view.now_ms) {
        shown["otc"] = otc.expose().into();
    }
    shown
}
