//! What answers have alike: headers, and errors in both forms.

use serde_json::{Map, Value, json};

use super::schemas::reference;

/// The name of what HEAD is answered.
pub(super) const BODILESS: &str = "Bodiless";

/// The errors that are described.
const STATUSES: [u16; 11] = [400, 401, 403, 404, 408, 409, 413, 415, 429, 500, 503];

/// Of every answer (`routes::with_security_headers`).
const COMMON: [(&str, &str, &str); 5] = [
    ("X-Content-Type-Options", "ContentTypeOptions", "`nosniff`."),
    ("X-Frame-Options", "FrameOptions", "`DENY`."),
    ("Referrer-Policy", "ReferrerPolicy", "`no-referrer`."),
    ("Content-Security-Policy", "ContentSecurityPolicy", "What a browser may load for it."),
    ("Cache-Control", "CacheControl", "`no-store`, unless it may be kept."),
];

/// Where `http.allowed_origins` lists any (`Origins`).
const OF_ORIGINS: [(&str, &str, &str); 4] = [
    ("Vary", "Vary", "`origin`, where `http.allowed_origins` lists any."),
    ("Access-Control-Allow-Origin", "AllowOrigin", "The page's origin, where it is listed in `http.allowed_origins`."),
    ("Access-Control-Allow-Credentials", "AllowCredentials", "`true`, for a listed origin."),
    ("Access-Control-Expose-Headers", "ExposeHeaders", "What a page of a listed origin may read."),
];

/// The form of an operation's errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errors {
    /// RFC 9457.
    Problems,
    /// RFC 6749, section 5.2.
    OAuth,
}

impl Errors {
    pub(super) fn reference(self, status: u16) -> Value {
        let name = self.name(status);
        json!({ "$ref": format!("#/components/responses/{name}") })
    }

    fn name(self, status: u16) -> String {
        match self {
            Self::Problems => format!("Problem{status}"),
            Self::OAuth => format!("OAuthError{status}"),
        }
    }

    fn response(self, status: u16) -> Value {
        let content = match self {
            Self::Problems => json!({ "application/problem+json": { "schema": reference("Problem") } }),
            Self::OAuth => json!({ "application/json": { "schema": reference("OAuthError") } }),
        };
        let mut headers = common_headers();
        if matches!(status, 429 | 503) {
            headers["Retry-After"] = json!({ "$ref": "#/components/headers/RetryAfter" });
        }
        if status == 401 {
            headers["WWW-Authenticate"] = match self {
                Self::Problems => json!({ "$ref": "#/components/headers/Authenticate" }),
                Self::OAuth => header("For a bearer token, or a client that tried Basic.", false),
            };
        }
        if self == Self::OAuth {
            headers["Pragma"] = pragma();
        }
        json!({ "description": meaning(status), "headers": headers, "content": content })
    }
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "Something in the request is wrong; the answer names it",
        401 => "Log in, or refresh",
        403 => "Not allowed",
        404 => "There is none, or not for this caller",
        408 => "The body did not come in 30 s",
        409 => "Too late, or taken already",
        413 => "The body is longer than `http.body_bytes_max`",
        415 => "Send another `Content-Type`",
        429 => "Too many requests: wait `Retry-After` seconds",
        503 => "Something behind does not work at present: wait `Retry-After` seconds, try again",
        _ => "The daemon made a mistake; its log says which",
    }
}

pub(super) fn header(description: &str, required: bool) -> Value {
    json!({ "description": description, "required": required, "schema": { "type": "string" } })
}

/// Of every answer below `/oauth`.
pub(super) fn pragma() -> Value {
    header("`no-cache` (RFC 6749, section 5.1).", true)
}

/// References, for each answer that is described in its place.
pub(super) fn common_headers() -> Value {
    let all = COMMON.iter().chain(&OF_ORIGINS);
    all.map(|(header, name, _)| ((*header).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") })))
        .collect::<Map<_, _>>()
        .into()
}

pub(super) fn headers() -> Value {
    let common = COMMON.iter().map(|(_, name, says)| ((*name).to_owned(), header(says, true)));
    let of_origins = OF_ORIGINS.iter().map(|(_, name, says)| ((*name).to_owned(), header(says, false)));
    let mut headers: Map<String, Value> = common.chain(of_origins).collect();
    let seconds = json!({ "type": "integer", "minimum": 1 });
    let retry_after = json!({ "description": "Seconds to wait.", "required": true, "schema": seconds });
    headers.insert("RetryAfter".to_owned(), retry_after);
    headers.insert("Authenticate".to_owned(), header("RFC 6750, section 3.", true));
    headers.into()
}

pub(super) fn responses() -> Value {
    let mut responses = Map::new();
    for errors in [Errors::Problems, Errors::OAuth] {
        for status in STATUSES {
            responses.insert(errors.name(status), errors.response(status));
        }
    }
    let says = "The status and the headers that GET would be answered with";
    responses.insert(BODILESS.to_owned(), json!({ "description": says, "headers": common_headers() }));
    responses.into()
}
