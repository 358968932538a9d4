//! The QR challenge: a browser without a login (its creator) asks, a logged-in phone answers, the creator exchanges the answer for a login.
//!
//! ```text
//! PENDING --scan--> SCANNED --approve--> APPROVED --exchange--> EXCHANGED
//!    |                 |--deny--> DENIED     |
//!    +--------- cancel | deadline -----------+--> CANCELLED | EXPIRED
//! ```
//!
//! Invariants: a terminal status never changes; the deadline never moves later; only the first scanner's own login approves or denies; the
//! otc exists only in APPROVED; each step is one compare-and-set of the whole record (`version`), so that one of those who race wins. The
//! record holds neither the challenge's id nor its nonce nor its otc: the first is known by its SHA-256, the others are derived.

mod decide;
mod device_grant;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    account::UserId,
    client::ClientInfo,
    refresh::FamilyId,
    secret::{Binding, ChallengeId, DerivationKeys, Digest256, InvalidSecret, KeyId, Nonce, Otc, Salt},
};

pub use decide::{Decision, Event, Refusal, decide, expire};
pub use device_grant::{DeviceGrant, Poll, poll};

/// How long an approved challenge waits for its exchange, ms.
pub const EXCHANGE_WITHIN_MS: i64 = 60_000;
/// How long a terminal challenge stays readable, ms.
pub const READABLE_AFTER_END_MS: i64 = 60_000;
/// So many wrong otc from its creator end a challenge.
pub const WRONG_OTC_MAX: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    Pending,
    /// A phone has seen who asks, and has not answered yet.
    Scanned,
    /// The creator may exchange.
    Approved,
    Exchanged,
    Denied,
    /// By its creator, or by its creator's wrong otc.
    Cancelled,
    Expired,
}

impl Status {
    pub const ALL: [Self; 7] =
        [Self::Pending, Self::Scanned, Self::Approved, Self::Exchanged, Self::Denied, Self::Cancelled, Self::Expired];

    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Scanned | Self::Approved => false,
            Self::Exchanged | Self::Denied | Self::Cancelled | Self::Expired => true,
        }
    }

    /// As in the entities: `PENDING`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Scanned => "SCANNED",
            Self::Approved => "APPROVED",
            Self::Exchanged => "EXCHANGED",
            Self::Denied => "DENIED",
            Self::Cancelled => "CANCELLED",
            Self::Expired => "EXPIRED",
        }
    }

    /// `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What the store knows a challenge by: the SHA-256 of its id. Text: BASE64URL, 43 characters. Nothing can be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChallengeKey(Digest256);

impl ChallengeKey {
    #[must_use]
    pub fn of(id: &ChallengeId) -> Self {
        Self(id.digest())
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// # Errors
    /// [`InvalidSecret`] for anything but 43 characters of BASE64URL without padding.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        Digest256::parse(text).map(Self)
    }
}

impl fmt::Display for ChallengeKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

// A key is no secret: comparing by bytes, as hashing and ordering do, is fine.
impl std::hash::Hash for ChallengeKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl Ord for ChallengeKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for ChallengeKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// A logged-in phone: its user and its own login. Another login of the same user is another phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Phone {
    pub user_id: UserId,
    /// `sid` of its access token.
    pub session: FamilyId,
}

/// What a challenge is made from; its times are the store's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChallenge {
    pub key: ChallengeKey,
    pub salt: Salt,
    /// The derivation key of its nonce and otc: the current one.
    pub key_id: KeyId,
    pub binding: Binding,
    pub creator: ClientInfo,
    /// Set for a challenge of OAuth's device grant.
    pub device_grant: Option<DeviceGrant>,
    /// `auth.challenge_ttl_s`, in ms.
    pub ttl_ms: i64,
}

impl NewChallenge {
    /// The record as it is first written, at `now_ms` of the store's clock.
    #[must_use]
    pub fn at(&self, now_ms: i64) -> Challenge {
        Challenge {
            key: self.key,
            salt: self.salt,
            key_id: self.key_id,
            status: Status::Pending,
            binding: self.binding,
            creator: self.creator.clone(),
            device_grant: self.device_grant.clone(),
            created_at_ms: now_ms,
            deadline_ms: now_ms.saturating_add(self.ttl_ms),
            scanner: None,
            user_id: None,
            approved_at_ms: None,
            ended_at_ms: None,
            wrong_otc_count: 0,
            version: 1,
        }
    }
}

/// The record. All times are ms since 1970 by the store's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Challenge {
    pub key: ChallengeKey,
    pub salt: Salt,
    pub key_id: KeyId,
    /// As last written: past the deadline see [`Challenge::status_at`].
    pub status: Status,
    pub binding: Binding,
    /// Who asks; shown to the phone that scanned.
    pub creator: ClientInfo,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_grant: Option<DeviceGrant>,
    pub created_at_ms: i64,
    /// From here on a challenge that has not ended is EXPIRED, whether that is written yet or not.
    pub deadline_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanner: Option<Phone>,
    /// Who approved, and who the exchange logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_at_ms: Option<i64>,
    /// When it became terminal; of an expired one, its deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at_ms: Option<i64>,
    pub wrong_otc_count: u32,
    /// 1 at first, +1 with each write.
    pub version: u64,
}

impl Challenge {
    /// The status that holds at `now_ms` of the store's clock.
    #[must_use]
    pub fn status_at(&self, now_ms: i64) -> Status {
        if !self.status.is_terminal() && now_ms >= self.deadline_ms { Status::Expired } else { self.status }
    }

    /// When the store forgets the record: a minute after its end, or after its deadline where nobody wrote its end.
    #[must_use]
    pub fn purge_at_ms(&self) -> i64 {
        self.ended_at_ms.unwrap_or(self.deadline_ms).saturating_add(READABLE_AFTER_END_MS)
    }

    /// When it was exchanged, if it was.
    #[must_use]
    pub fn exchanged_at_ms(&self) -> Option<i64> {
        self.ended_at_ms.filter(|_| self.status == Status::Exchanged)
    }

    /// The nonce in its picture; `None` where the key that it is derived with is gone.
    #[must_use]
    pub fn nonce(&self, keys: &DerivationKeys) -> Option<Nonce> {
        self.derive(keys, "nonce").map(Nonce::from_bytes)
    }

    /// The otc, for its creator's eyes; `None` unless it is approved at `now_ms` (and the key is there).
    #[must_use]
    pub fn otc(&self, keys: &DerivationKeys, now_ms: i64) -> Option<Otc> {
        let approved = self.status_at(now_ms) == Status::Approved;
        self.derive(keys, "otc").filter(|_| approved).map(Otc::from_bytes)
    }

    fn derive(&self, keys: &DerivationKeys, label: &'static str) -> Option<[u8; 32]> {
        keys.get(self.key_id).map(|key| key.derive(label, &[self.key.as_bytes(), self.salt.as_bytes()]))
    }

    /// The next version, at first equal to this one.
    fn successor(&self) -> Self {
        Self { version: self.version + 1, ..self.clone() }
    }

    fn ended(&self, status: Status, at_ms: i64) -> Self {
        Self { status, ended_at_ms: Some(at_ms), ..self.successor() }
    }
}
