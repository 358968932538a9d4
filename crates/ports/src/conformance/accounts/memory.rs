//! Accounts in memory: the suite runs on it, and so do tests of what uses the port.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use orinoco_domain::{
    DeviceId,
    account::{Account, Email, PasswordHash, Role, UserId},
    audit::{AuditEntry, NewAuditEntry},
};

use super::AccountsFactory;
use crate::{
    AccountPage, Accounts, AccountsError, AuditPage, BackendInfo, Clock, DeviceCredential, DeviceCredentialPage,
    NewAccount, Rehash, conformance::clock::ManualClock,
};

/// The factory: one store.
#[derive(Default)]
pub struct MemoryAccountsFactory {
    store: Arc<MemoryAccounts>,
}

#[async_trait]
impl AccountsFactory for MemoryAccountsFactory {
    async fn open(&self) -> Arc<dyn Accounts> {
        self.store.clone()
    }

    async fn open_as_after_kill(&self) -> Arc<dyn Accounts> {
        let copy = MemoryAccounts::new(Arc::clone(&self.store.clock));
        *copy.tables.lock().unwrap() = self.store.tables.lock().unwrap().clone();
        Arc::new(copy)
    }
}

#[derive(Default)]
pub struct MemoryAccounts {
    clock: Arc<ManualClock>,
    tables: Mutex<Tables>,
    is_away: AtomicBool,
}

#[derive(Default, Clone)]
struct Tables {
    accounts: BTreeMap<UserId, Account>,
    credentials: BTreeMap<DeviceId, DeviceCredential>,
    audit: BTreeMap<i64, AuditEntry>,
    audit_head: i64,
}

impl MemoryAccounts {
    #[must_use]
    pub fn new(clock: Arc<ManualClock>) -> Self {
        Self { clock, ..Self::default() }
    }

    /// An outage begins, or ends: meanwhile every call fails with `Unavailable`.
    pub fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    /// The tables and the time, after what a server's round trip lets others do.
    async fn enter(&self) -> Result<(MutexGuard<'_, Tables>, i64), AccountsError> {
        tokio::task::yield_now().await;
        if self.is_away.load(Ordering::SeqCst) {
            let (place, reason) = ("memory".to_owned(), "it was told to be away".to_owned());
            return Err(AccountsError::Unavailable { place, reason });
        }
        let tables = self.tables.lock().unwrap();
        Ok((tables, self.clock.now_ms()))
    }

    async fn change(&self, id: UserId, change: impl FnOnce(&mut Account)) -> Result<Option<Account>, AccountsError> {
        let (mut tables, now_ms) = self.enter().await?;
        let Some(account) = tables.accounts.get_mut(&id) else { return Ok(None) };
        change(account);
        account.updated_at_ms = now_ms;
        Ok(Some(account.clone()))
    }
}

#[async_trait]
impl Accounts for MemoryAccounts {
    async fn create(&self, new: &NewAccount) -> Result<Account, AccountsError> {
        let (mut tables, now_ms) = self.enter().await?;
        if tables.accounts.values().any(|account| account.email == new.email) {
            return Err(AccountsError::EmailTaken);
        }
        tables.check_free(None, new.orin_id.as_ref())?;
        let id = UserId(tables.accounts.len() as i64 + 1);
        let account = Account {
            id,
            email: new.email.clone(),
            password_hash: new.password_hash.clone(),
            orin_id: new.orin_id.clone(),
            roles: new.roles.clone(),
            enabled: true,
            generation: 0,
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
        };
        tables.accounts.insert(id, account.clone());
        Ok(account)
    }

    async fn by_id(&self, id: UserId) -> Result<Option<Account>, AccountsError> {
        Ok(self.enter().await?.0.accounts.get(&id).cloned())
    }

    async fn by_email(&self, email: &Email) -> Result<Option<Account>, AccountsError> {
        let (tables, _) = self.enter().await?;
        Ok(tables.accounts.values().find(|account| account.email == *email).cloned())
    }

    async fn list(&self, after: Option<UserId>, accounts_max: usize) -> Result<AccountPage, AccountsError> {
        let (tables, _) = self.enter().await?;
        let mut rest = tables.accounts.values().filter(|account| after.is_none_or(|after| account.id > after));
        let accounts: Vec<Account> = rest.by_ref().take(accounts_max).cloned().collect();
        let last = accounts.last().map(|account| account.id);
        Ok(AccountPage { accounts, next: rest.next().and(last) })
    }

    async fn replace_password_hash(
        &self,
        id: UserId,
        expected: &PasswordHash,
        replacement: &PasswordHash,
        rehash: Rehash,
    ) -> Result<Option<Account>, AccountsError> {
        let (mut tables, now_ms) = self.enter().await?;
        let found = tables.accounts.get_mut(&id).filter(|account| account.password_hash == *expected);
        let Some(account) = found else { return Ok(None) };
        account.password_hash = replacement.clone();
        account.generation += u64::from(rehash == Rehash::Password);
        account.updated_at_ms = now_ms;
        Ok(Some(account.clone()))
    }

    async fn set_enabled(&self, id: UserId, enabled: bool) -> Result<Option<Account>, AccountsError> {
        self.change(id, |account| {
            account.enabled = enabled;
            account.generation += u64::from(!enabled);
        })
        .await
    }

    async fn set_roles(&self, id: UserId, roles: &BTreeSet<Role>) -> Result<Option<Account>, AccountsError> {
        self.change(id, |account| account.roles = roles.clone()).await
    }

    async fn set_orin_id(&self, id: UserId, orin_id: Option<&DeviceId>) -> Result<Option<Account>, AccountsError> {
        let (mut tables, now_ms) = self.enter().await?;
        if !tables.accounts.contains_key(&id) {
            return Ok(None);
        }
        tables.check_free(Some(id), orin_id)?;
        let Some(account) = tables.accounts.get_mut(&id) else { return Ok(None) };
        account.orin_id = orin_id.cloned();
        account.updated_at_ms = now_ms;
        Ok(Some(account.clone()))
    }

    async fn bump_generation(&self, id: UserId) -> Result<Option<Account>, AccountsError> {
        self.change(id, |account| account.generation += 1).await
    }

    async fn put_device_credential(
        &self,
        device: &DeviceId,
        secret_hash: &PasswordHash,
    ) -> Result<DeviceCredential, AccountsError> {
        let (mut tables, now_ms) = self.enter().await?;
        let created_at_ms = tables.credentials.get(device).map_or(now_ms, |held| held.created_at_ms);
        let (device, secret_hash) = (device.clone(), Some(secret_hash.clone()));
        let credential = DeviceCredential { device, secret_hash, created_at_ms, updated_at_ms: now_ms };
        tables.credentials.insert(credential.device.clone(), credential.clone());
        Ok(credential)
    }

    async fn device_credential(&self, device: &DeviceId) -> Result<Option<DeviceCredential>, AccountsError> {
        Ok(self.enter().await?.0.credentials.get(device).cloned())
    }

    async fn revoke_device_credential(&self, device: &DeviceId) -> Result<Option<DeviceCredential>, AccountsError> {
        let (mut tables, now_ms) = self.enter().await?;
        let Some(credential) = tables.credentials.get_mut(device) else { return Ok(None) };
        if credential.secret_hash.take().is_some() {
            credential.updated_at_ms = now_ms;
        }
        Ok(Some(credential.clone()))
    }

    async fn device_credentials(
        &self,
        after: Option<&DeviceId>,
        credentials_max: usize,
    ) -> Result<DeviceCredentialPage, AccountsError> {
        let (tables, _) = self.enter().await?;
        let mut rest = tables.credentials.values().filter(|held| after.is_none_or(|after| held.device > *after));
        let credentials: Vec<DeviceCredential> = rest.by_ref().take(credentials_max).cloned().collect();
        let last = credentials.last().map(|credential| credential.device.clone());
        Ok(DeviceCredentialPage { credentials, next: rest.next().and(last) })
    }

    async fn append_audit(&self, entry: &NewAuditEntry, entries_max: u32) -> Result<(), AccountsError> {
        let (mut tables, now_ms) = self.enter().await?;
        tables.audit_head += 1;
        let id = tables.audit_head;
        tables.audit.insert(id, AuditEntry { id, at_ms: now_ms, entry: entry.clone() });
        tables.audit.retain(|held, _| *held > id - i64::from(entries_max));
        Ok(())
    }

    async fn audit(&self, before: Option<i64>, entries_max: usize) -> Result<AuditPage, AccountsError> {
        let (tables, _) = self.enter().await?;
        let mut rest = tables.audit.values().rev().filter(|held| before.is_none_or(|before| held.id < before));
        let entries: Vec<AuditEntry> = rest.by_ref().take(entries_max).cloned().collect();
        let last = entries.last().map(|entry| entry.id);
        Ok(AuditPage { entries, next: rest.next().and(last) })
    }

    async fn probe(&self) -> Result<BackendInfo, AccountsError> {
        drop(self.enter().await?);
        Ok(BackendInfo { version: "memory".to_owned(), advice: Vec::new() })
    }
}

impl Tables {
    /// Whether no account but `id` has the device.
    fn check_free(&self, id: Option<UserId>, orin_id: Option<&DeviceId>) -> Result<(), AccountsError> {
        let holder = |account: &&Account| orin_id.is_some() && account.orin_id.as_ref() == orin_id;
        match self.accounts.values().find(holder) {
            Some(account) if Some(account.id) != id => Err(AccountsError::OrinIdTaken),
            _ => Ok(()),
        }
    }
}
