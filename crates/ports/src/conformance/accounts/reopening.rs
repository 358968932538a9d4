//! What outlives the process.

use orinoco_domain::{
    account::{Account, Role},
    audit::{AuditEntry, AuditEvent, NewAuditEntry},
};

use super::{
    AccountsFactory,
    fixture::{audit_all, bound, device, hash, list_all, list_credentials, roles},
};
use crate::{Accounts, AccountsError, DeviceCredential};

async fn write(accounts: &dyn Accounts) -> (Vec<Account>, Vec<DeviceCredential>, Vec<AuditEntry>) {
    let id = accounts.create(&bound("ada@example.org", "samu31")).await.unwrap().id;
    accounts.create(&bound("eve@example.org", "other")).await.unwrap();
    accounts.set_roles(id, &roles(&[Role::Admin])).await.unwrap();
    accounts.set_enabled(id, false).await.unwrap();
    accounts.put_device_credential(&device("samu31"), &hash("$scrypt$1")).await.unwrap();
    accounts.put_device_credential(&device("other"), &hash("$scrypt$2")).await.unwrap();
    accounts.revoke_device_credential(&device("other")).await.unwrap();
    let line = NewAuditEntry::new(AuditEvent::UserArchived, Some(id), None, "by the administrator");
    accounts.append_audit(&line, 100).await.unwrap();
    everything(accounts).await
}

async fn everything(accounts: &dyn Accounts) -> (Vec<Account>, Vec<DeviceCredential>, Vec<AuditEntry>) {
    (list_all(accounts, 10).await, list_credentials(accounts, 10).await, audit_all(accounts, 10).await)
}

pub async fn accounts_are_there_after_reopening(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    let before = write(&*accounts).await;
    drop(accounts);
    let accounts = factory.open().await;
    assert_eq!(everything(&*accounts).await, before);
    let taken = accounts.create(&bound("ada@example.org", "third")).await;
    assert!(matches!(taken, Err(AccountsError::EmailTaken)), "{taken:?}");
    let made = accounts.create(&bound("bob@example.org", "third")).await.unwrap();
    assert!(before.0.iter().all(|account| account.id < made.id));
    accounts.append_audit(&NewAuditEntry::new(AuditEvent::UserCreated, None, None, "bob"), 100).await.unwrap();
    assert_eq!(audit_all(&*accounts, 10).await[1..], before.2);
}

pub async fn accounts_are_there_after_a_kill(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    let before = write(&*accounts).await;
    let reopened = factory.open_as_after_kill().await;
    assert_eq!(everything(&*reopened).await, before);
}
