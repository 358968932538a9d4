//! Challenges.

use orinoco_domain::challenge::{Challenge, ChallengeKey, NewChallenge, Status};
use orinoco_ports::LoginEvent;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    families::{self, EncodedFamily},
    transitions::Transitions,
};

/// What became of a compare-and-set; the record as stored.
pub(super) enum Swapped {
    Done,
    Conflict {
        record: String,
        now_ms: i64,
    },
    Gone,
    /// A family with the new one's id is there.
    FamilyTaken,
}

/// The record, and from when on it is gone.
pub(super) fn load(connection: &Connection, key: &ChallengeKey) -> rusqlite::Result<Option<(String, i64)>> {
    let select = "SELECT record, purge_at_ms FROM challenge WHERE key = ?1";
    let found =
        connection.prepare_cached(select)?.query_row([&key.as_bytes()[..]], |row| Ok((row.get(0)?, row.get(1)?)));
    found.optional()
}

/// `None` where there is one with this key.
pub(super) fn create(
    connection: &Connection,
    transitions: &Transitions,
    new: &NewChallenge,
) -> rusqlite::Result<Option<Challenge>> {
    let now_ms = transitions.now_ms();
    let key = &new.key.as_bytes()[..];
    let live = "SELECT 1 FROM challenge WHERE key = ?1 AND purge_at_ms > ?2";
    if connection.prepare_cached(live)?.exists(params![key, now_ms])? {
        return Ok(None);
    }
    let made = new.at(now_ms);
    // One whose time is up may stand there still.
    let insert = "INSERT OR REPLACE INTO challenge (key, version, deadline_ms, purge_at_ms, record)
                  VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.prepare_cached(insert)?.execute(params![
        key,
        made.version.cast_signed(),
        made.deadline_ms,
        made.purge_at_ms(),
        encode(&made)
    ])?;
    Ok(Some(made))
}

pub(super) fn encode(challenge: &Challenge) -> String {
    // Strings and integers always serialise.
    serde_json::to_string(challenge).unwrap_or_default()
}

/// `record` is `next`, encoded.
pub(super) fn swap(
    connection: &Connection,
    transitions: &mut Transitions,
    next: &Challenge,
    record: &str,
    began: Option<&EncodedFamily>,
    families_max: usize,
) -> rusqlite::Result<Swapped> {
    let now_ms = transitions.now_ms();
    let select = "SELECT id, version, deadline_ms, record FROM challenge WHERE key = ?1 AND purge_at_ms > ?2";
    let mut select = connection.prepare_cached(select)?;
    let mut rows = select.query(params![&next.key.as_bytes()[..], now_ms])?;
    let Some(row) = rows.next()? else { return Ok(Swapped::Gone) };
    let (id, version, deadline_ms): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let follows = version.cast_unsigned().checked_add(1) == Some(next.version);
    let in_time = (next.status == Status::Expired) == (now_ms >= deadline_ms);
    if !follows || !in_time {
        return Ok(Swapped::Conflict { record: row.get(3)?, now_ms });
    }
    drop(rows);
    if let Some(family) = began
        && families::is_live(connection, family, now_ms)?
    {
        return Ok(Swapped::FamilyTaken);
    }
    let update = "UPDATE challenge SET version = ?2, deadline_ms = ?3, purge_at_ms = ?4, record = ?5 WHERE id = ?1";
    connection.prepare_cached(update)?.execute(params![
        id,
        next.version.cast_signed(),
        next.deadline_ms,
        next.purge_at_ms(),
        record
    ])?;
    let Challenge { key, version, status, .. } = *next;
    transitions.publish(LoginEvent::ChallengeChanged { key, version, status });
    if let Some(family) = began {
        families::insert(connection, transitions, family, families_max)?;
    }
    Ok(Swapped::Done)
}
