//! The router: all areas of the HTTP port, and what holds for each of their answers.
//!
//! Invariants: a route matches its whole path before it looks at the method, and from then on answers itself, errors included. So what
//! no route takes is an unknown path (404) or a known one with another method (405 with `Allow`), however many routes there are.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{
    HeaderValue, Method,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS},
};
use warp::{Filter, Rejection, Reply, filters::BoxedFilter, reply::Response};

use super::{
    HttpDeps, api, console, devices, oauth, openapi, operations,
    problem::{MethodNotAllowed, Problem, from_rejection},
};

/// From a request that is there whole to the head of its answer. Each step behind it has a time of its own, and they add up: where a store
/// hangs, a login by password asks it several times, and waits for its turn to be hashed.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The methods of a path, and the same as `Allow` has them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Methods {
    pub(crate) methods: &'static [Method],
    pub(crate) allow: &'static str,
}

/// What is only read. The body of an answer to HEAD is left out by hyper.
pub(crate) const GET: Methods = Methods { methods: &[Method::GET, Method::HEAD], allow: "GET, HEAD" };

pub(super) fn routes(deps: &Arc<HttpDeps>) -> BoxedFilter<(Response,)> {
    let routes = devices::routes(deps).or(operations::routes(deps)).unify().or(oauth::routes(deps)).unify();
    let routes = routes.or(openapi::routes(deps)).unify().or(console::routes(deps)).unify();
    with_problems(routes.or(api::routes(deps)).unify().boxed())
}

/// Answers what no route takes, and adds the headers that every answer has.
pub(crate) fn with_problems(routes: BoxedFilter<(Response,)>) -> BoxedFilter<(Response,)> {
    let recover = |rejection: Rejection| async move { Ok::<_, Infallible>(from_rejection(&rejection).into_response()) };
    routes.recover(recover).unify().map(with_security_headers).boxed()
}

/// What is under way when the time is up is given up as if the client had gone away.
///
/// # Errors
/// The work's own; 503 when the time is up.
pub(super) async fn in_time<T, E: From<Problem>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let late = || Problem::unavailable("no answer in time: something behind this server is slow or away; try again");
    tokio::time::timeout(ANSWER_TIMEOUT, work).await.unwrap_or_else(|_| Err(late().into()))
}

/// Lets these methods through, for a path that has matched.
pub(crate) fn methods(allowed: Methods) -> impl Filter<Extract = (), Error = Rejection> + Copy {
    warp::method()
        .and_then(move |method: Method| async move {
            if allowed.methods.contains(&method) {
                return Ok(());
            }
            Err(warp::reject::custom(MethodNotAllowed { allowed: allowed.allow }))
        })
        .untuple_one()
}

pub(crate) fn with<T: Send + Sync + 'static>(
    value: &Arc<T>,
) -> impl Filter<Extract = (Arc<T>,), Error = Infallible> + Clone + use<T> {
    let value = Arc::clone(value);
    warp::any().map(move || Arc::clone(&value))
}

/// What stands behind the `?`; empty without one.
pub(crate) fn raw_query() -> impl Filter<Extract = (String,), Error = Infallible> + Copy {
    warp::query::raw().or(warp::any().map(String::new)).unify()
}

pub(crate) fn answer(result: Result<Response, Problem>) -> Response {
    result.unwrap_or_else(Problem::into_response)
}

/// A route that has other needs sets these itself (OWASP Secure Headers Project).
pub(crate) fn with_security_headers(reply: impl Reply) -> Response {
    let mut response = reply.into_response();
    let headers = response.headers_mut();
    let mut set = |name, value| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(X_FRAME_OPTIONS, "DENY");
    set(REFERRER_POLICY, "no-referrer");
    set(CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    set(CACHE_CONTROL, "no-store");
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_answered_with_503_and_retry_after() {
        let answer = in_time(std::future::pending::<Result<Response, Problem>>()).await;
        let response = answer.unwrap_or_else(Problem::into_response);
        assert_eq!(response.status(), http::StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(http::header::RETRY_AFTER));
        let slow = async {
            tokio::time::sleep(ANSWER_TIMEOUT / 2).await;
            Ok::<_, Problem>(())
        };
        assert!(in_time(slow).await.is_ok());
    }
}
