//! What REST and OAuth do alike with QR challenges: make one, and exchange one for a login.

use orinoco_actors::{ChallengeError, ChallengeView};
use orinoco_domain::{
    audit::AuditEvent,
    challenge::{ChallengeKey, DeviceGrant, NewChallenge, Status},
    secret::{Binding, ChallengeId, Nonce, Otc, Proof, Salt},
};

use super::{HttpDeps, problem::Problem};
use crate::auth::{AuthError, Caller, NoRandom, TokenPair, call, random};

/// Tries to draw a name that no challenge, or login, has.
const DRAWS_MAX: usize = 3;

/// Why a challenge was not made or exchanged.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(transparent)]
    Challenge(#[from] ChallengeError),
    #[error(transparent)]
    Auth(#[from] AuthError),
}

impl From<Failed> for Problem {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Challenge(error) => error.into(),
            Failed::Auth(error) => error.into(),
        }
    }
}

/// Makes a challenge of the caller's. `draw` gives its id, at random, and what it follows from.
///
/// # Errors
/// [`Failed`].
pub(super) async fn create<T: Send>(
    deps: &HttpDeps,
    caller: &Caller,
    binding: Binding,
    device_grant: Option<DeviceGrant>,
    draw: impl Fn() -> Result<(ChallengeId, T), NoRandom> + Send + Sync,
) -> Result<(ChallengeId, T, ChallengeView), Failed> {
    for _ in 0..DRAWS_MAX {
        let (id, drawn) = draw().map_err(AuthError::from)?;
        let new = NewChallenge {
            key: ChallengeKey::of(&id),
            salt: Salt::from_bytes(random().map_err(AuthError::from)?),
            key_id: deps.auth.derivation().current().id(),
            binding,
            creator: caller.client.clone(),
            device_grant: device_grant.clone(),
            ttl_ms: deps.auth.policy.get().challenge_ttl_ms,
        };
        match deps.challenges.create(&new).await {
            Err(ChallengeError::Taken) => {}
            made => return Ok((id, drawn, made?)),
        }
    }
    Err(ChallengeError::Taken.into())
}

/// What the picture holds. The nonce is in the fragment, which no browser sends: it stands in no log.
pub(super) fn qr_payload(public_url: &str, id: &ChallengeId, nonce: &Nonce) -> String {
    format!("{public_url}/qr?challengeId={}#nonce={}", id.expose(), nonce.expose())
}

/// Exchanges a challenge for a login of who approved it. `view` is how it stood; whether it is the caller's was checked.
///
/// # Errors
/// [`Failed`]; `Conflict` with the status where it is not APPROVED, `Forbidden` where the account can't log in any more, or the login that
/// approved has ended: whoever ends a stolen phone's login, or all, ends what that phone approved a moment ago as well.
pub(super) async fn exchange(
    deps: &HttpDeps,
    caller: &Caller,
    view: &ChallengeView,
    proof: &Proof,
    otc: &Otc,
) -> Result<TokenPair, Failed> {
    let auth = &deps.auth;
    let phone = match (view.status(), view.record.scanner) {
        (Status::Approved, Some(phone)) => phone,
        (status, _) => return Err(ChallengeError::Conflict(status).into()),
    };
    let account = call(auth.accounts.by_id(phone.user_id)).await?;
    let account = account.filter(|account| account.enabled);
    let account = account.ok_or(AuthError::Forbidden("the account that approved can't log in any more"))?;
    // After the account: a login that begins now is of the generation that was read, and does not survive a later end of all.
    let approver = call(auth.logins.load_family(&phone.session)).await?.record;
    if approver.is_none_or(|family| family.user_id != account.id || family.generation != account.generation) {
        return Err(AuthError::Forbidden("the login that approved has ended").into());
    }
    let grant = view.record.device_grant.as_ref();
    for _ in 0..DRAWS_MAX {
        let login = auth.new_family(&account, grant.map(|grant| &*grant.client_id), caller)?;
        match deps.challenges.exchange(view.record.key, proof.clone(), otc.clone(), login).await {
            Ok(began) => {
                let pair = auth.token_pair(&account, &began.family, began.token)?;
                let detail = if grant.is_some() { "device grant" } else { "QR challenge" };
                auth.audit().write(AuditEvent::LoginSuccess, Some(account.id), Some(caller.address), detail).await;
                return Ok(pair);
            }
            Err(ChallengeError::Taken) => {}
            Err(error) => {
                if error == (ChallengeError::WrongOtc { tries_left: 0 }) {
                    let (user_id, address) = (Some(account.id), Some(caller.address));
                    let detail = "a challenge was ended by its creator's wrong otc";
                    auth.audit().write(AuditEvent::InputValidationFail, user_id, address, detail).await;
                }
                return Err(error.into());
            }
        }
    }
    Err(ChallengeError::Taken.into())
}
