//! The text of a refresh token.

use std::fmt;

use subtle::ConstantTimeEq;

use super::FamilyId;
use crate::secret::{self, DerivationKey, Digest256, Salt};

/// A refresh token as presented, or as given out. Whether it is genuine is for [`decide`](super::decide()) to say.
#[derive(Clone)]
pub struct RefreshToken {
    family: FamilyId,
    sequence: u32,
    secret: [u8; 32],
}

/// It does not say what is wrong: the text is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a refresh token")]
pub struct InvalidRefreshToken;

impl RefreshToken {
    const BYTES: usize = 16 + 4 + 32;
    /// Characters of its text.
    pub const LENGTH: usize = (Self::BYTES * 4).div_ceil(3);

    pub(crate) fn derive(key: &DerivationKey, family: FamilyId, salt: Salt, sequence: u32) -> Self {
        let secret = key.derive("refresh", &[family.as_bytes(), salt.as_bytes(), &sequence.to_be_bytes()]);
        Self { family, sequence, secret }
    }

    /// # Errors
    /// [`InvalidRefreshToken`] for anything but [`Self::LENGTH`] characters of BASE64URL without padding.
    pub fn parse(text: &str) -> Result<Self, InvalidRefreshToken> {
        let bytes: [u8; Self::BYTES] = secret::decode(text).map_err(|_| InvalidRefreshToken)?;
        let (family, rest) = bytes.split_first_chunk::<16>().ok_or(InvalidRefreshToken)?;
        let (sequence, secret) = rest.split_first_chunk::<4>().ok_or(InvalidRefreshToken)?;
        Ok(Self {
            family: FamilyId::from_bytes(*family),
            sequence: u32::from_be_bytes(*sequence),
            secret: secret.try_into().map_err(|_| InvalidRefreshToken)?,
        })
    }

    /// The family to load.
    #[must_use]
    pub fn family(&self) -> FamilyId {
        self.family
    }

    #[must_use]
    pub fn sequence(&self) -> u32 {
        self.sequence
    }

    /// The text, to be shown to whom it belongs.
    #[must_use]
    pub fn expose(&self) -> String {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(self.family.as_bytes());
        bytes[16..20].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[20..].copy_from_slice(&self.secret);
        secret::encode(&bytes)
    }

    /// SHA-256 of its text, as stored.
    #[must_use]
    pub fn digest(&self) -> Digest256 {
        Digest256::of(self.expose().as_bytes())
    }
}

/// The secret in constant time.
impl PartialEq for RefreshToken {
    fn eq(&self, other: &Self) -> bool {
        let same_secret: bool = self.secret[..].ct_eq(&other.secret[..]).into();
        self.family == other.family && self.sequence == other.sequence && same_secret
    }
}

impl Eq for RefreshToken {}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, sequence, .. } = self;
        write!(formatter, "RefreshToken({family}, {sequence}, redacted)")
    }
}
