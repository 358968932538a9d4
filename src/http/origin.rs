//! Where a browser's request comes from: CORS (WHATWG Fetch) for listed origins, and the guard of what is done by cookie.
//!
//! Invariants: an origin is listed to the letter or not at all; what a cookie proves is done only for pages of this interface, or listed ones.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
    },
};
use warp::reply::Response;

use super::problem::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
const HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, orinoco-verifier, last-event-id, cache-control");
const EXPOSED: HeaderValue = HeaderValue::from_static("retry-after, www-authenticate");
/// Seconds for which a browser need not ask again.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("600");

/// The origins that are let in.
#[derive(Debug, Clone)]
pub struct Origins {
    /// Of `http.public_url`.
    own: String,
    /// `http.allowed_origins`.
    listed: Vec<String>,
}

impl Origins {
    #[must_use]
    pub fn new(public_url: &str, listed: Vec<String>) -> Self {
        Self { own: origin_of(public_url), listed }
    }

    fn is_listed(&self, origin: &str) -> bool {
        self.listed.iter().any(|listed| listed == origin)
    }

    /// The answer to a preflight of a listed origin.
    pub(super) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        let is_preflight = method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        self.listed_origin(headers).filter(|_| is_preflight)?;
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        let answer = response.headers_mut();
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
        Some(response)
    }

    /// Says that a page of this listed origin may read the answer.
    pub(super) fn allow(&self, origin: Option<HeaderValue>, response: &mut Response) {
        if self.listed.is_empty() {
            return;
        }
        let headers = response.headers_mut();
        headers.append(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }

    pub(super) fn listed_origin<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        headers.get(ORIGIN).filter(|origin| origin.to_str().is_ok_and(|origin| self.is_listed(origin)))
    }

    /// Lets through what a page of this interface, a listed one, or no page at all asks for by cookie.
    ///
    /// # Errors
    /// 403.
    pub(super) fn check_by_cookie(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let is_ours = |origin: &str| {
            let host = text(HOST).unwrap_or_default();
            origin == self.own
                || self.is_listed(origin)
                || origin.split_once("://").is_some_and(|(_, rest)| rest == host)
        };
        let allowed = match (text(SEC_FETCH_SITE), text(ORIGIN)) {
            (Some("same-origin" | "none"), _) | (None, None) => true,
            (Some(_), origin) => origin.is_some_and(|origin| self.is_listed(origin)),
            (None, Some(origin)) => is_ours(origin),
        };
        let refused = || Problem::new(StatusCode::FORBIDDEN, "a page of another origin may not do this by cookie");
        allowed.then_some(()).ok_or_else(refused)
    }
}

/// Scheme, host and port of a URL.
fn origin_of(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    format!("{scheme}://{}", authority.strip_suffix(default_port).unwrap_or(authority)).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn origins() -> Origins {
        Origins::new("https://orinoco.example/base/", vec!["https://app.example".to_owned()])
    }

    #[test]
    fn only_listed_origins_may_read_answers() {
        let allowed = |origin: &str| {
            let mut response = Response::default();
            let listed = origins().listed_origin(&headers(&[("origin", origin)])).cloned();
            origins().allow(listed, &mut response);
            response.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(allowed("https://app.example"), Some("https://app.example".to_owned()));
        for other in ["https://app.example.evil", "http://app.example", "null", "https://APP.example"] {
            assert_eq!(allowed(other), None, "{other}");
        }
    }

    #[test]
    fn a_preflight_is_answered_for_listed_origins_alone() {
        let asked = |origin: &str| {
            let headers = headers(&[("origin", origin), ("access-control-request-method", "POST")]);
            origins().preflight(&Method::OPTIONS, &headers).is_some()
        };
        assert!(asked("https://app.example") && !asked("https://evil.example"));
        assert!(origins().preflight(&Method::OPTIONS, &headers(&[("origin", "https://app.example")])).is_none());
    }

    #[test]
    fn other_origins_do_nothing_by_cookie() {
        let may = |pairs: &[(&'static str, &str)]| origins().check_by_cookie(&headers(pairs)).is_ok();
        assert!(may(&[]), "no browser");
        assert!(may(&[("sec-fetch-site", "same-origin"), ("origin", "https://orinoco.example")]));
        assert!(may(&[("sec-fetch-site", "none")]));
        assert!(may(&[("sec-fetch-site", "cross-site"), ("origin", "https://app.example")]));
        assert!(may(&[("origin", "https://orinoco.example")]));
        assert!(may(&[("origin", "http://127.0.0.1:8090"), ("host", "127.0.0.1:8090")]));
        assert!(!may(&[("sec-fetch-site", "cross-site")]));
        assert!(!may(&[("sec-fetch-site", "same-site"), ("origin", "https://evil.orinoco.example")]));
        assert!(!may(&[("origin", "https://evil.example"), ("host", "127.0.0.1:8090")]));
        assert!(!may(&[("origin", "null"), ("host", "127.0.0.1:8090")]));
    }

    #[test]
    fn an_origin_has_no_default_port() {
        assert_eq!(origin_of("https://A.example:443/x"), "https://a.example");
        assert_eq!(origin_of("http://a.example:8090"), "http://a.example:8090");
    }
}
