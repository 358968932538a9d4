//! The tables.

use std::path::Path;

use rusqlite::Connection;

use crate::sqlite::{Database, Durability};

/// A record is its JSON; what is compared or searched for stands beside it. Rows are in the order of their making, so that what lives at
/// one time lies together. `highest_ms` is the highest time that was written.
const TABLES: &str = "
    CREATE TABLE challenge (
        id          INTEGER PRIMARY KEY,
        key         BLOB NOT NULL UNIQUE,   -- ChallengeKey
        version     INTEGER NOT NULL,
        deadline_ms INTEGER NOT NULL,
        purge_at_ms INTEGER NOT NULL,
        record      TEXT NOT NULL           -- Challenge
    ) STRICT;
    CREATE INDEX challenge_by_purge ON challenge (purge_at_ms);
    CREATE TABLE family (
        id            INTEGER PRIMARY KEY,
        family_id     BLOB NOT NULL UNIQUE, -- FamilyId
        user_id       INTEGER NOT NULL,
        version       INTEGER NOT NULL,
        expires_at_ms INTEGER NOT NULL,
        record        TEXT NOT NULL         -- Family
    ) STRICT;
    CREATE INDEX family_by_user ON family (user_id, expires_at_ms, family_id);
    CREATE INDEX family_by_expiry ON family (expires_at_ms);
    CREATE TABLE clock (highest_ms INTEGER NOT NULL) STRICT;
    INSERT INTO clock VALUES (0);
";

pub(crate) fn database(path: &Path) -> Database<'_> {
    Database { path, version: 1, tables: TABLES, cache_kib: 16_384, durability: Durability::Power }
}

/// The highest time that the file knows, ms since 1970.
pub(super) fn highest_ms(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT highest_ms FROM clock", [], |row| row.get(0))
}
