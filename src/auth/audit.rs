//! Writing the audit log. What can't be written there stands in the daemon's log, and what happened goes on: who is locked out while the
//! accounts are away is decided by their own calls.

use std::net::IpAddr;

use orinoco_domain::{
    account::UserId,
    audit::{AuditEvent, NewAuditEntry},
};
use orinoco_ports::Accounts;

use super::call;

/// A writer.
pub struct Audit<'a> {
    accounts: &'a dyn Accounts,
    entries_max: u32,
}

impl<'a> Audit<'a> {
    #[must_use]
    pub fn new(accounts: &'a dyn Accounts, entries_max: u32) -> Self {
        Self { accounts, entries_max }
    }

    /// `detail` is a sentence for a person, without anything secret. `address`: none for commands.
    pub async fn write(&self, event: AuditEvent, user_id: Option<UserId>, address: Option<IpAddr>, detail: &str) {
        let text = address.map(|address| address.to_string());
        let entry = NewAuditEntry::new(event, user_id, text.as_deref(), detail);
        let user = user_id.map(|id| id.0);
        tracing::info!(%event, user, address = text, detail = entry.detail(), "audit");
        metrics::counter!("orinoco_audit_events_total", "event" => event.as_str()).increment(1);
        if let Err(error) = call(self.accounts.append_audit(&entry, self.entries_max)).await {
            tracing::error!(%event, user, %error, "this line is missing from the audit log");
        }
    }
}
