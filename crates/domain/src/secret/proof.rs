//! How a challenge's creator proves itself: by its verifier (S256 as in PKCE, RFC 7636 section 4.2), or by its cookie.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Digest256, InvalidSecret, secret_256};

/// `Orinoco-Verifier`, and OAuth's `device_code`: RFC 7636 section 4.1, 43 to 128 characters of `[A-Za-z0-9-._~]`.
#[derive(Clone)]
pub struct Verifier(Box<str>);

impl Verifier {
    pub const LENGTH_MIN: usize = 43;
    pub const LENGTH_MAX: usize = 128;

    /// # Errors
    /// [`InvalidSecret`] for any other length or character.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        let fits = (Self::LENGTH_MIN..=Self::LENGTH_MAX).contains(&text.len()) && text.bytes().all(allowed);
        if fits { Ok(Self(text.into())) } else { Err(InvalidSecret) }
    }

    /// Of 32 bytes that nobody can guess: 43 characters.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(super::encode(&bytes).into())
    }

    /// The text, to be shown to whom it belongs.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn code_challenge(&self) -> CodeChallenge {
        CodeChallenge(Digest256::of(self.0.as_bytes()))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Verifier(redacted)")
    }
}

/// `codeChallenge`: BASE64URL(SHA-256(verifier)), 43 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CodeChallenge(Digest256);

impl CodeChallenge {
    /// # Errors
    /// [`InvalidSecret`] for anything but 43 characters of BASE64URL without padding.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        Digest256::parse(text).map(Self)
    }
}

secret_256! {
    /// The value of the HttpOnly cookie that binds a challenge to a browser which sent no code challenge.
    CookieSecret
}

/// Whom a challenge belongs to, as stored: nothing that could be presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Binding {
    /// Who knows the verifier of this code challenge.
    Verifier(CodeChallenge),
    /// Who sends the cookie of this SHA-256.
    Cookie(Digest256),
}

impl Binding {
    #[must_use]
    pub fn to_cookie(cookie: &CookieSecret) -> Self {
        Self::Cookie(Digest256::of(&cookie.0))
    }

    /// Whether the proof is the creator's. One kind never stands for the other: what guards cookies (the request's origin) does not
    /// guard the header.
    #[must_use]
    pub fn accepts(&self, proof: &Proof) -> bool {
        match (self, proof) {
            (Self::Verifier(expected), Proof::Verifier(verifier)) => verifier.code_challenge() == *expected,
            (Self::Cookie(expected), Proof::Cookie(cookie)) => Digest256::of(&cookie.0) == *expected,
            (Self::Verifier(_), Proof::Cookie(_)) | (Self::Cookie(_), Proof::Verifier(_)) => false,
        }
    }
}

/// What a request presents to be taken for the creator's.
#[derive(Debug, Clone)]
pub enum Proof {
    Verifier(Verifier),
    Cookie(CookieSecret),
}
