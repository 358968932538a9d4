//! Access tokens: JWT (RFC 7519) in the profile of RFC 9068, signed with Ed25519 (RFC 8037).
//!
//! Invariants: the header has exactly `alg`, `typ` and `kid`, so that no key, certificate or extension named by a token is ever looked at;
//! `alg` is EdDSA and the key is one of ours; `iss`, `aud`, `sub`, `exp`, `iat`, `sid` and `roles` are there, and of times the clock may
//! be [`LEEWAY_MS`] off.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Header, Validation};
use orinoco_domain::{
    DeviceId,
    account::{Account, Role, UserId},
    refresh::FamilyId,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::{Login, key_ring::KeyRing, random::random};

/// How far two clocks may be apart, ms.
pub(super) const LEEWAY_MS: i64 = 60_000;
/// RFC 9068, section 2.1.
const TYPE: &str = "at+jwt";
/// `aud` of all tokens: this interface.
pub const AUDIENCE: &str = "orinoco";
/// `client_id` of a login by the REST interface itself.
const FIRST_PARTY: &str = "orinoco";
/// A token of ours is far shorter.
const LENGTH_MAX: usize = 4096;

/// What a valid token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// `iss`: this daemon's, or that of one beside it.
    pub issuer: String,
    pub user_id: UserId,
    /// `sid`: the login.
    pub session: FamilyId,
    pub roles: BTreeSet<Role>,
    /// The device bound to the account when the token was made.
    pub orin_id: Option<DeviceId>,
    /// `jti`.
    pub token_id: String,
    pub client_id: String,
    /// ms since 1970.
    pub issued_at_ms: i64,
    /// ms since 1970; the token is taken for [`LEEWAY_MS`] longer.
    pub expires_at_ms: i64,
}

impl Claims {
    #[must_use]
    pub fn login(&self) -> Login {
        Login { user_id: self.user_id, session: self.session }
    }

    /// Whether `exp` is over, the leeway left out.
    #[must_use]
    pub fn has_expired(&self, now_ms: i64) -> bool {
        self.expires_at_ms <= now_ms
    }

    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.roles.contains(&Role::Admin)
    }
}

#[derive(Serialize, Deserialize)]
struct WireClaims {
    iss: String,
    sub: String,
    aud: String,
    exp: i64,
    iat: i64,
    jti: String,
    client_id: String,
    sid: FamilyId,
    roles: BTreeSet<Role>,
    #[serde(rename = "orinId", default, skip_serializing_if = "Option::is_none")]
    orin_id: Option<String>,
}

/// RFC 7515, section 4. Every other parameter is refused by its presence: `jku`, `jwk`, `x5u`, `x5c` name a key, `crit` asks for more than
/// is known here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireHeader {
    alg: String,
    typ: String,
    kid: String,
}

/// Why; for the log. The client is told none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    #[error("its header is not one of ours")]
    Header,
    #[error("its key is not one of ours")]
    UnknownKey,
    #[error("its signature or its claims are not ours, or it has expired")]
    Claims,
    #[error("it was made in the future")]
    Future,
}

/// No token can be made: a mistake of this program or this machine.
#[derive(Debug, thiserror::Error)]
#[error("no access token can be made: {0}")]
pub struct IssueError(String);

/// Makes and checks access tokens.
pub struct AccessTokens {
    ring: Arc<KeyRing>,
    issuer: String,
    ttl_ms: i64,
    validation: Validation,
}

impl AccessTokens {
    /// `issuer`: the public URL.
    #[must_use]
    pub fn new(ring: Arc<KeyRing>, issuer: String, ttl_ms: i64) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.leeway = LEEWAY_MS.unsigned_abs() / 1000;
        validation.validate_nbf = true;
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Self { ring, issuer, ttl_ms, validation }
    }

    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Seconds.
    #[must_use]
    pub fn expires_in_s(&self) -> i64 {
        self.ttl_ms / 1000
    }

    /// # Errors
    /// [`IssueError`].
    pub fn issue(
        &self,
        account: &Account,
        session: FamilyId,
        client_id: Option<&str>,
        now_ms: i64,
    ) -> Result<String, IssueError> {
        let failed = |error: &dyn std::fmt::Display| IssueError(error.to_string());
        let key = self.ring.signing_at(now_ms).ok_or_else(|| failed(&"there is no signing key"))?;
        let id: [u8; 16] = random().map_err(|error| failed(&error))?;
        let claims = WireClaims {
            iss: self.issuer.clone(),
            sub: account.id.to_string(),
            aud: AUDIENCE.to_owned(),
            exp: (now_ms + self.ttl_ms) / 1000,
            iat: now_ms / 1000,
            jti: URL_SAFE_NO_PAD.encode(id),
            client_id: client_id.unwrap_or(FIRST_PARTY).to_owned(),
            sid: session,
            roles: account.roles.clone(),
            orin_id: account.orin_id.as_ref().map(|device| device.as_str().to_owned()),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(key.kid.clone());
        jsonwebtoken::encode(&header, &claims, &key.encoding).map_err(|error| failed(&error))
    }

    /// # Errors
    /// [`InvalidToken`].
    pub fn verify(&self, token: &str, now_ms: i64) -> Result<Claims, InvalidToken> {
        let header = header(token).ok_or(InvalidToken::Header)?;
        // RFC 9068, section 4: the type is compared without regard to case, and may have its prefix.
        let typ = header.typ.to_ascii_lowercase();
        if header.alg != "EdDSA" || typ.strip_prefix("application/").unwrap_or(&typ) != TYPE {
            return Err(InvalidToken::Header);
        }
        let key = self.ring.by_kid(&header.kid).ok_or(InvalidToken::UnknownKey)?;
        let decoded = jsonwebtoken::decode::<WireClaims>(token, &key.decoding, &self.validation);
        let wire = decoded.map_err(|_| InvalidToken::Claims)?.claims;
        // Daemons on one machine that share a key file, each with a port of its own, are one issuer.
        if wire.iss != self.issuer && !(is_loopback(&wire.iss) && is_loopback(&self.issuer)) {
            return Err(InvalidToken::Claims);
        }
        let (issued_at_ms, expires_at_ms) = (wire.iat.saturating_mul(1000), wire.exp.saturating_mul(1000));
        if issued_at_ms > now_ms.saturating_add(LEEWAY_MS) {
            return Err(InvalidToken::Future);
        }
        let orin_id = wire.orin_id.as_deref().map(DeviceId::parse).transpose().map_err(|_| InvalidToken::Claims)?;
        Ok(Claims {
            issuer: wire.iss,
            user_id: UserId(wire.sub.parse().map_err(|_| InvalidToken::Claims)?),
            session: wire.sid,
            roles: wire.roles,
            orin_id,
            token_id: wire.jti,
            client_id: wire.client_id,
            issued_at_ms,
            expires_at_ms,
        })
    }
}

/// Whether an issuer is a daemon without a public URL.
fn is_loopback(issuer: &str) -> bool {
    ["http://127.0.0.1:", "http://localhost:", "http://[::1]:"].iter().any(|prefix| issuer.starts_with(prefix))
}

fn header(token: &str) -> Option<WireHeader> {
    if token.len() > LENGTH_MAX || token.bytes().filter(|byte| *byte == b'.').count() != 2 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests;
