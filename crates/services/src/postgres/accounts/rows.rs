//! Rows as values.

use orinoco_domain::{
    DeviceId,
    account::{Account, Email, PasswordHash, Role, UserId},
    audit::{AuditEntry, AuditEvent, NewAuditEntry},
};
use orinoco_ports::DeviceCredential;
use tokio_postgres::Row;

/// What [`account`] reads, of `users` as `account`. A time's milliseconds are rounded down.
pub(super) const ACCOUNT_COLUMNS: &str = "account.id, account.email, account.password_hash, account.orin_id, account.enabled, \
    account.generation, floor(extract(epoch from account.created_at) * 1000)::bigint, \
    floor(extract(epoch from account.updated_at) * 1000)::bigint, \
    array(select role from user_roles where user_id = account.id)";

/// What [`credential`] reads, of `device_credentials`.
pub(super) const CREDENTIAL_COLUMNS: &str = "device, secret_hash, floor(extract(epoch from created_at) * 1000)::bigint, \
    floor(extract(epoch from updated_at) * 1000)::bigint";

/// What [`audit_entry`] reads, of `audit`.
pub(super) const AUDIT_COLUMNS: &str =
    "id, floor(extract(epoch from at) * 1000)::bigint, event, user_id, address, detail";

/// # Errors
/// What can't be read, for people.
pub(super) fn account(row: &Row) -> Result<Account, String> {
    let id = UserId(row.get(0));
    let unreadable = |what: &str| format!("{what} of account {id}");
    let roles: Vec<String> = row.get(8);
    let roles = roles.iter().map(|role| Role::parse(role)).collect::<Result<_, _>>();
    Ok(Account {
        id,
        email: Email::parse(row.get(1)).map_err(|_| unreadable("the e-mail address"))?,
        password_hash: PasswordHash::from_phc(row.get(2)),
        orin_id: row
            .get::<_, Option<&str>>(3)
            .map(DeviceId::parse)
            .transpose()
            .map_err(|_| unreadable("the orinId"))?,
        enabled: row.get(4),
        // The table's check keeps it from being negative.
        generation: row.get::<_, i64>(5).unsigned_abs(),
        created_at_ms: row.get(6),
        updated_at_ms: row.get(7),
        roles: roles.map_err(|_| unreadable("a role"))?,
    })
}

/// # Errors
/// As [`account`].
pub(super) fn credential(row: &Row) -> Result<DeviceCredential, String> {
    let name: &str = row.get(0);
    Ok(DeviceCredential {
        device: DeviceId::parse(name).map_err(|_| format!("the credential's device {name:?}"))?,
        secret_hash: row.get::<_, Option<&str>>(1).map(PasswordHash::from_phc),
        created_at_ms: row.get(2),
        updated_at_ms: row.get(3),
    })
}

/// # Errors
/// As [`account`].
pub(super) fn audit_entry(row: &Row) -> Result<AuditEntry, String> {
    let (id, event): (i64, &str) = (row.get(0), row.get(2));
    let event = AuditEvent::parse(event).ok_or_else(|| format!("the event {event:?} of audit line {id}"))?;
    let user_id = row.get::<_, Option<i64>>(3).map(UserId);
    let entry = NewAuditEntry::new(event, user_id, row.get(4), row.get(5));
    Ok(AuditEntry { id, at_ms: row.get(1), entry })
}
