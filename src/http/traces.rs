//! Spans of what logins ask for (OpenTelemetry semantic conventions 1.37, HTTP server spans).
//!
//! Other requests are not traced. A path is told by its route alone, without `url.path`: the id in it lets its owner in.

use http::{HeaderMap, StatusCode};
use orinoco_actors::Tracer;
use orinoco_domain::{TraceContext, mix};
use orinoco_ports::{Span, SpanKind, SpanValue};

use super::{api, oauth};
use crate::auth::random;

const HEADER: &str = "traceparent";

/// How the paths begin that logins ask for.
const LOGIN: [&str; 3] = ["/api/v1/auth/", "/api/v1/qr/challenges", "/api/v1/sessions"];

/// A request that is traced.
pub(super) struct RequestTrace {
    context: TraceContext,
    parent: Option<u64>,
    pattern: &'static str,
    begun_ns: u64,
}

impl RequestTrace {
    /// `None` where nothing is traced, the request is none of a login, its `traceparent` says that it is not recorded, or it came without and
    /// is not of the ratio.
    pub(super) fn begin(tracer: &Tracer, path: &str, headers: &HeaderMap) -> Option<Self> {
        if !tracer.is_on() {
            return None;
        }
        let pattern = pattern_of(path)?;
        let given = given(headers);
        if given.is_some_and(|given| !given.is_sampled()) {
            return None;
        }
        let bytes: [u8; 24] = random().ok()?;
        let (trace_id, span_id) = bytes.split_at(16);
        let span_id = u64::from_be_bytes(span_id.try_into().ok()?);
        let (context, parent) = match given {
            Some(given) => (given.child(mix(span_id)), Some(given.span_id())),
            None => {
                let trace_id = u128::from_be_bytes(trace_id.try_into().ok()?);
                (TraceContext::new(trace_id, span_id, true).filter(|_| tracer.begins(trace_id))?, None)
            }
        };
        Some(Self { context, parent, pattern, begun_ns: tracer.now_ns() })
    }

    /// The head of the answer is there.
    pub(super) fn finish(self, tracer: &Tracer, method: &str, is_tls: bool, status: StatusCode) {
        // Clients must not be able to make values.
        let method = if method == "other" { "_OTHER" } else { method };
        let route = route(self.pattern);
        let mut attributes = vec![
            ("http.request.method", SpanValue::Text(method.to_owned())),
            ("http.route", SpanValue::Text(route.clone())),
            ("url.scheme", SpanValue::Word(if is_tls { "https" } else { "http" })),
            ("http.response.status_code", SpanValue::Integer(i64::from(status.as_u16()))),
        ];
        if status.is_server_error() {
            attributes.push(("error.type", SpanValue::Text(status.as_str().to_owned())));
        }
        tracer.finish(Span {
            context: self.context,
            parent: self.parent,
            name: format!("{method} {route}"),
            kind: SpanKind::Server,
            begun_ns: self.begun_ns,
            ended_ns: tracer.now_ns(),
            attributes,
            error: status.is_server_error().then(|| status.to_string()),
        });
    }
}

/// More than one is as none (W3C Trace Context, section 3.2).
fn given(headers: &HeaderMap) -> Option<TraceContext> {
    let mut all = headers.get_all(HEADER).iter();
    let first = all.next().filter(|_| all.next().is_none())?;
    TraceContext::parse(first.to_str().ok()?)
}

/// Of what logins ask for, as the tables of paths have it.
fn pattern_of(path: &str) -> Option<&'static str> {
    let is_of_login = |pattern: &&str| LOGIN.iter().any(|beginning| pattern.starts_with(beginning));
    oauth::pattern_of(path).or_else(|| api::pattern_of(path).filter(is_of_login))
}

fn route(pattern: &str) -> String {
    pattern.replace('*', "{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_by_its_route() {
        for (path, route) in [
            ("/api/v1/auth/login", Some("/api/v1/auth/login")),
            ("/api/v1/qr/challenges", Some("/api/v1/qr/challenges")),
            ("/api/v1/qr/challenges/abc", Some("/api/v1/qr/challenges/{id}")),
            ("/api/v1/qr/challenges/abc/scan", Some("/api/v1/qr/challenges/{id}/scan")),
            ("/api/v1/qr/challenges/", None),
            ("/api/v1/qr/challenges/abc/else", None),
            ("/api/v1/devices", None),
            ("", None),
        ] {
            assert_eq!(pattern_of(path).map(super::route).as_deref(), route, "{path}");
        }
    }

    #[test]
    fn two_headers_are_as_none() {
        let parent = http::HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let mut headers = HeaderMap::new();
        headers.append(HEADER, parent.clone());
        assert!(given(&headers).is_some());
        headers.append(HEADER, parent);
        assert!(given(&headers).is_none());
    }
}
