//! What can be done to a challenge, and how it is done: decide on the copy, write, or prove the refusal.

use orinoco_domain::{
    challenge::{Challenge as Record, Decision, Event, Phone, Poll, Refusal, Status, WRONG_OTC_MAX, decide, poll},
    refresh::{Family, NewFamily, RefreshToken},
    secret::{DerivationKeys, Nonce, Otc, Proof},
};

use super::{ChallengeError, ChallengeState, ChallengeView, in_time};

/// A decision that lost its race is made again on what won so often; each time another request was done.
const TRIES_MAX: u32 = 64;

/// What can be done to a challenge. See [`Event`]; whether the account may is for the caller to check.
#[derive(Debug, Clone)]
pub enum Action {
    Scan {
        nonce: Nonce,
        phone: Phone,
    },
    Approve {
        phone: Phone,
    },
    Deny {
        phone: Phone,
    },
    Cancel {
        proof: Proof,
    },
    /// `login` begins in the same step. Its user is the challenge's.
    Exchange {
        proof: Proof,
        otc: Otc,
        login: NewFamily,
    },
    /// The device grant's token request while there is nothing to exchange: counts as a poll. Its proof and client are the caller's to
    /// check.
    Poll,
}

/// An action that was done.
#[derive(Debug, Clone)]
pub struct Acted {
    /// After it.
    pub view: ChallengeView,
    /// After an exchange.
    pub began: Option<Box<BegunLogin>>,
    /// After a poll.
    pub poll: Option<PollAnswer>,
}

/// The login that an exchange began.
#[derive(Debug, Clone)]
pub struct BegunLogin {
    pub family: Family,
    /// Its first token.
    pub token: RefreshToken,
}

/// What to tell a client of the device grant that polls (RFC 8628 section 3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollAnswer {
    AuthorizationPending,
    SlowDown,
    /// No polling any more: exchange where it is APPROVED, else say how it ended.
    Decided(Status),
}

impl Action {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Scan { .. } => "scan",
            Self::Approve { .. } => "approve",
            Self::Deny { .. } => "deny",
            Self::Cancel { .. } => "cancel",
            Self::Exchange { .. } => "exchange",
            Self::Poll => "poll",
        }
    }

    /// What it does to the record; the answer to a poll comes with it.
    fn decide(&self, record: &Record, keys: &DerivationKeys, now_ms: i64) -> (Decision, Option<PollAnswer>) {
        let event = match self {
            Self::Scan { nonce, phone } => Event::Scan { nonce, phone: *phone },
            Self::Approve { phone } => Event::Approve { phone: *phone },
            Self::Deny { phone } => Event::Deny { phone: *phone },
            Self::Cancel { proof } => Event::Cancel { proof },
            Self::Exchange { proof, otc, .. } => Event::Exchange { proof, otc },
            Self::Poll => return decide_poll(record, now_ms),
        };
        (decide(record, event, keys, now_ms), None)
    }

    /// Whether a conflict is this very request's own doing: it was made before and its answer was lost. (That of an exchange shows by the
    /// login that it began.)
    fn has_been_done(&self, record: &Record) -> bool {
        match self {
            Self::Approve { phone } => {
                record.scanner == Some(*phone) && matches!(record.status, Status::Approved | Status::Exchanged)
            }
            Self::Deny { phone } => record.scanner == Some(*phone) && record.status == Status::Denied,
            Self::Cancel { .. } => record.status == Status::Cancelled && record.wrong_otc_count < WRONG_OTC_MAX,
            Self::Scan { .. } | Self::Exchange { .. } | Self::Poll => false,
        }
    }
}

fn decide_poll(record: &Record, now_ms: i64) -> (Decision, Option<PollAnswer>) {
    match poll(record, now_ms) {
        Poll::Wait { next, slow_down } => {
            let answer = if slow_down { PollAnswer::SlowDown } else { PollAnswer::AuthorizationPending };
            (Decision { next: Some(*next), answer: Ok(()) }, Some(answer))
        }
        Poll::Decided(status) => (Decision { next: None, answer: Ok(()) }, Some(PollAnswer::Decided(status))),
    }
}

impl ChallengeState {
    pub(super) async fn act(
        &mut self,
        action: &Action,
        again: bool,
        asked_at: std::time::Instant,
    ) -> Result<Acted, ChallengeError> {
        if self.held.is_none() {
            self.load().await?;
        }
        let keys = (self.deps.keys)();
        for _ in 0..TRIES_MAX {
            let held = self.held.as_ref().ok_or(ChallengeError::NotFound)?;
            let now_ms = held.now_ms();
            let (decision, poll) = action.decide(&held.record, &keys, now_ms);
            let Some(next) = decision.next else {
                if !held.proves(asked_at) {
                    self.load().await?;
                    continue;
                }
                return match decision.answer {
                    Ok(()) => Ok(Acted { view: self.view()?, began: None, poll }),
                    Err(Refusal::Conflict(_)) if again => self.done_before(action, &keys).await,
                    Err(refusal) => Err(refusal.into()),
                };
            };
            let began = match &decision.answer {
                Ok(()) => begin(action, &next, &keys, now_ms)?,
                Err(_) => None,
            };
            match self.swap(next, began.as_ref().map(|login| &login.family)).await {
                Ok(true) => {
                    decision.answer?;
                    return Ok(Acted { view: self.view()?, began, poll });
                }
                Ok(false) => {}
                // A login of this name: where this request is made again, its own.
                Err(ChallengeError::Taken) if again => self.load().await?,
                Err(error) => return Err(error),
            }
        }
        Err(ChallengeError::unavailable("the challenge changes too fast"))
    }

    /// The answer that was lost, if the action was done; else that of a loser.
    async fn done_before(&mut self, action: &Action, keys: &DerivationKeys) -> Result<Acted, ChallengeError> {
        let view = self.view()?;
        if action.has_been_done(&view.record) {
            return Ok(Acted { view, began: None, poll: None });
        }
        if let Action::Exchange { login, .. } = action
            && view.record.status == Status::Exchanged
            && let Some(family) = in_time(self.deps.store.load_family(&login.id)).await?.record
            && let Some(key) = keys.get(family.key_id)
        {
            let (_, token) = login.begin(key, family.created_at_ms);
            return Ok(Acted { view, began: Some(Box::new(BegunLogin { family, token })), poll: None });
        }
        Err(ChallengeError::Conflict(view.status()))
    }
}

/// The login of an exchange that is to be written.
fn begin(
    action: &Action,
    next: &Record,
    keys: &DerivationKeys,
    now_ms: i64,
) -> Result<Option<Box<BegunLogin>>, ChallengeError> {
    let Action::Exchange { login, .. } = action else { return Ok(None) };
    if next.user_id != Some(login.user_id) {
        tracing::error!("an exchange for another user than the challenge's was refused");
        return Err(ChallengeError::NotFound);
    }
    let (family, token) = login.begin(keys.current(), now_ms);
    Ok(Some(Box::new(BegunLogin { family, token })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::tests::{other_phone, phone, proof, record};

    #[test]
    fn only_what_this_very_request_would_have_left_counts_as_done_before() {
        let approve = Action::Approve { phone: phone() };
        assert!(approve.has_been_done(&record(Status::Approved)));
        assert!(approve.has_been_done(&record(Status::Exchanged)), "the exchange came at once");
        for status in [Status::Scanned, Status::Denied, Status::Cancelled, Status::Expired] {
            assert!(!approve.has_been_done(&record(status)), "{status}");
        }
        assert!(!Action::Approve { phone: other_phone() }.has_been_done(&record(Status::Approved)));
        let deny = Action::Deny { phone: phone() };
        assert!(deny.has_been_done(&record(Status::Denied)) && !deny.has_been_done(&record(Status::Approved)));
        let cancel = Action::Cancel { proof: proof() };
        assert!(cancel.has_been_done(&record(Status::Cancelled)));
        let by_wrong_otc = Record { wrong_otc_count: WRONG_OTC_MAX, ..record(Status::Cancelled) };
        assert!(!cancel.has_been_done(&by_wrong_otc));
    }
}
