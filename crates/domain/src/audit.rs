//! The audit log's lines. Event names: OWASP Logging Vocabulary Cheat Sheet.

use std::fmt;

use crate::{account::UserId, client::printable};

macro_rules! audit_events {
    ($($(#[$docs:meta])* $name:ident = $text:literal,)*) => {
        /// What happened. Written as in the vocabulary: `authn_login_success`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum AuditEvent {
            $($(#[$docs])* $name,)*
        }

        impl AuditEvent {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

audit_events! {
    /// A login by password, QR challenge or device grant: the detail says which.
    LoginSuccess = "authn_login_success",
    LoginFail = "authn_login_fail",
    /// Refused for too many failures.
    LoginFailMax = "authn_login_fail_max",
    LoginLock = "authn_login_lock",
    PasswordChange = "authn_password_change",
    PasswordChangeFail = "authn_password_change_fail",
    /// A credential was made for a device.
    TokenCreated = "authn_token_created",
    /// Logins were ended by their user or an administrator, or a device's credential was.
    TokenRevoked = "authn_token_revoked",
    /// A refresh token that had been replaced came again; its family has ended.
    TokenReuse = "authn_token_reuse",
    AuthorizationFail = "authz_fail",
    AuthorizationChange = "authz_change",
    /// An administrator's act.
    AuthorizationAdmin = "authz_admin",
    UserCreated = "user_created",
    UserUpdated = "user_updated",
    /// Disabled; accounts are never deleted.
    UserArchived = "user_archived",
    SessionCreated = "session_created",
    SessionExpired = "session_expired",
    RateLimitExceeded = "excess_rate_limit_exceeded",
    /// A challenge was ended by its creator's wrong otc, and the like.
    InputValidationFail = "input_validation_fail",
    PrivilegesChanged = "privilege_permissions_changed",
}

impl AuditEvent {
    /// `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|event| event.as_str() == text)
    }
}

impl fmt::Display for AuditEvent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A line to be written; its time and its id are the store's. Bounded, and without control characters. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAuditEntry {
    pub event: AuditEvent,
    /// Whom it concerns, where that is known.
    pub user_id: Option<UserId>,
    address: Option<Box<str>>,
    detail: Box<str>,
}

impl NewAuditEntry {
    /// Bytes; an IPv6 address with a zone fits.
    pub const ADDRESS_LENGTH_MAX: usize = 64;
    /// Bytes; longer ones are cut.
    pub const DETAIL_LENGTH_MAX: usize = 512;

    /// `detail` is a sentence for a person.
    #[must_use]
    pub fn new(event: AuditEvent, user_id: Option<UserId>, address: Option<&str>, detail: &str) -> Self {
        let address = address.map(|address| printable(address, Self::ADDRESS_LENGTH_MAX).into());
        Self { event, user_id, address, detail: printable(detail, Self::DETAIL_LENGTH_MAX).into() }
    }

    #[must_use]
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

/// A line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Grows with each line; not every number is used.
    pub id: i64,
    /// ms since 1970, by the store's clock.
    pub at_ms: i64,
    pub entry: NewAuditEntry,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_found_by_its_name() {
        for event in AuditEvent::ALL {
            assert_eq!(AuditEvent::parse(event.as_str()), Some(*event));
        }
        assert_eq!(AuditEvent::parse("authn_login"), None);
    }

    #[test]
    fn a_line_is_bounded_and_printable() {
        let entry = NewAuditEntry::new(AuditEvent::LoginFail, None, Some(&"1".repeat(99)), &"a\nb".repeat(999));
        assert_eq!(entry.address().map(str::len), Some(64));
        assert_eq!((entry.detail().len(), entry.detail().contains('\n')), (512, false));
    }
}
