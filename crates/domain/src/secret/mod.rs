//! Secrets: 256-bit values, their text (BASE64URL without padding, RFC 4648 section 5: 43 characters), and how they are derived.
//!
//! Invariants: `Debug` never shows one; two of them are compared in constant time; what must be shown again is derived from a server key
//! (see [`DerivationKey`]) and stored nowhere. Random bytes come in as arguments.

mod derivation;
mod device_code;
mod proof;
#[cfg(test)]
mod tests;
mod user_code;

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

pub use derivation::{DerivationKey, DerivationKeys, KeyId, KeysError};
pub use device_code::DeviceCode;
pub use proof::{Binding, CodeChallenge, CookieSecret, Proof, Verifier};
pub use user_code::{InvalidUserCode, UserCode};

/// Not the text of what was expected. It does not say what is wrong with it: the text is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 43 characters of BASE64URL without padding")]
pub struct InvalidSecret;

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode<const LENGTH: usize>(text: &str) -> Result<[u8; LENGTH], InvalidSecret> {
    // Longer texts are refused before they are decoded.
    if text.len() != (LENGTH * 4).div_ceil(3) {
        return Err(InvalidSecret);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidSecret)?;
    bytes.try_into().map_err(|_| InvalidSecret)
}

macro_rules! secret_256 {
    ($(#[$docs:meta])* $name:ident) => {
        $(#[$docs])*
        #[derive(Clone)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Of 32 bytes that nobody can guess.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// # Errors
            /// [`InvalidSecret`] for anything but 43 characters of BASE64URL without padding.
            pub fn parse(text: &str) -> Result<Self, $crate::secret::InvalidSecret> {
                $crate::secret::decode(text).map(Self)
            }

            /// The text, to be shown to whom it belongs: 43 characters.
            #[must_use]
            pub fn expose(&self) -> String {
                $crate::secret::encode(&self.0)
            }
        }

        /// In constant time.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                ::subtle::ConstantTimeEq::ct_eq(&self.0[..], &other.0[..]).into()
            }
        }

        impl Eq for $name {}

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                formatter.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    };
}
pub(crate) use secret_256;

secret_256! {
    /// `challengeId`: names a challenge to the browser and the phone. The store knows it by its [`ChallengeKey`](crate::challenge::ChallengeKey).
    ChallengeId
}

impl ChallengeId {
    pub(crate) fn digest(&self) -> Digest256 {
        Digest256::of(&self.0)
    }
}

secret_256! {
    /// `nonce`: shows that a phone saw the picture. Derived from the challenge's record, stored nowhere.
    Nonce
}

secret_256! {
    /// `otc`: shows that the creator saw the approval. Derived from the challenge's record, stored nowhere.
    Otc
}

/// A SHA-256, as stored in place of a secret of 256 bits (which needs neither salt nor stretching). Compared in constant time.
#[derive(Clone, Copy)]
pub struct Digest256([u8; 32]);

impl Digest256 {
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// # Errors
    /// [`InvalidSecret`] for anything but 43 characters of BASE64URL without padding.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        decode(text).map(Self)
    }
}

/// In constant time.
impl PartialEq for Digest256 {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Digest256 {}

/// BASE64URL, 43 characters.
impl fmt::Display for Digest256 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&encode(&self.0))
    }
}

impl fmt::Debug for Digest256 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Digest256({self})")
    }
}

impl Serialize for Digest256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// 128 random bits that make what is derived from a record its own. Not a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt([u8; 16]);

impl Salt {
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl Serialize for Salt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        decode(&text).map(Self).map_err(serde::de::Error::custom)
    }
}
