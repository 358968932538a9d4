//! Accounts, device credentials and the audit log: PostgreSQL, or a file of our own.
//!
//! Invariants: an e-mail address and an `orin_id` belong to one account; an account's generation never falls, and a disabled account never
//! keeps its old one; all times are the store's.

use std::collections::BTreeSet;

use async_trait::async_trait;
use orinoco_domain::{
    DeviceId,
    account::{Account, Email, PasswordHash, Role, UserId},
    audit::{AuditEntry, NewAuditEntry},
};

use crate::BackendInfo;

/// An account to be made; it starts enabled, with generation 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    pub email: Email,
    pub password_hash: PasswordHash,
    pub orin_id: Option<DeviceId>,
    pub roles: BTreeSet<Role>,
}

/// Why a password's hash is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rehash {
    /// The same password under newer parameters: logins go on.
    Parameters,
    /// Another password: generation + 1.
    Password,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountPage {
    /// Ids rising.
    pub accounts: Vec<Account>,
    /// The last account's id where there are more; `None` on the last page.
    pub next: Option<UserId>,
}

/// What a device logs in with at the broker, and what binding it at signup needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCredential {
    pub device: DeviceId,
    /// `None`: revoked. No secret opens it until another is put; the device doesn't become open to everybody.
    pub secret_hash: Option<PasswordHash>,
    /// ms since 1970; kept when another secret is put.
    pub created_at_ms: i64,
    /// ms since 1970.
    pub updated_at_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceCredentialPage {
    /// By name, rising by bytes.
    pub credentials: Vec<DeviceCredential>,
    /// The last device where there are more; `None` on the last page.
    pub next: Option<DeviceId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditPage {
    /// Newest first: ids falling.
    pub entries: Vec<AuditEntry>,
    /// The last entry's id where there are older ones; `None` on the last page.
    pub next: Option<i64>,
}

/// A method that changes an account returns it as it is afterwards, and `None` where there is no such account. Where it fails with
/// [`AccountsError::Unavailable`] it is not known whether it was done; doing it again is harmless.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// # Errors
    /// `EmailTaken`, `OrinIdTaken` (`EmailTaken` where both are), and nothing was changed; else as all.
    async fn create(&self, new: &NewAccount) -> Result<Account, AccountsError>;

    /// # Errors
    /// [`AccountsError`].
    async fn by_id(&self, id: UserId) -> Result<Option<Account>, AccountsError>;

    /// # Errors
    /// [`AccountsError`].
    async fn by_email(&self, email: &Email) -> Result<Option<Account>, AccountsError>;

    /// Accounts with ids above `after`.
    ///
    /// # Errors
    /// [`AccountsError`].
    async fn list(&self, after: Option<UserId>, accounts_max: usize) -> Result<AccountPage, AccountsError>;

    /// Compare-and-set on the hash that was checked: `None` as well where another one stands there by now.
    ///
    /// # Errors
    /// [`AccountsError`].
    async fn replace_password_hash(
        &self,
        id: UserId,
        expected: &PasswordHash,
        replacement: &PasswordHash,
        rehash: Rehash,
    ) -> Result<Option<Account>, AccountsError>;

    /// Disabling an account adds 1 to its generation, each time.
    ///
    /// # Errors
    /// [`AccountsError`].
    async fn set_enabled(&self, id: UserId, enabled: bool) -> Result<Option<Account>, AccountsError>;

    /// # Errors
    /// [`AccountsError`].
    async fn set_roles(&self, id: UserId, roles: &BTreeSet<Role>) -> Result<Option<Account>, AccountsError>;

    /// `None` unbinds the device.
    ///
    /// # Errors
    /// `OrinIdTaken`, and nothing was changed; else as all.
    async fn set_orin_id(&self, id: UserId, orin_id: Option<&DeviceId>) -> Result<Option<Account>, AccountsError>;

    /// Ends all logins of the account: generation + 1.
    ///
    /// # Errors
    /// [`AccountsError`].
    async fn bump_generation(&self, id: UserId) -> Result<Option<Account>, AccountsError>;

    /// Gives a device a secret, in place of any before, revoked or not.
    ///
    /// # Errors
    /// [`AccountsError`].
    async fn put_device_credential(
        &self,
        device: &DeviceId,
        secret_hash: &PasswordHash,
    ) -> Result<DeviceCredential, AccountsError>;

    /// `None`: the device never had one.
    ///
    /// # Errors
    /// [`AccountsError`].
    async fn device_credential(&self, device: &DeviceId) -> Result<Option<DeviceCredential>, AccountsError>;

    /// The credential as it is afterwards; `None`: the device never had one. Revoking again changes nothing.
    ///
    /// # Errors
    /// [`AccountsError`].
    async fn revoke_device_credential(&self, device: &DeviceId) -> Result<Option<DeviceCredential>, AccountsError>;

    /// Credentials of devices behind `after` by name, revoked ones too.
    ///
    /// # Errors
    /// [`AccountsError`].
    async fn device_credentials(
        &self,
        after: Option<&DeviceId>,
        credentials_max: usize,
    ) -> Result<DeviceCredentialPage, AccountsError>;

    /// Appends a line, and forgets the oldest so that `entries_max` at most are kept. Whom it names need not be an account (any more).
    ///
    /// # Errors
    /// [`AccountsError`].
    async fn append_audit(&self, entry: &NewAuditEntry, entries_max: u32) -> Result<(), AccountsError>;

    /// Lines with ids below `before`, newest first.
    ///
    /// # Errors
    /// [`AccountsError`].
    async fn audit(&self, before: Option<i64>, entries_max: usize) -> Result<AuditPage, AccountsError>;

    /// # Errors
    /// [`AccountsError`].
    async fn probe(&self) -> Result<BackendInfo, AccountsError>;
}

#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    #[error("the e-mail address is taken")]
    EmailTaken,
    #[error("the orinId is taken")]
    OrinIdTaken,
    /// Try again later.
    #[error("account store {place} can't be reached: {reason}")]
    Unavailable { place: String, reason: String },
    #[error("account store {place} has schema {found}, this program needs {needed}; run `orinoco migrate`")]
    Schema { place: String, found: String, needed: String },
    /// What is stored can't be understood: somebody must look.
    #[error("account store {place} holds what can't be read: {reason}")]
    Corrupt { place: String, reason: String },
}
