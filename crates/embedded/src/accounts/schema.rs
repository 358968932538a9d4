//! The tables.

use std::{path::Path, sync::Arc};

use orinoco_ports::Clock;
use rusqlite::Connection;

use crate::sqlite::{Database, Durability, Unit};

/// `user_role` and `user` are the entities of these names. Accounts and credentials are never deleted.
const TABLES: &str = "
    CREATE TABLE user (
        id            INTEGER PRIMARY KEY AUTOINCREMENT,
        email         TEXT NOT NULL UNIQUE,
        password_hash TEXT NOT NULL,        -- PHC string
        orin_id       TEXT UNIQUE,
        enabled       INTEGER NOT NULL CHECK (enabled IN (0, 1)),
        generation    INTEGER NOT NULL,
        created_at_ms INTEGER NOT NULL,
        updated_at_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE user_role (
        user_id INTEGER NOT NULL REFERENCES user (id),
        role    TEXT NOT NULL,
        PRIMARY KEY (user_id, role)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE device_credential (
        device        TEXT PRIMARY KEY,
        secret_hash   TEXT,                 -- PHC string; NULL: revoked
        created_at_ms INTEGER NOT NULL,
        updated_at_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE audit (
        id      INTEGER PRIMARY KEY AUTOINCREMENT,
        at_ms   INTEGER NOT NULL,
        event   TEXT NOT NULL,
        user_id INTEGER,                    -- not a reference: it may name an account that was tried in vain
        address TEXT,
        detail  TEXT NOT NULL
    ) STRICT;
";

pub(crate) fn database(path: &Path) -> Database<'_> {
    Database { path, version: 1, tables: TABLES, cache_kib: 4_096, durability: Durability::Power }
}

/// What the changes of one transaction share: their time.
pub(super) struct Change {
    clock: Arc<dyn Clock>,
    now_ms: i64,
}

impl Change {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, now_ms: 0 }
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.now_ms
    }
}

impl Unit for Change {
    fn begin(&mut self) {
        self.now_ms = self.clock.now_ms();
    }

    fn before_commit(&mut self, _: &Connection, _: usize) -> rusqlite::Result<()> {
        Ok(())
    }

    fn committed(&mut self) {}
}
