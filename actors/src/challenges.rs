//! How the outside asks about challenges: through the [`ChallengeRegistry`](crate::ChallengeRegistry), once more where an actor on the way was
//! killed.

use std::time::Duration;

use orinoco_domain::{
    challenge::{ChallengeKey, NewChallenge},
    refresh::NewFamily,
    secret::{Otc, Proof},
};
use orinoco_supervision::{CallError, Group, Reply};
use tokio::time::Instant;

use crate::{
    Acted, Action, BegunLogin, ChallengeError, ChallengeMessage, ChallengeRegistryMessage, ChallengeView, PollAnswer,
};

/// For a request and all its tries.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// A request that was dropped is made so often in all: with 1,000 at one actor that is killed every few milliseconds, those at the end of
/// its mailbox are dropped a dozen times. One that kills each actor it meets ends nevertheless.
const TRIES_MAX: u32 = 32;

/// The challenges of this daemon, and by its store those of others; cheap to clone. Each request takes 5 s at most.
#[derive(Clone)]
pub struct Challenges {
    registry: Group<ChallengeRegistryMessage>,
}

impl Challenges {
    #[must_use]
    pub fn new(registry: Group<ChallengeRegistryMessage>) -> Self {
        Self { registry }
    }

    /// Makes a challenge.
    ///
    /// # Errors
    /// `Overloaded`, `Taken`, `Unavailable` or `Corrupt`.
    pub async fn create(&self, new: &NewChallenge) -> Result<ChallengeView, ChallengeError> {
        self.request(new.key, |reply, _again| ChallengeMessage::Create { new: Box::new(new.clone()), reply }).await
    }

    /// How it stands. Changes nothing. Who may see it is for the caller to check: `record.binding.accepts(proof)`.
    ///
    /// # Errors
    /// `NotFound`, `Overloaded`, `Unavailable` or `Corrupt`.
    pub async fn look(&self, key: ChallengeKey) -> Result<ChallengeView, ChallengeError> {
        let asked_at = std::time::Instant::now();
        self.request(key, |reply, _again| ChallengeMessage::Look { asked_at, reply }).await
    }

    /// Does something to it. A poll and an exchange have methods of their own.
    ///
    /// # Errors
    /// [`ChallengeError`], all but `Taken`.
    pub async fn act(&self, key: ChallengeKey, action: &Action) -> Result<ChallengeView, ChallengeError> {
        self.acted(key, action).await.map(|acted| acted.view)
    }

    /// Ends the challenge, and begins the login, in one step. `login` is of the user who approved, with the account's generation.
    ///
    /// # Errors
    /// [`ChallengeError`]; `Taken` where there is a login of this name.
    pub async fn exchange(
        &self,
        key: ChallengeKey,
        proof: Proof,
        otc: Otc,
        login: NewFamily,
    ) -> Result<BegunLogin, ChallengeError> {
        let acted = self.acted(key, &Action::Exchange { proof, otc, login }).await?;
        acted.began.map(|began| *began).ok_or_else(|| ChallengeError::unavailable("the exchange began no login"))
    }

    /// Counts a token request of the device grant that has nothing to exchange yet (see [`Action::Poll`]).
    ///
    /// # Errors
    /// [`ChallengeError`], all but `Taken`, `Conflict` and `WrongOtc`.
    pub async fn poll(&self, key: ChallengeKey) -> Result<PollAnswer, ChallengeError> {
        let acted = self.acted(key, &Action::Poll).await?;
        Ok(acted.poll.unwrap_or(PollAnswer::Decided(acted.view.status())))
    }

    async fn acted(&self, key: ChallengeKey, action: &Action) -> Result<Acted, ChallengeError> {
        let asked_at = std::time::Instant::now();
        self.request(key, |reply, again| ChallengeMessage::Act {
            action: Box::new(action.clone()),
            again,
            asked_at,
            reply,
        })
        .await
    }

    /// `make` is told whether the request may have been done before.
    async fn request<T: Send>(
        &self,
        key: ChallengeKey,
        make: impl Fn(Reply<Result<T, ChallengeError>>, bool) -> ChallengeMessage,
    ) -> Result<T, ChallengeError> {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let registry = self.registry.one();
        let mut again = false;
        for _ in 0..TRIES_MAX {
            let hand = |reply| ChallengeRegistryMessage::Hand { key, message: make(reply, again) };
            match registry.call(hand, deadline.saturating_duration_since(Instant::now())).await {
                Ok(answer) => return answer,
                // The challenge was killed, or the registry.
                Err(CallError::Dropped) => again = true,
                Err(CallError::Down) => {
                    if tokio::time::timeout_at(deadline, registry.up()).await.is_err() {
                        break;
                    }
                }
                Err(CallError::Full) => return Err(ChallengeError::Overloaded),
                Err(CallError::Timeout) => break,
            }
        }
        Err(ChallengeError::unavailable("no answer in time"))
    }
}
