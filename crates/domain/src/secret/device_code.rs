//! The device grant's `device_code`.

use super::{ChallengeId, InvalidSecret, Verifier};

/// Names a challenge and proves its creator (RFC 8628 section 3.2): `challengeId.verifier`.
#[derive(Debug, Clone)]
pub struct DeviceCode {
    pub challenge: ChallengeId,
    pub verifier: Verifier,
}

impl DeviceCode {
    /// # Errors
    /// [`InvalidSecret`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let (challenge, verifier) = text.split_once('.').ok_or(InvalidSecret)?;
        Ok(Self { challenge: ChallengeId::parse(challenge)?, verifier: Verifier::parse(verifier)? })
    }

    /// The text, to be shown to whom it belongs.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{}.{}", self.challenge.expose(), self.verifier.expose())
    }
}
