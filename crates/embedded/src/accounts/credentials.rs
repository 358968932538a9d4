//! Device credentials.

use orinoco_domain::{DeviceId, account::PasswordHash};
use orinoco_ports::{DeviceCredential, DeviceCredentialPage};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::sqlite::{page_limit, take_page, unreadable};

fn credential(row: &Row<'_>) -> rusqlite::Result<DeviceCredential> {
    let device = DeviceId::parse(row.get_ref(0)?.as_str()?).map_err(|error| unreadable(0, error))?;
    let secret_hash = row.get_ref(1)?.as_str_or_null()?.map(PasswordHash::from_phc);
    Ok(DeviceCredential { device, secret_hash, created_at_ms: row.get(2)?, updated_at_ms: row.get(3)? })
}

pub(super) fn of(connection: &Connection, device: &DeviceId) -> rusqlite::Result<Option<DeviceCredential>> {
    let select = "SELECT device, secret_hash, created_at_ms, updated_at_ms FROM device_credential WHERE device = ?1";
    connection.prepare_cached(select)?.query_row([device.as_str()], credential).optional()
}

pub(super) fn list(
    connection: &Connection,
    after: Option<&DeviceId>,
    credentials_max: usize,
) -> rusqlite::Result<DeviceCredentialPage> {
    // SQLite compares texts by bytes unless told otherwise; no name is empty.
    let select = "SELECT device, secret_hash, created_at_ms, updated_at_ms FROM device_credential
                  WHERE device > ?1 ORDER BY device LIMIT ?2";
    let after = after.map_or("", DeviceId::as_str);
    let mut credentials = connection
        .prepare_cached(select)?
        .query_map(params![after, page_limit(credentials_max)], credential)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let has_more = take_page(&mut credentials, credentials_max);
    let next = credentials.last().map(|credential| credential.device.clone()).filter(|_| has_more);
    Ok(DeviceCredentialPage { credentials, next })
}

pub(super) fn put(
    connection: &Connection,
    device: &DeviceId,
    secret_hash: &PasswordHash,
    now_ms: i64,
) -> rusqlite::Result<DeviceCredential> {
    let insert = "INSERT INTO device_credential (device, secret_hash, created_at_ms, updated_at_ms)
                  VALUES (?1, ?2, ?3, ?3) ON CONFLICT (device) DO UPDATE
                  SET secret_hash = ?2, updated_at_ms = max(updated_at_ms, ?3)
                  RETURNING device, secret_hash, created_at_ms, updated_at_ms";
    connection.prepare_cached(insert)?.query_row(params![device.as_str(), secret_hash.expose(), now_ms], credential)
}

pub(super) fn revoke(
    connection: &Connection,
    device: &DeviceId,
    now_ms: i64,
) -> rusqlite::Result<Option<DeviceCredential>> {
    let update = "UPDATE device_credential SET secret_hash = NULL, updated_at_ms = max(updated_at_ms, ?2)
                  WHERE device = ?1 AND secret_hash IS NOT NULL";
    connection.prepare_cached(update)?.execute(params![device.as_str(), now_ms])?;
    of(connection, device)
}
