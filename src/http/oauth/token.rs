//! Token requests: the device grant, whose challenge is exchanged once it is approved, and the refresh grant, which rotates.

use http::StatusCode;
use orinoco_actors::{ChallengeError, ChallengeView, PollAnswer};
use orinoco_domain::{
    challenge::{ChallengeKey, Status},
    secret::{DeviceCode, Proof},
};
use serde_json::json;
use warp::reply::Response;

use super::{Request, SCOPE, error::OAuthError, json as answer};
use crate::{
    auth::{AuthError, Limited, TokenPair},
    http::challenges::{Failed, exchange},
};

/// RFC 8628, section 3.4.
pub(in crate::http) const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// RFC 6749, section 6.
pub(in crate::http) const REFRESH_GRANT: &str = "refresh_token";

/// A challenge that is decided between two looks is looked at again; it has two more statuses at most before its last one.
const LOOKS_MAX: usize = 4;

pub(super) async fn token(request: &Request) -> Result<Response, OAuthError> {
    let client = request.client()?;
    let pair = match request.form.required("grant_type")? {
        DEVICE_GRANT => by_device_code(request, client).await?,
        REFRESH_GRANT => {
            let token = request.form.required("refresh_token")?;
            request.auth().refresh(token, Some(client), &request.caller).await?
        }
        _ => {
            let detail = format!("use grant_type {DEVICE_GRANT} or {REFRESH_GRANT}");
            return Err(OAuthError::new("unsupported_grant_type", detail));
        }
    };
    Ok(tokens(&pair))
}

/// RFC 6749, section 5.1.
fn tokens(pair: &TokenPair) -> Response {
    let body = json!({
        "access_token": pair.access_token,
        "refresh_token": pair.refresh_token.expose(),
        "token_type": "Bearer",
        "expires_in": pair.expires_in_s,
        "scope": SCOPE,
    });
    answer(StatusCode::OK, &body)
}

async fn by_device_code(request: &Request, client: &str) -> Result<TokenPair, OAuthError> {
    let code = request.form.required("device_code")?;
    request.auth().limits.check(Limited::Act, request.caller.address).map_err(AuthError::from)?;
    let code = DeviceCode::parse(code).map_err(|_| ChallengeError::NotFound)?;
    let (key, proof) = (ChallengeKey::of(&code.challenge), Proof::Verifier(code.verifier));
    for _ in 0..LOOKS_MAX {
        let view = own(request, key, &proof, client).await?;
        match view.status() {
            Status::Pending | Status::Scanned => match request.deps.challenges.poll(key).await? {
                PollAnswer::AuthorizationPending => return Err(pending()),
                PollAnswer::SlowDown => return Err(slow_down()),
                PollAnswer::Decided(_) => {}
            },
            Status::Approved => match exchange_inside(request, &view, &proof).await {
                // It was decided otherwise a moment ago.
                Err(Failed::Challenge(ChallengeError::Conflict(status))) => return Err(ended(status)),
                exchanged => return Ok(exchanged?),
            },
            status => return Err(ended(status)),
        }
    }
    Err(pending())
}

/// The challenge of a code, if it is this client's.
async fn own(
    request: &Request,
    key: ChallengeKey,
    proof: &Proof,
    client: &str,
) -> Result<ChallengeView, ChallengeError> {
    let view = request.deps.challenges.look(key).await?;
    let is_clients = view.record.device_grant.as_ref().is_some_and(|grant| *grant.client_id == *client);
    if is_clients && view.record.binding.accepts(proof) { Ok(view) } else { Err(ChallengeError::NotFound) }
}

/// The otc comes from the record, and goes nowhere else.
async fn exchange_inside(request: &Request, view: &ChallengeView, proof: &Proof) -> Result<TokenPair, Failed> {
    let otc = view.record.otc(request.auth().derivation(), view.now_ms).ok_or(ChallengeError::NotFound)?;
    exchange(&request.deps, &request.caller, view, proof, &otc).await
}

fn pending() -> OAuthError {
    OAuthError::new("authorization_pending", "nobody has approved yet; ask again after the interval")
}

fn slow_down() -> OAuthError {
    OAuthError::new("slow_down", "this was too early; wait 5 seconds longer between requests from now on")
}

/// What a status that leads to no tokens is called (RFC 8628, section 3.5).
fn ended(status: Status) -> OAuthError {
    match status {
        Status::Denied => OAuthError::new("access_denied", "the login was denied"),
        Status::Expired | Status::Cancelled => {
            OAuthError::new("expired_token", "the device_code has expired; ask for another one")
        }
        Status::Exchanged => OAuthError::invalid_grant("the device_code was used already"),
        Status::Pending | Status::Scanned | Status::Approved => pending(),
    }
}
