//! Refresh tokens that rotate: one family a login, one live token (its head) a family.
//!
//! A token's text is BASE64URL(family id, 16 bytes || sequence, u32 big endian || secret, 32 bytes), 70 characters. The secret is derived from
//! (server key, family id, family's salt, sequence): a successor can be given again without being stored, and every ancestor is recognised
//! by deriving it again. The record holds the head's SHA-256 at most.
//!
//! Invariants: each rotation is one compare-and-set of the whole record (`version`), revoking removes the record, so a rotation never
//! survives it; a family ends at its absolute expiry whatever was rotated; concurrent use of one token never ends a family, nor does an
//! ancestor that was replaced less than [`LENIENCY_MS`] ago. Source: RFC 9700 section 4.14.2.

mod decide;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
mod token;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    account::UserId,
    client::ClientInfo,
    secret::{self, DerivationKey, Digest256, InvalidSecret, KeyId, Salt},
};

pub use decide::{Decision, Refusal, decide};
pub use token::{InvalidRefreshToken, RefreshToken};

/// For so long after it was replaced, a token that comes again is taken for a lost answer or a second tab, not for theft. ms.
pub const LENIENCY_MS: i64 = 10_000;

/// Names a login: `sid` of its access tokens, `id` of a session. Text: BASE64URL, 22 characters. Random, but not a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FamilyId([u8; 16]);

impl FamilyId {
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// # Errors
    /// [`InvalidSecret`] for anything but 22 characters of BASE64URL without padding.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        secret::decode(text).map(Self)
    }
}

impl fmt::Display for FamilyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&secret::encode(&self.0))
    }
}

impl Serialize for FamilyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FamilyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// What a login is made from; its times are the store's. Its first token is [`NewFamily::first_token`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFamily {
    /// Random.
    pub id: FamilyId,
    pub user_id: UserId,
    /// The account's token generation, read before its password, or its approval, was checked.
    pub generation: u64,
    /// The OAuth client that the tokens are for; `None` for the login of the REST interface.
    pub client_id: Option<Box<str>>,
    /// Random.
    pub salt: Salt,
    pub client: ClientInfo,
    /// `auth.refresh_token_ttl_s`, in ms.
    pub ttl_ms: i64,
}

impl NewFamily {
    /// The record as it is first written, at `now_ms` of the store's clock, with its first token. `key` is the current one.
    #[must_use]
    pub fn begin(&self, key: &DerivationKey, now_ms: i64) -> (Family, RefreshToken) {
        let token = RefreshToken::derive(key, self.id, self.salt, Family::FIRST_SEQUENCE);
        let family = Family {
            id: self.id,
            user_id: self.user_id,
            generation: self.generation,
            client_id: self.client_id.clone(),
            salt: self.salt,
            key_id: key.id(),
            head_sequence: Family::FIRST_SEQUENCE,
            head_hash: token.digest(),
            replaced: Vec::new(),
            created_at_ms: now_ms,
            expires_at_ms: now_ms.saturating_add(self.ttl_ms),
            last_used_at_ms: now_ms,
            client: self.client.clone(),
            is_restored: false,
            version: 1,
        };
        (family, token)
    }
}

/// The record of a login. All times are ms since 1970 by the store's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Family {
    pub id: FamilyId,
    pub user_id: UserId,
    /// The account's token generation at login; where the account's has moved on, the family has ended.
    pub generation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Box<str>>,
    pub salt: Salt,
    pub key_id: KeyId,
    /// The sequence of the one live token.
    pub head_sequence: u32,
    /// SHA-256 of its text.
    pub head_hash: Digest256,
    /// When the last tokens were replaced, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Replaced>,
    pub created_at_ms: i64,
    /// Absolute: no rotation moves it. The store forgets the record then.
    pub expires_at_ms: i64,
    pub last_used_at_ms: i64,
    /// Who used it last.
    pub client: ClientInfo,
    /// It came out of a backup: what was rotated since is not known here.
    #[serde(default, rename = "restored", skip_serializing_if = "std::ops::Not::not")]
    pub is_restored: bool,
    /// 1 at first, +1 with each write.
    pub version: u64,
}

impl Family {
    pub const FIRST_SEQUENCE: u32 = 1;
    /// Entries of `replaced`: one a second of [`LENIENCY_MS`], and the one that is being filled.
    pub const REPLACED_MAX: usize = (LENIENCY_MS / Replaced::SPAN_MS) as usize + 1;
}

/// Tokens that were replaced within [`Replaced::SPAN_MS`] of each other. They are taken together so that the list is bounded however fast
/// a client rotates; each of them counts as replaced when the last of them was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replaced {
    pub first_sequence: u32,
    pub last_sequence: u32,
    /// When the first of them was replaced.
    pub from_ms: i64,
    /// When the last of them was replaced.
    pub until_ms: i64,
}

impl Replaced {
    pub const SPAN_MS: i64 = 1_000;
}
