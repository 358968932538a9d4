//! OAuth 2.0 for public clients: `/oauth` and its metadata. For its users it is described in docs/oauth.md.
//!
//! | file | holds |
//! |---|---|
//! | `metadata` | `GET /.well-known/oauth-authorization-server` (RFC 8414) |
//! | `device_authorization` | `POST /oauth/device_authorization` (RFC 8628, section 3.1) |
//! | `token` | `POST /oauth/token`: the device grant (RFC 8628, section 3.4), the refresh grant (RFC 6749, section 6) |
//! | `revoke` | `POST /oauth/revoke` (RFC 7009) |
//! | `introspect` | `POST /oauth/introspect` (RFC 7662) |
//! | `presented` | a token that somebody shows: what it is, and what it is worth |
//! | `form` | parameters |
//! | `error` | errors, in the form of RFC 6749, section 5.2 |
//!
//! Invariants: a device grant is a QR challenge whose verifier is in the `device_code`, and its token request is the exchange; clients have
//! no secret, so a token is bound to the client that asked for it; every error under `/oauth` has the same form, unknown paths included.

mod device_authorization;
mod error;
mod form;
mod introspect;
mod metadata;
mod presented;
mod revoke;
pub(super) mod token;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_TYPE, header::PRAGMA};
use serde_json::Value;
use warp::{Filter, filters::BoxedFilter, reply::Response};

use super::{
    HttpDeps, body,
    client::{Peer, caller},
    problem::{Problem, internal},
    routes::{GET, answer, in_time, methods, raw_query, with},
};
use crate::auth::{Auth, Caller};
use error::OAuthError;
use form::Form;

pub(super) const DEVICE_AUTHORIZATION: &str = "/oauth/device_authorization";
pub(super) const TOKEN: &str = "/oauth/token";
pub(super) const REVOKE: &str = "/oauth/revoke";
pub(super) const INTROSPECT: &str = "/oauth/introspect";

/// The one scope (RFC 6749, section 3.3): all that the account may. It is given whatever was asked for, and the answer says so.
const SCOPE: &str = "orinoco";

#[derive(Debug, Clone, Copy)]
enum Endpoint {
    DeviceAuthorization,
    Token,
    Revoke,
    Introspect,
}

/// A request, taken apart.
struct Request {
    deps: Arc<HttpDeps>,
    headers: HeaderMap,
    caller: Caller,
    form: Form,
}

impl Request {
    fn auth(&self) -> &Auth {
        &self.deps.auth
    }

    /// The client, which is one of the configuration's.
    ///
    /// # Errors
    /// `invalid_client`, `invalid_request`.
    fn client(&self) -> Result<&str, OAuthError> {
        form::client(&self.form, &self.headers, &self.auth().options.oauth_clients)
    }
}

pub(super) fn routes(deps: &Arc<HttpDeps>) -> BoxedFilter<(Response,)> {
    let metadata = warp::path!(".well-known" / "oauth-authorization-server")
        .and(methods(GET))
        .and(with(deps))
        .and(raw_query())
        .then(|deps: Arc<HttpDeps>, query: String| async move { answer(metadata::metadata(&deps, &query)) });
    let endpoints =
        warp::path::full()
            .and_then(|path: warp::path::FullPath| async move {
                if is_below(path.as_str()) { Ok(endpoint(path.as_str())) } else { Err(warp::reject::not_found()) }
            })
            .and(warp::method())
            .and(with(deps))
            .and(warp::header::headers_cloned())
            .and(warp::ext::optional::<Peer>())
            .and(raw_query())
            .and(warp::body::stream())
            .then(
                |endpoint,
                 method,
                 deps: Arc<HttpDeps>,
                 headers: HeaderMap,
                 peer: Option<Peer>,
                 query: String,
                 stream| async move {
                    let handled = async {
                        let endpoint = allowed(endpoint, &method)?;
                        let Peer(peer) = peer.ok_or_else(internal)?;
                        let caller = caller(peer.ip(), &headers, &deps.trusted_proxies);
                        let body = body::read(stream, deps.body_bytes_max).await?;
                        let form = Form::parse(&headers, &query, &body)?;
                        in_time(dispatch(endpoint, &Request { deps, headers, caller, form })).await
                    };
                    handled.await.unwrap_or_else(OAuthError::into_response)
                },
            );
    metadata.or(endpoints).unify().boxed()
}

/// A problem that was met before any route was asked, in the form of its path.
pub(super) fn refusal(path: &str, problem: Problem) -> Response {
    if is_below(path) { OAuthError::from(problem).into_response() } else { problem.into_response() }
}

fn is_below(path: &str) -> bool {
    path.strip_prefix("/oauth").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

const ENDPOINTS: [(&str, Endpoint); 4] = [
    (DEVICE_AUTHORIZATION, Endpoint::DeviceAuthorization),
    (TOKEN, Endpoint::Token),
    (REVOKE, Endpoint::Revoke),
    (INTROSPECT, Endpoint::Introspect),
];

/// The path in the table that this one is.
pub(super) fn pattern_of(path: &str) -> Option<&'static str> {
    ENDPOINTS.iter().map(|(known, _)| *known).find(|known| *known == path)
}

fn endpoint(path: &str) -> Option<Endpoint> {
    ENDPOINTS.iter().find(|(known, _)| *known == path).map(|(_, endpoint)| *endpoint)
}

/// # Errors
/// 404, 405.
fn allowed(endpoint: Option<Endpoint>, method: &Method) -> Result<Endpoint, OAuthError> {
    let endpoint = endpoint.ok_or_else(|| Problem::not_found("nothing is here; the paths are in docs/oauth.md"))?;
    if method == Method::POST { Ok(endpoint) } else { Err(OAuthError::method_not_allowed()) }
}

async fn dispatch(endpoint: Endpoint, request: &Request) -> Result<Response, OAuthError> {
    match endpoint {
        Endpoint::DeviceAuthorization => device_authorization::authorize(request).await,
        Endpoint::Token => token::token(request).await,
        Endpoint::Revoke => revoke::revoke(request).await,
        Endpoint::Introspect => introspect::introspect(request).await,
    }
}

/// That no one keeps: RFC 6749, section 5.1, wants `Pragma` beside the `Cache-Control` that every answer has.
fn json(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(body.to_string().into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_oauth_are_its_own() {
        for path in ["/oauth", "/oauth/", "/oauth/token", "/oauth/token/x"] {
            assert!(is_below(path), "{path}");
        }
        for path in ["/", "/oauth2/token", "/oauthx", "/api/v1/oauth", "/.well-known/oauth-authorization-server"] {
            assert!(!is_below(path), "{path}");
        }
    }
}
