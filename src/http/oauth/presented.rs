//! A token that somebody shows, of either kind: what it is, and what it is worth. Nothing is rotated by showing it.

use orinoco_domain::{
    account::Account,
    refresh::{self, Decision, Family, RefreshToken, Refusal},
};

use crate::auth::{Auth, AuthError, Caller, Claims, SignedIn, call, now_ms};

/// The kinds are told apart by their form; a client's `token_type_hint` is not needed.
pub(super) enum Presented {
    Access(Claims),
    /// Genuine; `is_live`: it can be rotated.
    Refresh {
        account: Account,
        family: Family,
        is_live: bool,
    },
}

impl Presented {
    /// The client that it was given to.
    pub(super) fn client_id(&self) -> Option<&str> {
        match self {
            Self::Access(claims) => Some(&claims.client_id),
            Self::Refresh { family, .. } => family.client_id.as_deref(),
        }
    }
}

/// `None` for what is no token of a login that goes on, as far as its kind can tell: an access token's login is not looked up.
///
/// # Errors
/// A store that is away.
pub(super) async fn present(auth: &Auth, token: &str, caller: &Caller) -> Result<Option<Presented>, AuthError> {
    match RefreshToken::parse(token) {
        Ok(token) => present_refresh(auth, &token, caller).await,
        Err(_) => match auth.claims(Some(token)) {
            // The clocks of others may be off; the one that made it is not.
            Ok(claims) if claims.has_expired(now_ms()) => Ok(None),
            Ok(claims) => Ok(Some(Presented::Access(claims))),
            Err(AuthError::TokenInvalid) => Ok(None),
            Err(error) => Err(error),
        },
    }
}

async fn present_refresh(auth: &Auth, token: &RefreshToken, caller: &Caller) -> Result<Option<Presented>, AuthError> {
    let loaded = call(auth.logins.load_family(&token.family())).await?;
    let Some(family) = loaded.record else { return Ok(None) };
    let Some(account) = call(auth.accounts.by_id(family.user_id)).await? else { return Ok(None) };
    let decision =
        refresh::decide(&family, token, account.standing(), &caller.client, auth.derivation(), loaded.now_ms);
    let is_live = match decision {
        Decision::Rotate { .. } => true,
        Decision::Again { .. } | Decision::Reuse | Decision::Refused(Refusal::Replaced) => false,
        Decision::Refused(Refusal::Forged | Refusal::KeyGone | Refusal::Expired | Refusal::Ended) => return Ok(None),
    };
    Ok(Some(Presented::Refresh { account, family, is_live }))
}

/// The account of an access token whose login goes on.
///
/// # Errors
/// A store that is away.
pub(super) async fn signed_in(auth: &Auth, token: &str) -> Result<Option<SignedIn>, AuthError> {
    match auth.signed_in(Some(token)).await {
        Ok(signed_in) => Ok(Some(signed_in)),
        Err(AuthError::TokenInvalid) => Ok(None),
        Err(error) => Err(error),
    }
}
