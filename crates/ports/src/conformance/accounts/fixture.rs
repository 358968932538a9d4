//! Accounts as tests make them.

use std::collections::BTreeSet;

use orinoco_domain::{
    DeviceId,
    account::{Account, Email, PasswordHash, Role, UserId},
    audit::AuditEntry,
};

use crate::{Accounts, DeviceCredential, NewAccount};

pub(super) fn device(name: &str) -> DeviceId {
    DeviceId::parse(name).unwrap()
}

pub(super) fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

pub(super) fn hash(text: &str) -> PasswordHash {
    PasswordHash::from_phc(text)
}

pub(super) fn roles(roles: &[Role]) -> BTreeSet<Role> {
    roles.iter().copied().collect()
}

/// A USER without a device.
pub(super) fn plain(address: &str) -> NewAccount {
    NewAccount {
        email: email(address),
        password_hash: hash("$scrypt$ln=17,r=8,p=1$c2FsdA$aGFzaA"),
        orin_id: None,
        roles: roles(&[Role::User]),
    }
}

pub(super) fn bound(address: &str, orin_id: &str) -> NewAccount {
    NewAccount { orin_id: Some(device(orin_id)), ..plain(address) }
}

pub(super) async fn create(accounts: &dyn Accounts, address: &str) -> Account {
    accounts.create(&plain(address)).await.unwrap()
}

pub(super) async fn get(accounts: &dyn Accounts, id: UserId) -> Account {
    accounts.by_id(id).await.unwrap().unwrap()
}

/// The account as it was, but for the time of its last change.
pub(super) fn at_time_of(account: Account, other: &Account) -> Account {
    Account { updated_at_ms: other.updated_at_ms, ..account }
}

/// All pages, each of `page_max` at most, in order.
pub(super) async fn list_all(accounts: &dyn Accounts, page_max: usize) -> Vec<Account> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = accounts.list(after, page_max).await.unwrap();
        assert!(page.accounts.len() <= page_max);
        assert!(after.is_none() || !page.accounts.is_empty(), "a cursor that leads to nothing");
        all.extend(page.accounts);
        if page.next.is_none() {
            return all;
        }
        assert_eq!(page.next, all.last().map(|account| account.id));
        assert!(page.next > after, "a cursor that does not move");
        after = page.next;
    }
}

pub(super) async fn list_credentials(accounts: &dyn Accounts, page_max: usize) -> Vec<DeviceCredential> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = accounts.device_credentials(after.as_ref(), page_max).await.unwrap();
        assert!(page.credentials.len() <= page_max);
        assert!(after.is_none() || !page.credentials.is_empty(), "a cursor that leads to nothing");
        all.extend(page.credentials);
        if page.next.is_none() {
            return all;
        }
        assert_eq!(page.next.as_ref(), all.last().map(|credential| &credential.device));
        assert!(page.next > after, "a cursor that does not move");
        after = page.next;
    }
}

/// All lines, newest first.
pub(super) async fn audit_all(accounts: &dyn Accounts, page_max: usize) -> Vec<AuditEntry> {
    let mut all: Vec<AuditEntry> = Vec::new();
    let mut before = None;
    loop {
        let page = accounts.audit(before, page_max).await.unwrap();
        assert!(page.entries.len() <= page_max);
        assert!(before.is_none() || !page.entries.is_empty(), "a cursor that leads to nothing");
        all.extend(page.entries);
        assert!(all.windows(2).all(|pair| pair[0].id > pair[1].id), "ids that don't fall");
        if page.next.is_none() {
            return all;
        }
        assert_eq!(page.next, all.last().map(|entry| entry.id));
        assert!(before.is_none_or(|before| page.next < Some(before)), "a cursor that does not move");
        before = page.next;
    }
}
