//! The decisions about a challenge.

use super::{Challenge, EXCHANGE_WITHIN_MS, Phone, Status, WRONG_OTC_MAX};
use crate::secret::{DerivationKeys, Nonce, Otc, Proof};

/// All that can be done to a challenge. (Its expiry is [`expire`]; the device grant's polling is [`poll`](super::poll).)
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// By a phone that saw the picture. One that was given the user code instead derives the nonce from the record.
    Scan {
        nonce: &'a Nonce,
        phone: Phone,
    },
    Approve {
        phone: Phone,
    },
    Deny {
        phone: Phone,
    },
    Cancel {
        proof: &'a Proof,
    },
    /// The device grant's token request derives the otc from the record.
    Exchange {
        proof: &'a Proof,
        otc: &'a Otc,
    },
}

/// What to do: first write `next`, if there is one, by compare-and-set; once it is written, answer. A writer that comes too late decides
/// again on what the store holds then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub next: Option<Challenge>,
    pub answer: Result<(), Refusal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Wrong nonce, not the creator, or not the phone that scanned: who may not see a challenge is told that there is none.
    #[error("there is no such challenge")]
    NotFound,
    /// It is too late or too early for that; this is the status that won.
    #[error("the challenge is {0}")]
    Conflict(Status),
    /// After the last try the challenge is CANCELLED.
    #[error("wrong otc; {tries_left} more tries")]
    WrongOtc { tries_left: u32 },
}

/// What an event does to a challenge at `now_ms` of the store's clock. Scanning again by the phone that scanned changes nothing and is
/// answered alike; any other repetition is a conflict, so that of those who race exactly one is told that it did it.
#[must_use]
pub fn decide(challenge: &Challenge, event: Event<'_>, keys: &DerivationKeys, now_ms: i64) -> Decision {
    if !may_act(challenge, event, keys) {
        return Decision::refuse(Refusal::NotFound);
    }
    if let Some(expired) = expire(challenge, now_ms) {
        return Decision { next: Some(expired), answer: Err(Refusal::Conflict(Status::Expired)) };
    }
    match (challenge.status, event) {
        (Status::Pending, Event::Scan { phone, .. }) => {
            Decision::write(Challenge { status: Status::Scanned, scanner: Some(phone), ..challenge.successor() })
        }
        (Status::Scanned, Event::Scan { phone, .. }) if challenge.scanner == Some(phone) => {
            Decision { next: None, answer: Ok(()) }
        }
        (Status::Scanned, Event::Approve { phone }) => Decision::write(approved(challenge, phone, now_ms)),
        (Status::Scanned, Event::Deny { .. }) => Decision::write(challenge.ended(Status::Denied, now_ms)),
        (Status::Pending | Status::Scanned | Status::Approved, Event::Cancel { .. }) => {
            Decision::write(challenge.ended(Status::Cancelled, now_ms))
        }
        (Status::Approved, Event::Exchange { otc, .. }) => exchange(challenge, otc, keys, now_ms),
        (status, _) => Decision::refuse(Refusal::Conflict(status)),
    }
}

/// The challenge as EXPIRED, if it has not ended and its deadline has passed at `now_ms` of the store's clock.
#[must_use]
pub fn expire(challenge: &Challenge, now_ms: i64) -> Option<Challenge> {
    let due = !challenge.status.is_terminal() && now_ms >= challenge.deadline_ms;
    due.then(|| challenge.ended(Status::Expired, challenge.deadline_ms))
}

/// Whether who acts may know that the challenge exists.
fn may_act(challenge: &Challenge, event: Event<'_>, keys: &DerivationKeys) -> bool {
    match event {
        Event::Scan { nonce, .. } => challenge.nonce(keys).is_some_and(|expected| expected == *nonce),
        Event::Approve { phone } | Event::Deny { phone } => challenge.scanner == Some(phone),
        Event::Cancel { proof } | Event::Exchange { proof, .. } => challenge.binding.accepts(proof),
    }
}

fn approved(challenge: &Challenge, phone: Phone, now_ms: i64) -> Challenge {
    Challenge {
        status: Status::Approved,
        user_id: Some(phone.user_id),
        approved_at_ms: Some(now_ms),
        deadline_ms: challenge.deadline_ms.min(now_ms.saturating_add(EXCHANGE_WITHIN_MS)),
        ..challenge.successor()
    }
}

fn exchange(challenge: &Challenge, otc: &Otc, keys: &DerivationKeys, now_ms: i64) -> Decision {
    if challenge.otc(keys, now_ms).is_some_and(|expected| expected == *otc) {
        return Decision::write(challenge.ended(Status::Exchanged, now_ms));
    }
    let wrong_otc_count = challenge.wrong_otc_count + 1;
    let tries_left = WRONG_OTC_MAX.saturating_sub(wrong_otc_count);
    let next = if tries_left == 0 { challenge.ended(Status::Cancelled, now_ms) } else { challenge.successor() };
    Decision { next: Some(Challenge { wrong_otc_count, ..next }), answer: Err(Refusal::WrongOtc { tries_left }) }
}

impl Decision {
    fn write(next: Challenge) -> Self {
        Self { next: Some(next), answer: Ok(()) }
    }

    fn refuse(refusal: Refusal) -> Self {
        Self { next: None, answer: Err(refusal) }
    }
}
