//! How a challenge's creator proves itself: by the header `Orinoco-Verifier`, or by its cookie.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{COOKIE, SET_COOKIE},
};
use orinoco_domain::secret::{CookieSecret, Proof, Verifier};
use warp::reply::Response;

use super::request::Request;
use crate::{
    auth::{AuthError, random},
    http::problem::Problem,
};

const VERIFIER: HeaderName = HeaderName::from_static("orinoco-verifier");
/// The prefix makes browsers insist on Secure, on Path=/ and on no Domain (RFC 6265bis, section 4.1.3.2).
const COOKIE_SECURE: &str = "__Host-orinoco-challenge";
/// On loopback http, where browsers keep no such cookie.
const COOKIE_PLAIN: &str = "orinoco-challenge";
/// How long a browser keeps the cookie beyond the challenge, seconds: for the minute in which an ended one can be read.
const COOKIE_LONGER_S: i64 = 120;

/// What the request proves itself by; none where it has nothing, or nothing of the right form.
pub(super) fn proof(request: &Request) -> Option<Proof> {
    match request.headers.get(VERIFIER) {
        Some(value) => Verifier::parse(value.to_str().ok()?).ok().map(Proof::Verifier),
        None => cookie(&request.headers, name(&request.auth().options.public_url)).map(Proof::Cookie),
    }
}

/// [`proof`], for what changes something: a page of another origin may not do it by cookie.
///
/// # Errors
/// 403; 404 without any proof.
pub(super) fn proof_to_act(request: &Request) -> Result<Proof, Problem> {
    let proof = proof(request).ok_or(orinoco_actors::ChallengeError::NotFound)?;
    if matches!(proof, Proof::Cookie(_)) {
        request.deps.origins.check_by_cookie(&request.headers)?;
    }
    Ok(proof)
}

/// The cookie of a browser that has one, else a new one: all challenges of one browser have the same, so that tabs don't lock each other
/// out.
///
/// # Errors
/// 403 for a page of another origin.
pub(super) fn cookie_to_bind(request: &Request) -> Result<CookieSecret, Problem> {
    request.deps.origins.check_by_cookie(&request.headers)?;
    match cookie(&request.headers, name(&request.auth().options.public_url)) {
        Some(secret) => Ok(secret),
        None => Ok(CookieSecret::from_bytes(random().map_err(AuthError::from)?)),
    }
}

/// Gives the browser its cookie.
pub(super) fn set_cookie(response: &mut Response, request: &Request, secret: &CookieSecret) {
    let auth = request.auth();
    let name = name(&auth.options.public_url);
    let secure = if name == COOKIE_SECURE { "; Secure" } else { "" };
    let max_age_s = auth.policy.get().challenge_ttl_ms / 1000 + COOKIE_LONGER_S;
    let text = format!("{name}={}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{secure}", secret.expose());
    // Printable ASCII, all of it.
    if let Ok(mut value) = HeaderValue::from_str(&text) {
        value.set_sensitive(true);
        response.headers_mut().append(SET_COOKIE, value);
    }
}

/// By the URL that browsers use: http is on loopback alone.
pub(in crate::http) fn name(public_url: &str) -> &'static str {
    if public_url.starts_with("https://") { COOKIE_SECURE } else { COOKIE_PLAIN }
}

/// RFC 6265, section 5.4.
fn cookie(headers: &HeaderMap, name: &str) -> Option<CookieSecret> {
    let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).and_then(|(_, value)| CookieSecret::parse(value).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let secret = CookieSecret::from_bytes([7; 32]);
        let text = format!("a=b; orinoco-challenge={}; c=d", secret.expose());
        let headers = HeaderMap::from_iter([(COOKIE, text.parse().unwrap())]);
        assert!(cookie(&headers, COOKIE_PLAIN) == Some(secret));
        assert!(cookie(&headers, COOKIE_SECURE).is_none());
        assert!(cookie(&HeaderMap::new(), COOKIE_PLAIN).is_none());
    }

    #[test]
    fn the_cookie_is_of_the_host_alone_unless_on_loopback_http() {
        assert_eq!(name("https://orinoco.example"), "__Host-orinoco-challenge");
        assert_eq!(name("http://127.0.0.1:8090"), "orinoco-challenge");
    }
}
