//! Accounts, logins, QR challenges and administration: `/api/v1` but for the coordinates, and the key set.
//!
//! | file | holds |
//! |---|---|
//! | `endpoints` | the paths and their methods |
//! | `request` | a request, taken apart |
//! | `accounts` | signup, login, refresh, logout, own account and logins |
//! | `challenges` | QR challenges: by their creator, and by a phone |
//! | `user_code` | a device grant's code, typed in on a phone |
//! | `creator` | how a creator proves itself |
//! | `picture` | a challenge's picture |
//! | `events`, `streams` | a challenge's stream, and all that are open |
//! | `admin`, `dead_letters`, `stream` | for administrators |
//!
//! Invariants: a path is known whole before its method is looked at; handlers take a request apart, ask [`crate::auth`] or the actors, and
//! write the answer: nothing is decided here. Whoever may not see a challenge is told that there is none.

pub(super) mod accounts;
pub(super) mod admin;
pub(super) mod challenges;
pub(super) mod creator;
pub(super) mod dead_letters;
mod endpoints;
mod events;
mod picture;
mod request;
mod stream;
mod streams;
pub(super) mod user_code;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use orinoco_domain::Timestamp;
use serde::Serialize;
use warp::{Filter, Rejection, filters::BoxedFilter, reply::Response};

use super::{
    HttpDeps, body,
    client::{Peer, caller},
    listen::Draining,
    problem::{MethodNotAllowed, Problem, internal},
    routes::{answer, in_time, raw_query, with},
};
pub(super) use endpoints::{Endpoint, all, pattern_of};
use endpoints::{Found, find};
use request::Request;
pub use streams::{OpenStream, StreamTable};

pub(super) fn routes(deps: &Arc<HttpDeps>) -> BoxedFilter<(Response,)> {
    warp::path::full()
        .and(warp::method())
        .and_then(|path: warp::path::FullPath, method: Method| async move { endpoint(path.as_str(), &method) })
        .and(with(deps))
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<Peer>())
        .and(warp::ext::optional::<Draining>())
        .and(raw_query())
        .and(warp::body::stream())
        .then(|found: Found, deps: Arc<HttpDeps>, headers: HeaderMap, peer: Option<Peer>, draining, query, stream| async move {
            let handled = async {
                let Peer(peer) = peer.ok_or_else(internal)?;
                let caller = caller(peer.ip(), &headers, &deps.trusted_proxies);
                let body = body::read(stream, deps.body_bytes_max).await?;
                let request = Request { deps, ids: found.ids, headers, caller, draining, query, body };
                in_time(dispatch(found.endpoint, request)).await
            };
            answer(handled.await)
        })
        .boxed()
}

fn endpoint(path: &str, method: &Method) -> Result<Found, Rejection> {
    match find(path, method) {
        Some(Ok(found)) => Ok(found),
        Some(Err(allowed)) => Err(warp::reject::custom(MethodNotAllowed { allowed })),
        None => Err(warp::reject::not_found()),
    }
}

async fn dispatch(endpoint: Endpoint, request: Request) -> Result<Response, Problem> {
    match endpoint {
        Endpoint::KeySet => Ok(key_set(&request)),
        Endpoint::SignUp => accounts::sign_up(&request).await,
        Endpoint::LogIn => accounts::log_in(&request).await,
        Endpoint::Refresh => accounts::refresh(&request).await,
        Endpoint::LogOut => accounts::log_out(&request).await,
        Endpoint::LogOutAll => accounts::log_out_all(&request).await,
        Endpoint::Me => accounts::me(&request).await,
        Endpoint::Sessions => accounts::sessions(&request).await,
        Endpoint::EndSession => accounts::end_session(&request).await,
        Endpoint::CreateChallenge => challenges::create(&request).await,
        Endpoint::Challenge => challenges::poll(&request).await,
        Endpoint::CancelChallenge => challenges::cancel(&request).await,
        Endpoint::PictureSvg => picture::svg(&request).await,
        Endpoint::PicturePng => picture::png(&request).await,
        Endpoint::Events => events::open(&request).await,
        Endpoint::Scan => challenges::scan(&request).await,
        Endpoint::UserCode => user_code::enter(&request).await,
        Endpoint::Approve => challenges::approve(&request).await,
        Endpoint::Deny => challenges::deny(&request).await,
        Endpoint::Exchange => challenges::exchange(&request).await,
        Endpoint::Users => admin::users(&request).await,
        Endpoint::CreateUser => admin::create_user(&request).await,
        Endpoint::User => admin::user(&request).await,
        Endpoint::ChangeUser => admin::change_user(&request).await,
        Endpoint::Devices => admin::devices(&request).await,
        Endpoint::GiveDeviceSecret => admin::give_device_secret(&request).await,
        Endpoint::RevokeDeviceSecret => admin::revoke_device_secret(&request).await,
        Endpoint::Connections => admin::connections(&request).await,
        Endpoint::Actors => admin::actors(&request).await,
        Endpoint::PoolChildren => admin::pool_children(&request).await,
        Endpoint::KillActor => admin::kill_actor(&request).await,
        Endpoint::Stream => stream::stream(&request).await,
        Endpoint::DeadLetters => dead_letters::list(&request).await,
        Endpoint::ReplayDeadLetters => dead_letters::replay(&request).await,
        Endpoint::Audit => admin::audit(&request).await,
    }
}

/// RFC 7517, section 5. Public, and the same for minutes: it may be cached.
fn key_set(request: &Request) -> Response {
    let mut response = json(StatusCode::OK, &request.deps.auth.keys.jwks());
    let cached = HeaderValue::from_static("public, max-age=300");
    response.headers_mut().insert(http::header::CACHE_CONTROL, cached);
    response
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let Ok(text) = serde_json::to_string(body) else { return internal().into_response() };
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// One page; `next` where there is more.
fn listed(name: &str, items: impl Serialize, next: Option<String>) -> Response {
    let mut body = serde_json::json!({ name: items });
    if let Some(next) = next {
        body["next"] = next.into();
    }
    json(StatusCode::OK, &body)
}

fn no_content() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// RFC 3339, in UTC with milliseconds. Of stored times, which are all within its years; another one is shown as the number it is.
fn time(at_ms: i64) -> String {
    Timestamp::from_epoch_ms(at_ms).map_or_else(|_| at_ms.to_string(), |timestamp| timestamp.as_str().to_owned())
}
