//! Lua scripts: what must happen whole or not at all.

use redis::Script as Hashed;

/// A script, called by its SHA-1 and loaded where the server does not have it (after a restart of Redis, or SCRIPT FLUSH).
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) code: String,
    pub(crate) sha1: String,
}

impl Script {
    /// Of `shared`, functions, and `body`, which uses them.
    pub(crate) fn new(name: &'static str, shared: &str, body: &str) -> Self {
        let code = [shared, body].join("\n");
        let sha1 = Hashed::new(&code).get_hash().to_owned();
        Self { name, code, sha1 }
    }
}
