//! Who asks, as a person is shown it before approving, and in the list of logins.

use serde::{Deserialize, Serialize};

/// Where a request came from. Bounded, and without control characters: it is shown on terminals and pages.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientInfo {
    address: Box<str>,
    user_agent: Box<str>,
}

impl ClientInfo {
    /// Bytes; an IPv6 address with a zone fits.
    pub const ADDRESS_LENGTH_MAX: usize = 64;
    /// Bytes; longer ones are cut.
    pub const USER_AGENT_LENGTH_MAX: usize = 256;

    #[must_use]
    pub fn new(address: &str, user_agent: &str) -> Self {
        Self {
            address: printable(address, Self::ADDRESS_LENGTH_MAX).into(),
            user_agent: printable(user_agent, Self::USER_AGENT_LENGTH_MAX).into(),
        }
    }

    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    #[must_use]
    pub fn user_agent(&self) -> &str {
        &self.user_agent
    }
}

/// The text without control characters, cut between two characters to at most `length_max` bytes.
pub(crate) fn printable(text: &str, length_max: usize) -> String {
    let mut kept = String::new();
    for character in text.chars().filter(|character| !character.is_control()) {
        if kept.len() + character.len_utf8() > length_max {
            break;
        }
        kept.push(character);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_between_two_characters() {
        let client = ClientInfo::new("::1", &"é".repeat(200));
        assert_eq!(client.user_agent(), "é".repeat(128));
        assert_eq!(ClientInfo::new("::1", &format!("x{}", "é".repeat(200))).user_agent().len(), 255);
    }

    #[test]
    fn control_characters_are_left_out() {
        let client = ClientInfo::new("10.0.0.1\0", "curl\r\n\u{1b}[31m/8\u{85}");
        assert_eq!((client.address(), client.user_agent()), ("10.0.0.1", "curl[31m/8"));
    }
}
