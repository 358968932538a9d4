//! A device asks for a login (RFC 8628, sections 3.1 and 3.2): a QR challenge whose id follows from what a person can type in.

use http::StatusCode;
use orinoco_actors::ChallengeError;
use orinoco_domain::{
    challenge::DeviceGrant,
    secret::{Binding, DeviceCode, UserCode, Verifier},
};
use serde_json::json;
use warp::reply::Response;

use super::{Request, error::OAuthError, json as answer};
use crate::{
    auth::{AuthError, Limited, random},
    http::challenges::{create, qr_payload},
};

pub(super) async fn authorize(request: &Request) -> Result<Response, OAuthError> {
    let client = request.client()?;
    let auth = request.auth();
    auth.limits.check(Limited::Challenge, request.caller.address).map_err(AuthError::from)?;
    let verifier = Verifier::from_bytes(random().map_err(AuthError::from)?);
    let binding = Binding::Verifier(verifier.code_challenge());
    let keys = auth.derivation();
    let draw = || {
        let user_code = UserCode::from_random(u64::from_be_bytes(random()?));
        Ok((keys.current().challenge_id_of(&user_code), user_code))
    };
    let grant = DeviceGrant::new(client);
    let (id, user_code, view) = create(&request.deps, &request.caller, binding, Some(grant.clone()), draw).await?;
    let nonce = view.record.nonce(keys).ok_or(ChallengeError::NotFound)?;
    let public_url = &auth.options.public_url;
    let body = json!({
        "device_code": DeviceCode { challenge: id.clone(), verifier }.expose(),
        "user_code": user_code.expose(),
        "verification_uri": format!("{public_url}/qr"),
        "verification_uri_complete": qr_payload(public_url, &id, &nonce),
        // Whole seconds, never more than are left.
        "expires_in": (view.record.deadline_ms - view.now_ms).max(0) / 1000,
        "interval": grant.interval_ms / 1000,
    });
    Ok(answer(StatusCode::OK, &body))
}
