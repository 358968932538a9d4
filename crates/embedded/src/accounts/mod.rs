//! Accounts, device credentials and the audit log as an SQLite file.
//!
//! Invariants: what a call returned from survives a power cut (each change is synced). The file may be opened by other processes at the
//! same time (`orinoco user add` beside the daemon): each change is a transaction that has the file to itself and decides on what stands
//! there then, and every read asks the file. Passwords and device secrets are there as hashes only.

mod audit;
mod credentials;
mod schema;
#[cfg(test)]
mod tests;
mod users;

use std::{collections::BTreeSet, fmt, path::Path, sync::Arc};

use async_trait::async_trait;
use orinoco_domain::{
    DeviceId,
    account::{Account, Email, PasswordHash, Role, UserId},
    audit::NewAuditEntry,
};
use orinoco_ports::{
    AccountPage, Accounts, AccountsError, AuditPage, BackendInfo, Clock, DeviceCredential, DeviceCredentialPage,
    NewAccount, Rehash, SystemClock,
};
use rusqlite::Connection;

pub(crate) use self::schema::database;
use self::{schema::Change, users::Taken};
use crate::{
    files,
    sqlite::{Fault, Reader, Writer},
};

/// Calls that may wait for a thread; further ones wait for their turn.
const REQUESTS_MAX: usize = 256;

/// The embedded accounts.
pub struct SqliteAccounts {
    place: String,
    // Dropped before the writer, which tidies the file up.
    reader: Reader,
    writer: Writer<Change>,
}

impl SqliteAccounts {
    /// Opens the database file `path`, made if missing (its directory too). Other processes may have it open.
    ///
    /// # Errors
    /// [`AccountsError::Unavailable`]; [`AccountsError::Schema`] where a newer program made it; [`AccountsError::Corrupt`].
    pub fn open(path: &Path) -> Result<Self, AccountsError> {
        Self::open_with_clock(path, Arc::new(SystemClock))
    }

    /// The same, with times of this clock.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with_clock(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, AccountsError> {
        let place = path.display().to_string();
        Self::start(path, place.clone(), clock).map_err(|fault| error_at(&place, fault))
    }

    fn start(path: &Path, place: String, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            files::create_directory(parent).map_err(|error| Fault::Unavailable(error.to_string()))?;
        }
        let database = schema::database(path);
        let writing = database.open_for_writing()?;
        let reader = Reader::start("orinoco-users-r", database.open_for_reading()?, REQUESTS_MAX)?;
        let writer = Writer::start("orinoco-users-w", writing, Change::new(clock), REQUESTS_MAX)?;
        Ok(Self { place, reader, writer })
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, AccountsError> {
        self.reader.read(read).await.map_err(|fault| error_at(&self.place, fault))
    }

    /// `change` is done at the time that it is given, ms since 1970.
    async fn write<T: Send + 'static>(
        &self,
        mut change: impl FnMut(&Connection, i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, AccountsError> {
        let written = self.writer.write(move |connection, unit| change(connection, unit.now_ms())).await;
        written.map_err(|fault| error_at(&self.place, fault))
    }
}

impl fmt::Debug for SqliteAccounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SqliteAccounts").field("place", &self.place).finish_non_exhaustive()
    }
}

fn error_at(place: &str, fault: Fault) -> AccountsError {
    let place = place.to_owned();
    match fault {
        Fault::Unavailable(reason) => AccountsError::Unavailable { place, reason },
        Fault::Damaged(reason) => {
            AccountsError::Corrupt { place, reason: format!("{reason}; restore the file from a copy") }
        }
        Fault::Newer { found, needed } => {
            let found = format!("{found} (made by a newer orinoco: use that one)");
            AccountsError::Schema { place, found, needed: needed.to_string() }
        }
    }
}

#[async_trait]
impl Accounts for SqliteAccounts {
    async fn create(&self, new: &NewAccount) -> Result<Account, AccountsError> {
        let new = new.clone();
        match self.write(move |connection, now_ms| users::create(connection, &new, now_ms)).await? {
            Ok(account) => Ok(account),
            Err(Taken::Email) => Err(AccountsError::EmailTaken),
            Err(Taken::OrinId) => Err(AccountsError::OrinIdTaken),
        }
    }

    async fn by_id(&self, id: UserId) -> Result<Option<Account>, AccountsError> {
        self.read(move |connection| users::by_id(connection, id)).await
    }

    async fn by_email(&self, email: &Email) -> Result<Option<Account>, AccountsError> {
        let email = email.clone();
        self.read(move |connection| users::by_email(connection, &email)).await
    }

    async fn list(&self, after: Option<UserId>, accounts_max: usize) -> Result<AccountPage, AccountsError> {
        self.read(move |connection| users::list(connection, after, accounts_max)).await
    }

    async fn replace_password_hash(
        &self,
        id: UserId,
        expected: &PasswordHash,
        replacement: &PasswordHash,
        rehash: Rehash,
    ) -> Result<Option<Account>, AccountsError> {
        let (expected, replacement) = (expected.clone(), replacement.clone());
        self.write(move |connection, now_ms| {
            users::replace_password_hash(connection, id, &expected, &replacement, rehash, now_ms)
        })
        .await
    }

    async fn set_enabled(&self, id: UserId, enabled: bool) -> Result<Option<Account>, AccountsError> {
        self.write(move |connection, now_ms| users::set_enabled(connection, id, enabled, now_ms)).await
    }

    async fn set_roles(&self, id: UserId, roles: &BTreeSet<Role>) -> Result<Option<Account>, AccountsError> {
        let roles = roles.clone();
        self.write(move |connection, now_ms| users::set_roles(connection, id, &roles, now_ms)).await
    }

    async fn set_orin_id(&self, id: UserId, orin_id: Option<&DeviceId>) -> Result<Option<Account>, AccountsError> {
        let orin_id = orin_id.cloned();
        let set =
            self.write(move |connection, now_ms| users::set_orin_id(connection, id, orin_id.as_ref(), now_ms)).await?;
        set.map_err(|_| AccountsError::OrinIdTaken)
    }

    async fn bump_generation(&self, id: UserId) -> Result<Option<Account>, AccountsError> {
        self.write(move |connection, now_ms| users::bump_generation(connection, id, now_ms)).await
    }

    async fn put_device_credential(
        &self,
        device: &DeviceId,
        secret_hash: &PasswordHash,
    ) -> Result<DeviceCredential, AccountsError> {
        let (device, secret_hash) = (device.clone(), secret_hash.clone());
        self.write(move |connection, now_ms| credentials::put(connection, &device, &secret_hash, now_ms)).await
    }

    async fn device_credential(&self, device: &DeviceId) -> Result<Option<DeviceCredential>, AccountsError> {
        let device = device.clone();
        self.read(move |connection| credentials::of(connection, &device)).await
    }

    async fn revoke_device_credential(&self, device: &DeviceId) -> Result<Option<DeviceCredential>, AccountsError> {
        let device = device.clone();
        self.write(move |connection, now_ms| credentials::revoke(connection, &device, now_ms)).await
    }

    async fn device_credentials(
        &self,
        after: Option<&DeviceId>,
        credentials_max: usize,
    ) -> Result<DeviceCredentialPage, AccountsError> {
        let after = after.cloned();
        self.read(move |connection| credentials::list(connection, after.as_ref(), credentials_max)).await
    }

    async fn append_audit(&self, entry: &NewAuditEntry, entries_max: u32) -> Result<(), AccountsError> {
        let entry = entry.clone();
        self.write(move |connection, now_ms| audit::append(connection, &entry, entries_max, now_ms)).await
    }

    async fn audit(&self, before: Option<i64>, entries_max: usize) -> Result<AuditPage, AccountsError> {
        self.read(move |connection| audit::list(connection, before, entries_max)).await
    }

    async fn probe(&self) -> Result<BackendInfo, AccountsError> {
        // Something of the file is read, so that one that has gone is noticed.
        let ask = "SELECT sqlite_version() FROM pragma_user_version";
        let version: String = self.read(|connection| connection.query_row(ask, [], |row| row.get(0))).await?;
        Ok(BackendInfo { version: format!("SQLite {version}, in {}", self.place), advice: Vec::new() })
    }
}
