//! The Lua scripts. All that changes a partition is one of them, so that it happens whole or not at all.

use std::sync::LazyLock;

use redis::Script as Hashed;

/// A script, called by its SHA-1 and loaded where the server does not have it (after a restart of Redis, or SCRIPT FLUSH).
#[derive(Debug)]
pub(super) struct Script {
    pub(super) name: &'static str,
    pub(super) code: String,
    pub(super) sha1: String,
}

impl Script {
    fn new(name: &'static str, body: &str) -> Self {
        let code = [include_str!("shared.lua"), body].join("\n");
        let sha1 = Hashed::new(&code).get_hash().to_owned();
        Self { name, code, sha1 }
    }
}

pub(super) static APPLY: LazyLock<Script> = LazyLock::new(|| Script::new("apply", include_str!("apply.lua")));
pub(super) static EPOCH: LazyLock<Script> = LazyLock::new(|| Script::new("epoch", include_str!("epoch.lua")));
pub(super) static HISTORY: LazyLock<Script> = LazyLock::new(|| Script::new("history", include_str!("history.lua")));
pub(super) static LOAD: LazyLock<Script> = LazyLock::new(|| Script::new("load", include_str!("load.lua")));
pub(super) static RESET: LazyLock<Script> = LazyLock::new(|| Script::new("reset", include_str!("reset.lua")));
pub(super) static SNAPSHOT: LazyLock<Script> = LazyLock::new(|| Script::new("snapshot", include_str!("snapshot.lua")));
