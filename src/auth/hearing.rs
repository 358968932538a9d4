//! What is heard of logins from the login store, and what is done where something may not have been heard.
//!
//! Invariant: a socket of a login that ended unheard is closed once the stores say so; until they do, the login may live.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use orinoco_actors::LoginNotice;
use orinoco_ports::EndReason;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Auth, AuthError, Claims, Login, ReuseNotice, call, live::Standing, now_ms};

/// All watched logins are asked about within this time, if the stores are as fast.
const ASKED_WITHIN: Duration = Duration::from_secs(1);
/// Questions at a time.
const ASKED_MAX: usize = 16;
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// After some ten minutes of stores that do not answer, all tokens of then have expired.
const ROUNDS_MAX: u32 = 600;

impl Auth {
    /// Takes note of what happened to logins. Does not block; what may have been missed is asked for in a task of its own.
    pub fn hear(self: &Arc<Self>, notice: LoginNotice) {
        match notice {
            LoginNotice::Ended { user_id, family, reason } => {
                let now_ms = now_ms();
                self.live.note(user_id, family, now_ms);
                if let (EndReason::Reuse, Some(session)) = (reason, family) {
                    self.live.notices.add(user_id, ReuseNotice { session, at_ms: now_ms });
                }
            }
            // Two at a time, where a subscription is lost again soon, ask the same twice.
            LoginNotice::MayHaveMissed => drop(tokio::spawn(Arc::clone(self).make_good())),
        }
    }

    async fn make_good(self: Arc<Self>) {
        let mut doubtful = self.live.watched();
        let mut is_read = false;
        for _ in 0..ROUNDS_MAX {
            if !is_read {
                is_read = self.read_notices().await.is_ok();
            }
            doubtful = self.note_the_ended(doubtful).await;
            if doubtful.is_empty() && is_read {
                return;
            }
            sleep(ASK_AGAIN_AFTER).await;
        }
        tracing::warn!(logins = doubtful.len(), "whether these logins live was not to be learnt");
    }

    /// Those about which the stores said nothing.
    async fn note_the_ended(&self, logins: HashSet<Login>) -> HashSet<Login> {
        let pause = ASKED_WITHIN / u32::try_from(logins.len().max(1)).unwrap_or(u32::MAX);
        let begun_at = Instant::now();
        let asked = stream::iter(logins.into_iter().zip(0_u32..)).map(|(login, index)| async move {
            sleep_until(begun_at + pause * index).await;
            match self.lives(login).await {
                Ok(true) => None,
                Ok(false) => {
                    self.live.note(login.user_id, Some(login.session), now_ms());
                    None
                }
                Err(error) => {
                    tracing::debug!(%error, user = login.user_id.0, "whether a login lives is not known yet");
                    Some(login)
                }
            }
        });
        asked.buffer_unordered(ASKED_MAX).filter_map(async |unknown| unknown).collect().await
    }

    /// What a token says whose login lives. No store is asked, unless all logins of its user ended at about the token's time.
    ///
    /// # Errors
    /// `TokenMissing`; `TokenInvalid`, also where such a doubt can't be cleared because a store is away.
    pub async fn live_claims(&self, token: Option<&str>) -> Result<Claims, AuthError> {
        let claims = self.claims(token)?;
        let login = claims.login();
        match self.live.standing(login, claims.issued_at_ms) {
            Standing::Lives => Ok(claims),
            Standing::InDoubt(doubt) if self.lives(login).await.unwrap_or(false) => {
                self.live.prove(login, doubt);
                Ok(claims)
            }
            Standing::Ended | Standing::InDoubt(_) => Err(AuthError::TokenInvalid),
        }
    }

    /// Whether both stores say so: the account is enabled, and the login is there and of the account's generation.
    async fn lives(&self, login: Login) -> Result<bool, AuthError> {
        let Some(family) = call(self.logins.load_family(&login.session)).await?.record else { return Ok(false) };
        let account = call(self.accounts.by_id(login.user_id)).await?;
        Ok(account.is_some_and(|account| {
            account.enabled && family.user_id == account.id && family.generation == account.generation
        }))
    }
}
