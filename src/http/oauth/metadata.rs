//! What this authorization server can do (RFC 8414, section 2).

use http::{HeaderValue, StatusCode, header::CACHE_CONTROL};
use serde_json::json;
use warp::reply::Response;

use super::{
    DEVICE_AUTHORIZATION, INTROSPECT, REVOKE, SCOPE, TOKEN,
    token::{DEVICE_GRANT, REFRESH_GRANT},
};
use crate::http::{HttpDeps, problem::Problem, query::Query};

/// # Errors
/// 400: it takes no parameters.
pub(super) fn metadata(deps: &HttpDeps, query: &str) -> Result<Response, Problem> {
    Query::parse(query, &[])?;
    let issuer = deps.auth.tokens.issuer();
    let at = |path: &str| format!("{issuer}{path}");
    let body = json!({
        "issuer": issuer,
        "device_authorization_endpoint": at(DEVICE_AUTHORIZATION),
        "token_endpoint": at(TOKEN),
        "revocation_endpoint": at(REVOKE),
        "introspection_endpoint": at(INTROSPECT),
        "jwks_uri": at("/.well-known/jwks.json"),
        "grant_types_supported": [DEVICE_GRANT, REFRESH_GRANT],
        // Required, and never empty (section 3.2), though there is no authorization endpoint: the registered word for no response.
        "response_types_supported": ["none"],
        "scopes_supported": [SCOPE],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        // Of the registry "OAuth Access Token Types".
        "introspection_endpoint_auth_methods_supported": ["Bearer"],
    });
    let mut response = super::json(StatusCode::OK, &body);
    let headers = response.headers_mut();
    headers.remove(http::header::PRAGMA);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    Ok(response)
}
