//! What a token is worth (RFC 7662), for who has an access token of its own: that keeps guessers out (section 4).

use http::StatusCode;
use orinoco_domain::{account::Account, refresh::Family};
use serde_json::{Value, json};
use warp::reply::Response;

use super::{
    Request, SCOPE,
    error::OAuthError,
    json as answer,
    presented::{Presented, present, signed_in},
};
use crate::{
    auth::{AUDIENCE, Auth, AuthError, Limited, SignedIn},
    http::bearer_token,
};

pub(super) async fn introspect(request: &Request) -> Result<Response, OAuthError> {
    let auth = request.auth();
    auth.limits.check(Limited::Act, request.caller.address).map_err(AuthError::from)?;
    auth.signed_in(bearer_token(&request.headers)).await?;
    let token = request.form.required("token")?;
    let shown = match present(auth, token, &request.caller).await? {
        // Its account and its login are asked for as well: a resource server wants to know what holds now.
        Some(Presented::Access(_)) => signed_in(auth, token).await?.map(|signed_in| of_access(&signed_in)),
        Some(Presented::Refresh { account, family, is_live: true }) => Some(of_refresh(auth, &account, &family)),
        Some(Presented::Refresh { is_live: false, .. }) | None => None,
    };
    // Of any other token nothing is said, not even why (section 2.2).
    Ok(answer(StatusCode::OK, &shown.unwrap_or_else(|| json!({ "active": false }))))
}

fn of_access(signed_in: &SignedIn) -> Value {
    let SignedIn { account, claims } = signed_in;
    json!({
        "active": true,
        "scope": SCOPE,
        "client_id": claims.client_id,
        "username": account.email,
        "token_type": "Bearer",
        "exp": claims.expires_at_ms / 1000,
        "iat": claims.issued_at_ms / 1000,
        "sub": claims.user_id.to_string(),
        "aud": AUDIENCE,
        "iss": claims.issuer,
        "jti": claims.token_id,
        "sid": claims.session,
    })
}

/// Without `token_type` and `aud`: it opens nothing but the token endpoint.
fn of_refresh(auth: &Auth, account: &Account, family: &Family) -> Value {
    let mut shown = json!({
        "active": true,
        "scope": SCOPE,
        "username": account.email,
        "exp": family.expires_at_ms / 1000,
        "iat": family.created_at_ms / 1000,
        "sub": account.id.to_string(),
        "iss": auth.tokens.issuer(),
        "sid": family.id,
    });
    if let Some(client_id) = &family.client_id {
        shown["client_id"] = (**client_id).into();
    }
    shown
}
