//! Access tokens in this protocol: one that has expired is told apart, because clients then get a new one, and give up at any other.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use crate::{
    auth::now_ms,
    http::{Access, Denied, Viewer},
};

/// Why a client is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Missing,
    Expired,
    Invalid,
    /// No device is bound to the account.
    SeesNothing,
}

/// Who shows this token.
///
/// # Errors
/// [`Refused`]: nobody who may see anything.
pub(super) async fn viewer(access: &dyn Access, token: Option<&str>) -> Result<Viewer, Refused> {
    match access.viewer(token).await {
        Ok(viewer) => Ok(viewer),
        Err(Denied::TokenMissing) => Err(Refused::Missing),
        Err(Denied::TokenInvalid) if token.is_some_and(says_expired) => Err(Refused::Expired),
        Err(Denied::TokenInvalid) => Err(Refused::Invalid),
        Err(Denied::NoDevice) => Err(Refused::SeesNothing),
    }
}

/// How long the token lasts, s; `None` where none is needed.
pub(super) fn ttl_s(viewer: &Viewer) -> Option<u64> {
    let left_ms = viewer.credential?.expires_at_ms - now_ms();
    Some(u64::try_from(left_ms / 1000).unwrap_or(0).max(1))
}

/// Whether a token calls itself expired. It has been refused already, so its signature does not matter here.
fn says_expired(token: &str) -> bool {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }
    let claims = token.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
    let claims = claims.and_then(|claims| serde_json::from_slice::<Claims>(&claims).ok());
    claims.is_some_and(|claims| claims.exp.saturating_mul(1000) <= now_ms())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_token_is_told_from_an_invalid_one() {
        let token = |claims: &str| format!("header.{}.signature", URL_SAFE_NO_PAD.encode(claims));
        assert!(says_expired(&token(r#"{"exp":1700000000,"sub":"1"}"#)));
        assert!(!says_expired(&token(r#"{"exp":99999999999}"#)));
        for token in ["", "x", "a.b.c", "..", &token("{}"), &token(r#"{"exp":"x"}"#)] {
            assert!(!says_expired(token), "{token}");
        }
    }
}
