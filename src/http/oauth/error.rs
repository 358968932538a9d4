//! Errors in the form of RFC 6749, section 5.2: `{"error","error_description"}`.

use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{ALLOW, WWW_AUTHENTICATE},
};
use orinoco_actors::ChallengeError;
use serde_json::json;
use warp::reply::Response;

use crate::{
    auth::AuthError,
    http::{challenges::Failed, problem::Problem},
};

/// Of a client that tried to authenticate by this scheme (RFC 6749, section 5.2).
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"orinoco\"");

#[derive(Debug)]
pub(super) struct OAuthError {
    status: StatusCode,
    error: &'static str,
    description: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl OAuthError {
    /// 400, with a code of the registry "OAuth Extensions Error".
    pub(super) fn new(error: &'static str, description: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, description: description.into(), headers: Vec::new() }
    }

    pub(super) fn invalid_request(description: impl Into<String>) -> Self {
        Self::new("invalid_request", description)
    }

    /// Whatever is wrong with a code or a token: who may not use it is not told.
    pub(super) fn invalid_grant(description: &str) -> Self {
        Self::new("invalid_grant", description)
    }

    pub(super) fn invalid_client(description: &str) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, ..Self::new("invalid_client", description) }
    }

    /// For a client that sent the header `Authorization: Basic`.
    pub(super) fn client_without_secret() -> Self {
        let headers = vec![(WWW_AUTHENTICATE, BASIC)];
        Self { headers, ..Self::invalid_client("clients have no secret here: send client_id in the body, and no more") }
    }

    pub(super) fn method_not_allowed() -> Self {
        let headers = vec![(ALLOW, HeaderValue::from_static("POST"))];
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self { status, headers, ..Self::invalid_request("use the method POST") }
    }

    pub(super) fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": printable(&self.description) });
        let mut response = super::json(self.status, &body);
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// RFC 6749, appendix A.8: ASCII without control characters, quotes and backslashes.
fn printable(text: &str) -> String {
    let legal = |character: char| match character {
        '"' => '\'',
        ' '..='~' if character != '\\' => character,
        _ => '?',
    };
    text.chars().map(legal).collect()
}

impl From<Problem> for OAuthError {
    fn from(problem: Problem) -> Self {
        let (status, description, headers) = problem.into_parts();
        let error = match status {
            StatusCode::UNAUTHORIZED => "invalid_token",
            StatusCode::FORBIDDEN => "access_denied",
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "temporarily_unavailable",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request",
        };
        Self { status, error, description, headers }
    }
}

impl From<AuthError> for OAuthError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::RefreshToken => Self::invalid_grant("the refresh token is not valid for this client"),
            // Of the account that approved.
            AuthError::Forbidden(detail) => Self::new("access_denied", detail),
            error => Problem::from(error).into(),
        }
    }
}

impl From<ChallengeError> for OAuthError {
    fn from(error: ChallengeError) -> Self {
        match error {
            ChallengeError::NotFound => Self::invalid_grant("the device_code is not valid for this client"),
            error => Problem::from(error).into(),
        }
    }
}

impl From<Failed> for OAuthError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Challenge(error) => error.into(),
            Failed::Auth(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_has_no_character_that_the_standard_forbids() {
        assert_eq!(printable("a \"b\" \\ ä \n`c`"), "a 'b' ? ? ?`c`");
    }
}
