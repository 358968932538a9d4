//! The device grant's `user_code`, which a person types in.

use std::fmt;

/// Eight letters of an alphabet without vowels and look-alikes (RFC 8628 section 6.1): 20^8, some 34 bits, enough for the two minutes that
/// it lives behind a rate limit.
#[derive(Clone, PartialEq, Eq)]
pub struct UserCode([u8; UserCode::LETTERS]);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a user code is eight letters, such as WDJB-MJHT")]
pub struct InvalidUserCode;

const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

impl UserCode {
    pub const LETTERS: usize = 8;
    /// Longest text accepted, with whatever stands between the letters.
    pub const LENGTH_MAX: usize = 32;

    /// Of 64 random bits; the bias of the remainder is below 2^-29.
    #[must_use]
    pub fn from_random(random: u64) -> Self {
        let mut rest = random;
        Self(std::array::from_fn(|_| {
            let letter = ALPHABET[(rest % 20) as usize];
            rest /= 20;
            letter
        }))
    }

    /// As typed: in any case, with any punctuation or blanks between the letters (RFC 8628 section 6.1).
    ///
    /// # Errors
    /// [`InvalidUserCode`] where other than eight letters of the alphabet are left.
    pub fn parse(text: &str) -> Result<Self, InvalidUserCode> {
        if text.len() > Self::LENGTH_MAX || !text.is_ascii() {
            return Err(InvalidUserCode);
        }
        let typed = text.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_uppercase());
        let letters: Vec<u8> = typed.collect();
        if !letters.iter().all(|letter| ALPHABET.contains(letter)) {
            return Err(InvalidUserCode);
        }
        letters.try_into().map(Self).map_err(|_| InvalidUserCode)
    }

    /// As shown: `WDJB-MJHT`.
    #[must_use]
    pub fn expose(&self) -> String {
        let (left, right) = self.0.split_at(Self::LETTERS / 2);
        format!("{}-{}", String::from_utf8_lossy(left), String::from_utf8_lossy(right))
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("UserCode(redacted)")
    }
}
