//! Login, refresh, logout; who a request is from.

use std::net::IpAddr;

use orinoco_domain::{
    ClientInfo,
    account::{Account, Email, UserId},
    audit::AuditEvent,
    refresh::{self, Decision, Family, FamilyId, NewFamily, RefreshToken},
    secret::Salt,
};
use orinoco_ports::{EndReason, FamilyPage, Loaded, LoginStoreError, Rehash, Swap};

use super::{
    Auth, AuthError, Claims, Limited, Password, call, live::Standing, notices, now_ms, passwords::Verdict, random,
};

/// Tries to draw a family's id that nobody has.
const DRAWS_MAX: usize = 3;
/// Tries to rotate against others.
const ROTATIONS_MAX: usize = 32;

/// Who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    pub address: IpAddr,
    pub client: ClientInfo,
}

/// What a login gives out. Not serialisable: REST and OAuth each have names of their own for it.
#[derive(Clone)]
pub struct TokenPair {
    pub access_token: String,
    pub refresh_token: RefreshToken,
    /// Seconds until the access token expires.
    pub expires_in_s: i64,
}

/// An account that is logged in, as it is now.
#[derive(Debug)]
pub struct SignedIn {
    pub account: Account,
    pub claims: Claims,
}

impl Auth {
    /// # Errors
    /// `Credentials` whatever of them is wrong; `TooMany`; `Busy`.
    pub async fn log_in(&self, email: &str, password: Password, caller: &Caller) -> Result<TokenPair, AuthError> {
        self.limits.check(Limited::Login, caller.address)?;
        // What is no address is no account's, and costs the same.
        let email = Email::parse(email).ok();
        if let Some(email) = &email
            && let Err(too_many) = self.limits.check_account(email, caller.address)
        {
            tracing::warn!(address = %caller.address, "too many logins at one account");
            return Err(too_many.into());
        }
        let account = match &email {
            Some(email) => call(self.accounts.by_email(email)).await?,
            None => None,
        };
        let hash = account.as_ref().map(|account| &account.password_hash);
        let verdict = self.passwords.verify(password.clone(), hash).await?;
        match (account, verdict) {
            (Some(account), Verdict::Right { outdated }) if account.enabled => {
                if outdated {
                    self.rehash(&account, password).await;
                }
                let pair = self.begin_session(&account, None, caller).await?;
                self.audit().write(AuditEvent::LoginSuccess, Some(account.id), Some(caller.address), "password").await;
                Ok(pair)
            }
            (account, verdict) => {
                let detail = match (&account, verdict) {
                    (None, _) => "unknown account",
                    (Some(_), Verdict::Wrong) => "wrong password",
                    (Some(_), Verdict::Right { .. }) => "disabled account",
                };
                let user_id = account.map(|account| account.id);
                self.audit().write(AuditEvent::LoginFail, user_id, Some(caller.address), detail).await;
                Err(AuthError::Credentials)
            }
        }
    }

    /// The login goes on, whether that succeeds or not: there is a next one.
    async fn rehash(&self, account: &Account, password: Password) {
        let replaced = async {
            let hash = self.passwords.hash(password).await?;
            call(self.accounts.replace_password_hash(account.id, &account.password_hash, &hash, Rehash::Parameters))
                .await
        };
        if let Err(error) = replaced.await {
            tracing::debug!(%error, user = account.id.0, "a password keeps its old parameters");
        }
    }

    /// A login of an account that proved itself.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn begin_session(
        &self,
        account: &Account,
        client_id: Option<&str>,
        caller: &Caller,
    ) -> Result<TokenPair, AuthError> {
        for _ in 0..DRAWS_MAX {
            let new = self.new_family(account, client_id, caller)?;
            let now_ms = call(self.logins.now_ms()).await?;
            let (family, token) = new.begin(self.derivation().current(), now_ms);
            match call_store(self.logins.create_family(&family)).await? {
                Ok(()) => {
                    return self.token_pair(account, &family, token);
                }
                Err(LoginStoreError::Taken { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(AuthError::Internal("every id that was drawn for a login is taken".to_owned()))
    }

    /// What a login of the account is made from.
    ///
    /// # Errors
    /// No random bytes.
    pub fn new_family(
        &self,
        account: &Account,
        client_id: Option<&str>,
        caller: &Caller,
    ) -> Result<NewFamily, AuthError> {
        Ok(NewFamily {
            id: FamilyId::from_bytes(random()?),
            user_id: account.id,
            generation: account.generation,
            client_id: client_id.map(Into::into),
            salt: Salt::from_bytes(random()?),
            client: caller.client.clone(),
            ttl_ms: self.policy.get().refresh_token_ttl_ms,
        })
    }

    /// The tokens of a login that is in the store.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn token_pair(
        &self,
        account: &Account,
        family: &Family,
        refresh_token: RefreshToken,
    ) -> Result<TokenPair, AuthError> {
        let client_id = family.client_id.as_deref();
        let access_token = self.tokens.issue(account, family.id, client_id, now_ms())?;
        Ok(TokenPair { access_token, refresh_token, expires_in_s: self.tokens.expires_in_s() })
    }

    /// Rotates a refresh token. `client_id`: the OAuth client that presents it; none for the REST interface.
    ///
    /// # Errors
    /// `RefreshToken` whatever is wrong with it.
    pub async fn refresh(&self, token: &str, client_id: Option<&str>, caller: &Caller) -> Result<TokenPair, AuthError> {
        self.limits.check(Limited::Refresh, caller.address)?;
        let token = RefreshToken::parse(token).map_err(|_| AuthError::RefreshToken)?;
        let Loaded { record, mut now_ms } = call(self.logins.load_family(&token.family())).await?;
        let mut family = record.ok_or(AuthError::RefreshToken)?;
        if family.client_id.as_deref() != client_id {
            return Err(AuthError::RefreshToken);
        }
        for _ in 0..ROTATIONS_MAX {
            let account = call(self.accounts.by_id(family.user_id)).await?.ok_or(AuthError::RefreshToken)?;
            let keys = self.derivation();
            match refresh::decide(&family, &token, account.standing(), &caller.client, keys, now_ms) {
                Decision::Rotate { next, successor } => match call(self.logins.swap_family(&next)).await? {
                    Swap::Swapped => return self.token_pair(&account, &next, successor),
                    Swap::Conflict { current, now_ms: then_ms } => (family, now_ms) = (current, then_ms),
                    Swap::Gone => return Err(AuthError::RefreshToken),
                },
                Decision::Again { successor } => return self.token_pair(&account, &family, successor),
                Decision::Refused(reason) => {
                    tracing::debug!(%reason, user = account.id.0, "a refresh token was refused");
                    return Err(AuthError::RefreshToken);
                }
                Decision::Reuse => {
                    self.end_reused(&family, caller).await?;
                    return Err(AuthError::RefreshToken);
                }
            }
        }
        Err(AuthError::Unavailable)
    }

    async fn end_reused(&self, family: &Family, caller: &Caller) -> Result<(), AuthError> {
        let ended = call(self.logins.end_family(&family.id, EndReason::Reuse)).await?;
        if ended.is_some() {
            let detail = notices::line(family.id);
            self.audit().write(AuditEvent::TokenReuse, Some(family.user_id), Some(caller.address), &detail).await;
        }
        Ok(())
    }

    /// What a token says that is valid as far as this daemon knows without asking a store: for those who ask the stores anyway. Others
    /// take [`Self::live_claims`].
    ///
    /// # Errors
    /// `TokenMissing`, `TokenInvalid`.
    pub fn claims(&self, token: Option<&str>) -> Result<Claims, AuthError> {
        let token = token.ok_or(AuthError::TokenMissing)?;
        let claims = self.tokens.verify(token, now_ms())?;
        if self.live.standing(claims.login(), claims.issued_at_ms) == Standing::Ended {
            return Err(AuthError::TokenInvalid);
        }
        Ok(claims)
    }

    /// The account of a request, as both stores have it now.
    ///
    /// # Errors
    /// `TokenMissing`, `TokenInvalid` (an ended login and a disabled account too), `Unavailable`.
    pub async fn signed_in(&self, token: Option<&str>) -> Result<SignedIn, AuthError> {
        let claims = self.claims(token)?;
        let account = call(self.accounts.by_id(claims.user_id)).await?;
        let family = call(self.logins.load_family(&claims.session)).await?.record;
        match (account, family) {
            (Some(account), Some(family))
                if account.enabled && family.user_id == account.id && family.generation == account.generation =>
            {
                Ok(SignedIn { account, claims })
            }
            _ => Err(AuthError::TokenInvalid),
        }
    }

    /// [`Self::signed_in`], of an administrator.
    ///
    /// # Errors
    /// `Forbidden` as well.
    pub async fn administrator(&self, token: Option<&str>, address: IpAddr) -> Result<SignedIn, AuthError> {
        let signed_in = self.signed_in(token).await?;
        if !signed_in.account.is_admin() {
            let detail = "an administrator's interface";
            self.audit().write(AuditEvent::AuthorizationFail, Some(signed_in.account.id), Some(address), detail).await;
            return Err(AuthError::Forbidden("this is for administrators"));
        }
        Ok(signed_in)
    }

    /// Ends the login of a token.
    ///
    /// # Errors
    /// `TokenInvalid` where it has ended already.
    pub async fn log_out(&self, claims: &Claims, address: IpAddr) -> Result<(), AuthError> {
        let ended = call(self.logins.end_family(&claims.session, EndReason::Logout)).await?;
        ended.ok_or(AuthError::TokenInvalid)?;
        self.live.note(claims.user_id, Some(claims.session), now_ms());
        self.audit().write(AuditEvent::TokenRevoked, Some(claims.user_id), Some(address), "logged out").await;
        Ok(())
    }

    /// Ends all logins of an account. The generation moves first: a login that begins meanwhile is of the old one.
    ///
    /// # Errors
    /// [`AuthError`]; doing it again ends what is left.
    pub async fn log_out_all(&self, user_id: UserId, address: IpAddr) -> Result<(), AuthError> {
        call(self.accounts.bump_generation(user_id)).await?.ok_or(AuthError::TokenInvalid)?;
        call(self.logins.end_families_of(user_id, EndReason::Revoked)).await?;
        self.live.note(user_id, None, now_ms());
        self.audit().write(AuditEvent::TokenRevoked, Some(user_id), Some(address), "logged out everywhere").await;
        Ok(())
    }

    /// Live logins of an account. A page may be short where some are of an older generation.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn sessions(
        &self,
        account: &Account,
        cursor: Option<&str>,
        sessions_max: usize,
    ) -> Result<FamilyPage, AuthError> {
        let mut page = call(self.logins.families_of(account.id, cursor, sessions_max)).await?;
        page.families.retain(|family| family.generation == account.generation);
        Ok(page)
    }

    /// Ends one of an account's logins.
    ///
    /// # Errors
    /// `NotFound` for another's as well.
    pub async fn end_session(&self, user_id: UserId, id: &FamilyId, address: IpAddr) -> Result<(), AuthError> {
        const NO_SESSION: AuthError = AuthError::NotFound("there is no such login of this account");
        let family = call(self.logins.load_family(id)).await?.record;
        family.filter(|family| family.user_id == user_id).ok_or(NO_SESSION)?;
        call(self.logins.end_family(id, EndReason::Revoked)).await?.ok_or(NO_SESSION)?;
        self.live.note(user_id, Some(*id), now_ms());
        self.audit().write(AuditEvent::TokenRevoked, Some(user_id), Some(address), "one login was ended").await;
        Ok(())
    }
}

/// [`call`], with the store's error as it is.
async fn call_store<T>(
    work: impl Future<Output = Result<T, LoginStoreError>>,
) -> Result<Result<T, LoginStoreError>, AuthError> {
    call(async { Ok::<_, AuthError>(work.await) }).await
}
