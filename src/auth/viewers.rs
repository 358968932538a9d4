//! Who may watch coordinates, by access token.
//!
//! A token is believed without asking a store, so that those who have one go on watching while the accounts or the logins are away: its
//! roles and its device are the account's when it was made, at most `auth.access_token_ttl_s` ago. That its login ended is known by
//! publication (see `live`); only where all logins of its user ended at about the token's time are the stores asked.

use std::sync::Arc;

use async_trait::async_trait;
use orinoco_actors::View;

use super::{Auth, AuthError, Claims, Watch, now_ms};
use crate::http::{Access, Credential, Denied, Viewer};

/// Access by token; anyone sees all where `public`, but for who shows a token that is none: RFC 6750 section 3.1 has it refused, and a
/// client learns so that it has to get another.
pub struct TokenAccess {
    auth: Arc<Auth>,
    public: bool,
}

impl TokenAccess {
    #[must_use]
    pub fn new(auth: Arc<Auth>, public: bool) -> Self {
        Self { auth, public }
    }
}

#[async_trait]
impl Access for TokenAccess {
    async fn viewer(&self, token: Option<&str>) -> Result<Viewer, Denied> {
        if self.public && token.is_none() {
            return Ok(Viewer::of(View::All));
        }
        let claims = self.auth.live_claims(token).await.map_err(|error| match error {
            AuthError::TokenMissing => Denied::TokenMissing,
            _ => Denied::TokenInvalid,
        })?;
        // The leeway is for calls: a socket that is open ends when its token does, so none is opened after that.
        if claims.has_expired(now_ms()) {
            return Err(Denied::TokenInvalid);
        }
        if self.public {
            return Ok(Viewer::of(View::All));
        }
        let credential = Credential {
            login: claims.login(),
            issued_at_ms: claims.issued_at_ms,
            expires_at_ms: claims.expires_at_ms,
        };
        Ok(Viewer { view: view(&claims).ok_or(Denied::NoDevice)?, credential: Some(credential) })
    }

    fn watch(&self, credential: Credential) -> Option<Watch> {
        Some(self.auth.live.watch(credential.login, credential.issued_at_ms))
    }
}

/// A USER sees its own device, an ADMIN all.
fn view(claims: &Claims) -> Option<View> {
    if claims.is_admin() { Some(View::All) } else { claims.orin_id.clone().map(View::Device) }
}
