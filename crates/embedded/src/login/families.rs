//! Logins.

use orinoco_domain::{
    account::UserId,
    refresh::{Family, FamilyId},
};
use orinoco_ports::{EndReason, LoginEvent};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{challenges::Swapped, transitions::Transitions};
use crate::sqlite::rows;

/// A family, encoded by the caller so that the writing thread only writes.
pub(super) struct EncodedFamily {
    id: FamilyId,
    user_id: UserId,
    version: u64,
    expires_at_ms: i64,
    record: String,
}

impl EncodedFamily {
    pub(super) fn new(family: &Family) -> Self {
        Self {
            id: family.id,
            user_id: family.user_id,
            version: family.version,
            expires_at_ms: family.expires_at_ms,
            // Strings and integers always serialise.
            record: serde_json::to_string(family).unwrap_or_default(),
        }
    }

    fn key(&self) -> &[u8] {
        self.id.as_bytes()
    }
}

/// The record, and from when on it is gone.
pub(super) fn load(connection: &Connection, id: &FamilyId) -> rusqlite::Result<Option<(String, i64)>> {
    let select = "SELECT record, expires_at_ms FROM family WHERE family_id = ?1";
    let found =
        connection.prepare_cached(select)?.query_row([&id.as_bytes()[..]], |row| Ok((row.get(0)?, row.get(1)?)));
    found.optional()
}

/// Whether there is a login with this one's id.
pub(super) fn is_live(connection: &Connection, family: &EncodedFamily, now_ms: i64) -> rusqlite::Result<bool> {
    let live = "SELECT 1 FROM family WHERE family_id = ?1 AND expires_at_ms > ?2";
    connection.prepare_cached(live)?.exists(params![family.key(), now_ms])
}

/// `false` where there is one with this id.
pub(super) fn create(
    connection: &Connection,
    transitions: &mut Transitions,
    family: &EncodedFamily,
    families_max: usize,
) -> rusqlite::Result<bool> {
    if is_live(connection, family, transitions.now_ms())? {
        return Ok(false);
    }
    insert(connection, transitions, family, families_max)?;
    Ok(true)
}

/// Writes a login whose id is free, and makes room for it before: the user has `families_max` afterwards at most.
pub(super) fn insert(
    connection: &Connection,
    transitions: &mut Transitions,
    family: &EncodedFamily,
    families_max: usize,
) -> rusqlite::Result<()> {
    let user_id = family.user_id;
    let too_many = "SELECT id, family_id FROM family WHERE user_id = ?1 AND expires_at_ms > ?2
                    ORDER BY expires_at_ms DESC, family_id DESC LIMIT -1 OFFSET ?3";
    let kept_max = rows(families_max.saturating_sub(1));
    let displaced: Vec<(i64, [u8; 16])> = connection
        .prepare_cached(too_many)?
        .query_map(params![user_id.0, transitions.now_ms(), kept_max], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (row_id, id) in displaced {
        connection.prepare_cached("DELETE FROM family WHERE id = ?1")?.execute([row_id])?;
        let (family, reason) = (Some(FamilyId::from_bytes(id)), EndReason::Displaced);
        transitions.publish(LoginEvent::LoginsEnded { user_id, family, reason });
    }
    // One whose time is up may stand there still.
    let insert = "INSERT OR REPLACE INTO family (family_id, user_id, version, expires_at_ms, record)
                  VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.prepare_cached(insert)?.execute(params![
        family.key(),
        user_id.0,
        family.version.cast_signed(),
        family.expires_at_ms,
        family.record
    ])?;
    Ok(())
}

pub(super) fn swap(
    connection: &Connection,
    transitions: &Transitions,
    next: &EncodedFamily,
) -> rusqlite::Result<Swapped> {
    let now_ms = transitions.now_ms();
    let select = "SELECT id, version, record FROM family WHERE family_id = ?1 AND expires_at_ms > ?2";
    let mut select = connection.prepare_cached(select)?;
    let mut found = select.query(params![next.key(), now_ms])?;
    let Some(row) = found.next()? else { return Ok(Swapped::Gone) };
    let (id, version): (i64, i64) = (row.get(0)?, row.get(1)?);
    if version.cast_unsigned().checked_add(1) != Some(next.version) {
        return Ok(Swapped::Conflict { record: row.get(2)?, now_ms });
    }
    drop(found);
    let update = "UPDATE family SET version = ?2, record = ?3 WHERE id = ?1";
    connection.prepare_cached(update)?.execute(params![id, next.version.cast_signed(), next.record])?;
    Ok(Swapped::Done)
}

/// Where a page begins: behind this login, in the order of [`list`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    expires_at_ms: i64,
    id: FamilyId,
}

impl Cursor {
    pub(super) fn behind(family: &Family) -> Self {
        Self { expires_at_ms: family.expires_at_ms, id: family.id }
    }

    /// `None` for what no page gave.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (expires_at_ms, id) = text.split_once('.')?;
        Some(Self { expires_at_ms: expires_at_ms.parse().ok()?, id: FamilyId::parse(id).ok()? })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.expires_at_ms, self.id)
    }
}

/// Records of logins that live at `now_ms`, the latest to end first, up to `rows_max`.
pub(super) fn list(
    connection: &Connection,
    user_id: UserId,
    from: Option<Cursor>,
    rows_max: i64,
    now_ms: i64,
) -> rusqlite::Result<Vec<String>> {
    let select = "SELECT record FROM family WHERE user_id = ?1 AND expires_at_ms > ?2
                  AND (expires_at_ms, family_id) < (?3, ?4) ORDER BY expires_at_ms DESC, family_id DESC LIMIT ?5";
    // Longer than any id, so that it comes behind each of them.
    let behind_all = (i64::MAX, vec![u8::MAX; 17]);
    let (from_ms, from_id) = from.map_or(behind_all, |from| (from.expires_at_ms, from.id.as_bytes().to_vec()));
    let mut select = connection.prepare_cached(select)?;
    let records = select.query_map(params![user_id.0, now_ms, from_ms, from_id, rows_max], |row| row.get(0))?;
    records.collect()
}

/// The record of the login that ended; `None` where there was none.
pub(super) fn end(
    connection: &Connection,
    transitions: &mut Transitions,
    id: FamilyId,
    reason: EndReason,
) -> rusqlite::Result<Option<String>> {
    let delete = "DELETE FROM family WHERE family_id = ?1 AND expires_at_ms > ?2 RETURNING user_id, record";
    let ended = connection
        .prepare_cached(delete)?
        .query_row(params![&id.as_bytes()[..], transitions.now_ms()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((user_id, record)) = ended else { return Ok(None) };
    transitions.publish(LoginEvent::LoginsEnded { user_id: UserId(user_id), family: Some(id), reason });
    Ok(Some(record))
}

/// How many there were.
pub(super) fn end_all_of(
    connection: &Connection,
    transitions: &mut Transitions,
    user_id: UserId,
    reason: EndReason,
) -> rusqlite::Result<u64> {
    let delete = "DELETE FROM family WHERE user_id = ?1 AND expires_at_ms > ?2";
    let ended = connection.prepare_cached(delete)?.execute(params![user_id.0, transitions.now_ms()])?;
    transitions.publish(LoginEvent::LoginsEnded { user_id, family: None, reason });
    Ok(ended as u64)
}
