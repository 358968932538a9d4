//! A client gives up a login (RFC 7009): either of its tokens ends the whole login, so that the other one is of no use as well.

use http::StatusCode;
use orinoco_domain::{account::UserId, audit::AuditEvent, refresh::FamilyId};
use orinoco_ports::EndReason;
use warp::reply::Response;

use super::{
    Request,
    error::OAuthError,
    json as answer,
    presented::{Presented, present},
};
use crate::auth::{AuthError, Limited, call, now_ms};

pub(super) async fn revoke(request: &Request) -> Result<Response, OAuthError> {
    let client = request.client()?;
    let token = request.form.required("token")?;
    request.auth().limits.check(Limited::Act, request.caller.address).map_err(AuthError::from)?;
    // What is no token, or not any more, is revoked already (section 2.2).
    if let Some(presented) = present(request.auth(), token, &request.caller).await? {
        if presented.client_id() != Some(client) {
            return Err(OAuthError::invalid_grant("the token was given to another client"));
        }
        let (user_id, family) = match &presented {
            Presented::Access(claims) => (claims.user_id, claims.session),
            Presented::Refresh { family, .. } => (family.user_id, family.id),
        };
        end(request, user_id, family).await?;
    }
    Ok(answer(StatusCode::OK, &serde_json::json!({})))
}

async fn end(request: &Request, user_id: UserId, family: FamilyId) -> Result<(), AuthError> {
    let auth = request.auth();
    let ended = call(auth.logins.end_family(&family, EndReason::Revoked)).await?;
    if ended.is_some() {
        auth.live.note(user_id, Some(family), now_ms());
        let address = Some(request.caller.address);
        auth.audit().write(AuditEvent::TokenRevoked, Some(user_id), address, "revoked by its client").await;
    }
    Ok(())
}
