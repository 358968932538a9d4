//! The server's derivation keys, and the one derivation.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{ChallengeId, UserCode};

/// Names a derivation key in records, so that keys may be rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub u32);

/// 256 random bits of the server, shared by all daemons, kept apart from the stores: who has a store's dump has no secret derived from it.
///
/// A derived value is HMAC-SHA-256 (RFC 2104) under the key over the label and each part, every one of them behind its length (u32, big
/// endian), so that no two lists of parts have one encoding.
#[derive(Clone)]
pub struct DerivationKey {
    id: KeyId,
    bytes: [u8; 32],
}

impl DerivationKey {
    #[must_use]
    pub fn from_bytes(id: KeyId, bytes: [u8; 32]) -> Self {
        Self { id, bytes }
    }

    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The id of a challenge of the device grant (RFC 8628): it follows from the user code, so that typing that in finds the challenge and
    /// the store needs no index from one to the other.
    #[must_use]
    pub fn challenge_id_of(&self, user_code: &UserCode) -> ChallengeId {
        ChallengeId::from_bytes(self.derive("user-code", &[user_code.expose().as_bytes()]))
    }

    pub(crate) fn derive(&self, label: &'static str, parts: &[&[u8]]) -> [u8; 32] {
        // RFC 2104 section 2: a key shorter than the block is filled up with zeros.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&self.bytes);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        for part in std::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
            // All parts are short values of ours.
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            mac.update(&length.to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for DerivationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DerivationKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The keys in use: one to derive with, and older ones for records that were made with them.
#[derive(Debug, Clone)]
pub struct DerivationKeys(Vec<DerivationKey>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    #[error("there is no derivation key")]
    Empty,
    #[error("there are {found} derivation keys; at most {} are kept", DerivationKeys::KEYS_MAX)]
    TooMany { found: usize },
    #[error("derivation key id {} stands twice", id.0)]
    Duplicate { id: KeyId },
}

impl DerivationKeys {
    pub const KEYS_MAX: usize = 16;

    /// The first is the current one.
    ///
    /// # Errors
    /// [`KeysError`] for none, for more than [`Self::KEYS_MAX`] and for an id that stands twice.
    pub fn new(keys: Vec<DerivationKey>) -> Result<Self, KeysError> {
        if keys.is_empty() {
            return Err(KeysError::Empty);
        }
        if keys.len() > Self::KEYS_MAX {
            return Err(KeysError::TooMany { found: keys.len() });
        }
        let twice = keys.iter().enumerate().find(|(index, key)| keys[..*index].iter().any(|other| other.id == key.id));
        match twice {
            Some((_, key)) => Err(KeysError::Duplicate { id: key.id }),
            None => Ok(Self(keys)),
        }
    }

    /// What new records are derived with.
    #[must_use]
    pub fn current(&self) -> &DerivationKey {
        &self.0[0]
    }

    /// What the record that names it was derived with; `None` where the key is gone, and the record's secrets with it.
    #[must_use]
    pub fn get(&self, id: KeyId) -> Option<&DerivationKey> {
        self.0.iter().find(|key| key.id == id)
    }

    /// All, the current one first: a user code does not say which key it belongs to.
    pub fn iter(&self) -> impl Iterator<Item = &DerivationKey> {
        self.0.iter()
    }
}
