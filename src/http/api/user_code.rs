//! A logged-in phone on which somebody typed what a device shows (RFC 8628, section 3.3), in place of a picture.

use http::StatusCode;
use orinoco_actors::{Action, ChallengeError};
use orinoco_domain::{
    challenge::{ChallengeKey, Phone},
    secret::UserCode,
};
use schemars::JsonSchema;
use serde::Deserialize;
use warp::reply::Response;

use super::{challenges::shown_to_phone, json as answer, request::Request};
use crate::{
    auth::{AuthError, Limited},
    http::{body::wrong, openapi, problem::Problem},
};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct UserCodeBody {
    #[schemars(length(max = UserCode::LENGTH_MAX), regex(pattern = openapi::USER_CODE))]
    user_code: String,
}

/// As a scan: the answer says who asks, and the phone approves or denies by the challenge's id.
pub(super) async fn enter(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    let auth = request.auth();
    let signed_in = request.signed_in().await?;
    // A code can be guessed, a nonce can't: RFC 8628, section 5.1.
    auth.limits.check(Limited::UserCode, request.caller.address).map_err(AuthError::from)?;
    let body: UserCodeBody = request.json()?;
    let code = UserCode::parse(&body.user_code).map_err(|error| wrong("userCode", &error))?;
    let phone = Phone { user_id: signed_in.account.id, session: signed_in.claims.session };
    // The code does not say which key its challenge was named by.
    for key in auth.derivation().iter() {
        let id = key.challenge_id_of(&code);
        let view = match request.deps.challenges.look(ChallengeKey::of(&id)).await {
            Err(ChallengeError::NotFound) => continue,
            looked => looked?,
        };
        let nonce = view.record.nonce(auth.derivation()).ok_or(ChallengeError::NotFound)?;
        let view = request.deps.challenges.act(ChallengeKey::of(&id), &Action::Scan { nonce, phone }).await?;
        return Ok(answer(StatusCode::OK, &shown_to_phone(&view, &id, auth.derivation())));
    }
    Err(ChallengeError::NotFound.into())
}
