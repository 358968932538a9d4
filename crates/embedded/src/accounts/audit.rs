//! The audit log.

use orinoco_domain::{
    account::UserId,
    audit::{AuditEntry, AuditEvent, NewAuditEntry},
};
use orinoco_ports::AuditPage;
use rusqlite::{Connection, Row, params};

use crate::sqlite::{page_limit, take_page, unreadable};

#[derive(Debug, thiserror::Error)]
#[error("no event is named {0:?}")]
struct UnknownEvent(String);

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    let name = row.get_ref(2)?.as_str()?;
    let event = AuditEvent::parse(name).ok_or_else(|| unreadable(2, UnknownEvent(name.to_owned())))?;
    let user_id = row.get::<_, Option<i64>>(3)?.map(UserId);
    let entry = NewAuditEntry::new(event, user_id, row.get_ref(4)?.as_str_or_null()?, row.get_ref(5)?.as_str()?);
    Ok(AuditEntry { id: row.get(0)?, at_ms: row.get(1)?, entry })
}

pub(super) fn append(
    connection: &Connection,
    entry: &NewAuditEntry,
    entries_max: u32,
    now_ms: i64,
) -> rusqlite::Result<()> {
    let insert = "INSERT INTO audit (at_ms, event, user_id, address, detail) VALUES (?1, ?2, ?3, ?4, ?5)";
    let user_id = entry.user_id.map(|id| id.0);
    let values = params![now_ms, entry.event.as_str(), user_id, entry.address(), entry.detail()];
    connection.prepare_cached(insert)?.execute(values)?;
    // Ids have no gaps: one that was rolled back is given again.
    let kept_from = connection.last_insert_rowid() - i64::from(entries_max);
    connection.prepare_cached("DELETE FROM audit WHERE id <= ?1")?.execute([kept_from])?;
    Ok(())
}

pub(super) fn list(connection: &Connection, before: Option<i64>, entries_max: usize) -> rusqlite::Result<AuditPage> {
    let select = "SELECT id, at_ms, event, user_id, address, detail FROM audit
                  WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
    let mut entries = connection
        .prepare_cached(select)?
        .query_map(params![before.unwrap_or(i64::MAX), page_limit(entries_max)], entry)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let has_more = take_page(&mut entries, entries_max);
    let next = entries.last().map(|entry| entry.id).filter(|_| has_more);
    Ok(AuditPage { entries, next })
}
