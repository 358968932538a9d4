//! The web console: its pages, their files, and what it must know of this daemon. Its sources are in web/; `scripts/console` builds them.
//!
//! | route | answer |
//! |---|---|
//! | `GET` each path of web/pages.json | the page: one for all paths, the script shows what the path says |
//! | `GET /assets/{file}` | its script, style and pictures; the names hold a hash, so they may be kept for ever |
//! | `GET /api/v1/console` | `{"publicUrl","socketUrl","streamPublic","signup","version"}` |
//!
//! Invariant: nothing is run, shown or asked but what this daemon serves (Content-Security-Policy); paths that are not listed stay unknown.

use std::{borrow::Cow, sync::Arc, sync::LazyLock};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH},
};
use rust_embed::{Embed, EmbeddedFile};
use serde_json::json;
use warp::{Filter, filters::BoxedFilter, reply::Response};

use super::{
    HttpDeps,
    problem::Problem,
    query::Query,
    routes::{GET, answer, methods, raw_query, with},
};

/// What `scripts/console` built. A debug build reads it from the folder each time, a release build holds it.
#[derive(Embed)]
#[folder = "web/dist"]
struct Bundle;

const PAGE: &str = "index.html";
/// The console routes by the same list.
pub(super) static PATHS: LazyLock<Vec<String>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../web/pages.json")).unwrap_or_default());

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const CENTRIFUGE_PATH: &str = "/connection/websocket";

/// How the console reaches the WebSocket port.
#[derive(Debug, Clone)]
pub struct Console {
    /// `ws.public_url`; where it is `None`, the host that the page was asked of, at `socket_port`.
    pub socket_url: Option<String>,
    /// Of `ws.listen`.
    pub socket_port: u16,
    /// Whether that port speaks TLS itself.
    pub socket_is_encrypted: bool,
    /// `stream.public`.
    pub stream_is_public: bool,
}

pub(super) fn routes(deps: &Arc<HttpDeps>) -> BoxedFilter<(Response,)> {
    let page = warp::path::full()
        .and_then(|path: warp::path::FullPath| async move {
            let known = PATHS.iter().any(|known| known == path.as_str());
            if known { Ok(()) } else { Err(warp::reject::not_found()) }
        })
        .untuple_one()
        .and(methods(GET))
        .and(with(deps))
        .and(warp::header::headers_cloned())
        .map(|deps: Arc<HttpDeps>, headers: HeaderMap| answer(page(&deps, &headers)));
    let asset = warp::path!("assets" / String)
        .and_then(|name: String| async move { asset(&name).ok_or_else(warp::reject::not_found) })
        .and(methods(GET));
    let about = warp::path!("api" / "v1" / "console")
        .and(methods(GET))
        .and(with(deps))
        .and(warp::header::headers_cloned())
        .and(raw_query())
        .map(|deps: Arc<HttpDeps>, headers: HeaderMap, query: String| answer(about(&deps, &headers, &query)));
    page.or(asset).unify().or(about).unify().boxed()
}

fn page(deps: &HttpDeps, headers: &HeaderMap) -> Result<Response, Problem> {
    let missing = "this build is without the web console; run `make console`, then build again";
    let file = Bundle::get(PAGE).ok_or_else(|| Problem::new(StatusCode::SERVICE_UNAVAILABLE, missing))?;
    let etag = etag(&file);
    let is_known = headers.get_all(IF_NONE_MATCH).iter().any(|tags| {
        tags.to_str().is_ok_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag))
    });
    let mut response = Response::default();
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *response.body_mut() = body(file).into();
    }
    let policy = policy(&socket_origin(deps, headers));
    let set = response.headers_mut();
    set.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    // Asked for each time, as it names the files of this build.
    set.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    set.insert(PERMISSIONS_POLICY, HeaderValue::from_static("camera=(self), microphone=(), geolocation=()"));
    set.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    // Printable ASCII, both of them.
    for (name, value) in [(CONTENT_SECURITY_POLICY, policy), (ETAG, etag)] {
        set.insert(name, HeaderValue::from_str(&value).map_err(|_| super::problem::internal())?);
    }
    Ok(response)
}

/// A file of the bundle; `None` for what is none.
fn asset(name: &str) -> Option<Response> {
    let content_type = match name.rsplit_once('.')? {
        (_, "js") => "text/javascript; charset=utf-8",
        (_, "css") => "text/css; charset=utf-8",
        (_, "svg") => "image/svg+xml",
        _ => return None,
    };
    let file = Bundle::get(&format!("assets/{name}"))?;
    let mut response = Response::new(body(file).into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // RFC 8246: another content has another name.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    Some(response)
}

fn about(deps: &HttpDeps, headers: &HeaderMap, query: &str) -> Result<Response, Problem> {
    Query::parse(query, &[])?;
    let about = json!({
        "publicUrl": deps.auth.options.public_url,
        "socketUrl": socket_origin(deps, headers) + CENTRIFUGE_PATH,
        "streamPublic": deps.console.stream_is_public,
        "signup": if deps.auth.policy.get().signup_is_open { "open" } else { "closed" },
        "version": env!("CARGO_PKG_VERSION"),
    });
    let mut response = Response::new(about.to_string().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Scheme, host and port (a path too, where `ws.public_url` has one), without a slash at the end.
fn socket_origin(deps: &HttpDeps, headers: &HeaderMap) -> String {
    if let Some(url) = &deps.console.socket_url {
        return url.clone();
    }
    // A page that came by https may not open a socket without TLS: where the port itself has none, a proxy does.
    let is_encrypted = deps.console.socket_is_encrypted || deps.auth.options.public_url.starts_with("https://");
    let scheme = if is_encrypted { "wss" } else { "ws" };
    let host = headers.get(HOST).and_then(|host| host_of(host.to_str().ok()?)).unwrap_or("127.0.0.1");
    format!("{scheme}://{host}:{}", deps.console.socket_port)
}

/// The host of `host:port` (RFC 9110, section 7.2). It becomes part of a policy: none that holds what separates a policy's parts.
fn host_of(authority: &str) -> Option<&str> {
    let end = authority.rfind(']').map_or_else(|| authority.find(':').unwrap_or(authority.len()), |end| end + 1);
    let host = &authority[..end];
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']');
    (!host.is_empty() && host.bytes().all(allowed)).then_some(host)
}

fn policy(socket_origin: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self' {socket_origin}/; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

fn etag(file: &EmbeddedFile) -> String {
    let hash = file.metadata.sha256_hash();
    let hex: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

fn body(file: EmbeddedFile) -> Bytes {
    match file.data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_anything_that_a_policy_would_read_is_none() {
        assert_eq!(host_of("127.0.0.1:8090"), Some("127.0.0.1"));
        assert_eq!(host_of("orinoco.example"), Some("orinoco.example"));
        assert_eq!(host_of("[::1]:8090"), Some("[::1]"));
        for other in ["", ":8090", "a;script-src *", "a 'unsafe-inline'", "a,b", "a/b"] {
            assert_eq!(host_of(other), None, "{other}");
        }
    }

    #[test]
    fn the_list_of_paths_is_read() {
        assert!(PATHS.contains(&"/".to_owned()) && PATHS.contains(&"/qr".to_owned()));
    }
}
