//! Accounts: who may log in, and as what.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Deserializer, Serialize};

use crate::DeviceId;

/// An account's id: above 0, never given twice. `sub` of its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub i64);

impl fmt::Display for UserId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// An e-mail address as HTML's `input type=email` understands it, trimmed and in lower case, so that one account has one spelling.
/// Source: WHATWG HTML, "valid e-mail address"; the lengths are RFC 5321's (sections 4.5.3.1.1 and 4.5.3.1.3).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Email(Box<str>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address of at most 254 characters, such as name@example.org")]
pub struct InvalidEmail;

impl Email {
    pub const LENGTH_MAX: usize = 254;
    pub const LOCAL_LENGTH_MAX: usize = 64;

    /// # Errors
    /// [`InvalidEmail`].
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        let address = text.trim();
        let (local, domain) = address.rsplit_once('@').ok_or(InvalidEmail)?;
        let local_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
        let local_fits = (1..=Self::LOCAL_LENGTH_MAX).contains(&local.len()) && local.bytes().all(local_allowed);
        if address.len() > Self::LENGTH_MAX || !local_fits || !domain.split('.').all(is_label) {
            return Err(InvalidEmail);
        }
        Ok(Self(address.to_ascii_lowercase().into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// RFC 1034 section 3.5: letters, digits and inner hyphens, 63 characters at most.
fn is_label(label: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&label.len()) && label.bytes().all(allowed) && !label.starts_with('-') && !label.ends_with('-')
}

impl fmt::Display for Email {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Email {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Role {
    /// Sees its own device.
    User,
    /// Sees all, and manages accounts.
    Admin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is USER or ADMIN")]
pub struct InvalidRole;

impl Role {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Admin => "ADMIN",
        }
    }

    /// # Errors
    /// [`InvalidRole`] for anything but `USER` and `ADMIN`.
    pub fn parse(text: &str) -> Result<Self, InvalidRole> {
        [Self::User, Self::Admin].into_iter().find(|role| role.as_str() == text).ok_or(InvalidRole)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A password's or a device secret's hash in PHC string format. Compared by its hash function, not by `==`, which only tells whether a
/// stored one was replaced.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Box<str>);

impl PasswordHash {
    #[must_use]
    pub fn from_phc(text: &str) -> Self {
        Self(text.into())
    }

    /// The PHC string: for the hash function and the store.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PasswordHash(redacted)")
    }
}

/// An account as stored. Not serialisable: what is shown of it is chosen field by field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: UserId,
    /// Unique.
    pub email: Email,
    pub password_hash: PasswordHash,
    /// The device bound to the account; unique.
    pub orin_id: Option<DeviceId>,
    pub roles: BTreeSet<Role>,
    /// Who is not enabled can't log in, and its logins end.
    pub enabled: bool,
    /// The token generation: +1 with each logout of all logins, disabling and change of password. Logins of an older one have ended.
    pub generation: u64,
    /// ms since 1970, by the store's clock.
    pub created_at_ms: i64,
    /// ms since 1970, by the store's clock.
    pub updated_at_ms: i64,
}

impl Account {
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.roles.contains(&Role::Admin)
    }

    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing { enabled: self.enabled, generation: self.generation }
    }
}

/// What of an account decides whether its logins go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub enabled: bool,
    pub generation: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_trimmed_and_in_lower_case() {
        for (text, expected) in [
            (" Ada@Example.ORG\n", "ada@example.org"),
            ("a@b", "a@b"),
            ("first.last+tag@sub.example.co.uk", "first.last+tag@sub.example.co.uk"),
            ("root@localhost", "root@localhost"),
            ("o'brien@xn--bcher-kva.example", "o'brien@xn--bcher-kva.example"),
        ] {
            assert_eq!(Email::parse(text).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn anything_else_is_no_address() {
        let long_local = format!("{}@example.org", "x".repeat(65));
        let long = format!("{}@{}.org", "x".repeat(64), ["y".repeat(63), "z".repeat(63), "w".repeat(60)].join("."));
        assert!(long.len() > Email::LENGTH_MAX);
        for text in [
            "",
            "@",
            "a@",
            "@b",
            "a b@c",
            "a@b@c",
            "a@b..c",
            "a@.b",
            "a@b.",
            "a@-b",
            "a@b-",
            "a@b_c",
            "ä@b",
            "a@ä",
            "a\0@b",
            "a@b\u{a0}c",
            "<a@b>",
            "a@b,c@d",
            &long_local,
            &long,
        ] {
            assert_eq!(Email::parse(text), Err(InvalidEmail), "{text:?}");
        }
    }

    #[test]
    fn a_parsed_address_parses_to_itself() {
        let email = Email::parse("ADA+x@EXAMPLE.org").unwrap();
        assert_eq!(Email::parse(email.as_str()), Ok(email));
    }

    #[test]
    fn roles_are_written_as_in_the_entities() {
        assert_eq!(serde_json::to_string(&[Role::User, Role::Admin]).unwrap(), r#"["USER","ADMIN"]"#);
        assert_eq!(Role::parse("ADMIN"), Ok(Role::Admin));
        assert_eq!(Role::parse("admin"), Err(InvalidRole));
    }

    #[test]
    fn a_password_hash_is_not_shown() {
        assert_eq!(format!("{:?}", PasswordHash::from_phc("$scrypt$x")), "PasswordHash(redacted)");
    }
}
