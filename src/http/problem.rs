//! Errors as problem details (RFC 9457): the one place that maps what went wrong to HTTP.
//!
//! Invariant: an answer of 400 and above that this program makes is `application/problem+json` (but under `/oauth`), and says nothing of the inside (places,
//! versions, causes): that stands in the log and, for operators, in `/readyz`. What is no HTTP at all is answered by hyper with a bare
//! 400, 414 or 431.

use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use orinoco_actors::ChallengeError;
use orinoco_ports::StoreError;
use orinoco_supervision::CallError;
use serde_json::{Map, Value};
use warp::{Rejection, reject::Reject, reply::Response};

use super::access::Denied;
use crate::auth::AuthError;

/// RFC 6750, section 3: how to authenticate, and what was wrong with how it was tried.
const ANONYMOUS: HeaderValue = HeaderValue::from_static("Bearer realm=\"orinoco\"");
const INVALID_TOKEN: HeaderValue = HeaderValue::from_static("Bearer realm=\"orinoco\", error=\"invalid_token\"");
/// When to try again after an outage: the actors inside try every few seconds.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("2");

/// What went wrong with one request. `type` is `about:blank`: the status says what kind it is, the detail what to do.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    members: Map<String, Value>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        debug_assert!(status.is_client_error() || status.is_server_error(), "a problem is an error");
        Self { status, detail: detail.into(), headers: Vec::new(), members: Map::new() }
    }

    /// The request names something that does not exist.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// The request is wrong, and `detail` says where and what to write instead.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Something that is needed does not work at present.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).header(RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// An extension member (RFC 9457, section 3.2).
    pub(crate) fn member(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }

    /// For OAuth's endpoints, whose errors have another form.
    pub(super) fn into_parts(self) -> (StatusCode, String, Vec<(HeaderName, HeaderValue)>) {
        (self.status, self.detail, self.headers)
    }

    pub(crate) fn into_response(self) -> Response {
        let mut body = Map::new();
        body.insert("type".to_owned(), "about:blank".into());
        body.insert("title".to_owned(), self.status.canonical_reason().unwrap_or("Error").into());
        body.insert("status".to_owned(), self.status.as_u16().into());
        body.insert("detail".to_owned(), self.detail.into());
        body.extend(self.members);
        let mut response = Response::new(Value::Object(body).to_string().into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } | StoreError::Fenced { .. } => {
                Self::unavailable("the coordinates can't be read at present; try again")
            }
            StoreError::Corrupt { .. } => {
                tracing::error!(%error, "a request met stored coordinates that can't be understood");
                internal()
            }
        }
    }
}

impl From<CallError> for Problem {
    fn from(_: CallError) -> Self {
        Self::unavailable("the stream is starting or busy; try again")
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        // RFC 6750, section 3: without a token the challenge says no more than how to authenticate.
        let challenge = match denied {
            Denied::TokenMissing => ANONYMOUS,
            Denied::TokenInvalid => INVALID_TOKEN,
            Denied::NoDevice => return Self::new(StatusCode::FORBIDDEN, denied.to_string()),
        };
        Self::new(StatusCode::UNAUTHORIZED, denied.to_string()).header(WWW_AUTHENTICATE, challenge)
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let detail = error.to_string();
        match error {
            AuthError::Unavailable | AuthError::Busy => Self::unavailable(detail),
            AuthError::TooMany(too_many) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, detail).header(RETRY_AFTER, too_many.retry_after_s.into())
            }
            AuthError::Credentials | AuthError::RefreshToken | AuthError::TokenMissing => {
                Self::new(StatusCode::UNAUTHORIZED, detail).header(WWW_AUTHENTICATE, ANONYMOUS)
            }
            AuthError::TokenInvalid => {
                Self::new(StatusCode::UNAUTHORIZED, detail).header(WWW_AUTHENTICATE, INVALID_TOKEN)
            }
            AuthError::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, detail),
            AuthError::NotFound(_) => Self::not_found(detail),
            AuthError::Conflict(_) => Self::new(StatusCode::CONFLICT, detail),
            AuthError::Internal(_) => {
                tracing::error!(%error, "a request met a mistake");
                internal()
            }
        }
    }
}

impl From<ChallengeError> for Problem {
    fn from(error: ChallengeError) -> Self {
        match error {
            ChallengeError::NotFound => Self::not_found(error.to_string()),
            ChallengeError::Conflict(status) => {
                Self::new(StatusCode::CONFLICT, error.to_string()).member("challengeStatus", status.as_str().into())
            }
            ChallengeError::WrongOtc { tries_left } => {
                Self::new(StatusCode::FORBIDDEN, error.to_string()).member("triesLeft", tries_left.into())
            }
            ChallengeError::Overloaded => Self::unavailable("there are too many challenges at present; try again"),
            ChallengeError::Taken => Self::unavailable("try again"),
            ChallengeError::Unavailable { .. } => {
                tracing::debug!(%error, "a challenge can't be reached");
                Self::unavailable("challenges can't be reached at present; try again")
            }
            ChallengeError::Corrupt { .. } => {
                tracing::error!(%error, "a request met a challenge that can't be understood");
                internal()
            }
        }
    }
}

/// A mistake of this program: logged where it is known, not shown.
pub(crate) fn internal() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the daemon made a mistake; its log says which")
}

/// The path exists, the method is none of its methods.
#[derive(Debug)]
pub(crate) struct MethodNotAllowed {
    /// The value of `Allow` (RFC 9110, section 10.2.1).
    pub(crate) allowed: &'static str,
}

impl Reject for MethodNotAllowed {}

/// What no route took. Routes answer their own errors, so all that is left is an unknown path or method.
pub(crate) fn from_rejection(rejection: &Rejection) -> Problem {
    if let Some(MethodNotAllowed { allowed }) = rejection.find() {
        return Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("use one of these methods: {allowed}"))
            .header(ALLOW, HeaderValue::from_static(allowed));
    }
    if rejection.is_not_found() {
        return Problem::not_found("nothing is here; the paths are in docs/rest.md and docs/websocket.md");
    }
    tracing::error!(?rejection, "a route rejected a request instead of answering it");
    internal()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http_body_util::BodyExt;

    use super::*;

    async fn body(response: Response) -> Value {
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    #[tokio::test]
    async fn a_problem_has_the_members_of_the_standard() {
        let response = Problem::bad_request("`limit` is wrong").member("parameter", "limit".into()).into_response();
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(
            body(response).await,
            serde_json::json!({
                "type": "about:blank", "title": "Bad Request", "status": 400, "detail": "`limit` is wrong", "parameter": "limit"
            })
        );
    }

    #[tokio::test]
    async fn an_outage_says_when_to_try_again_and_nothing_of_the_inside() {
        let place = "redis://10.0.0.1:6379".to_owned();
        let problem = Problem::from(StoreError::Unavailable { place, reason: "refused".to_owned() });
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert!(!body(response).await.to_string().contains("10.0.0.1"));
    }

    #[test]
    fn who_has_no_token_is_told_how_to_authenticate_and_no_more() {
        let challenge = |denied: Denied| Problem::from(denied).into_response().headers()[WWW_AUTHENTICATE].clone();
        assert_eq!(challenge(Denied::TokenMissing), "Bearer realm=\"orinoco\"");
        assert_eq!(challenge(Denied::TokenInvalid), "Bearer realm=\"orinoco\", error=\"invalid_token\"");
    }
}
