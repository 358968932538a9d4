//! The Lua scripts. All that changes a partition is one of them, so that it happens whole or not at all.

use std::sync::LazyLock;

use crate::redis_server::Script;

fn script(name: &'static str, body: &str) -> Script {
    Script::new(name, include_str!("shared.lua"), body)
}

pub(super) static APPLY: LazyLock<Script> = LazyLock::new(|| script("apply", include_str!("apply.lua")));
pub(super) static EPOCH: LazyLock<Script> = LazyLock::new(|| script("epoch", include_str!("epoch.lua")));
pub(super) static HISTORY: LazyLock<Script> = LazyLock::new(|| script("history", include_str!("history.lua")));
pub(super) static LOAD: LazyLock<Script> = LazyLock::new(|| script("load", include_str!("load.lua")));
pub(super) static RESET: LazyLock<Script> = LazyLock::new(|| script("reset", include_str!("reset.lua")));
pub(super) static SNAPSHOT: LazyLock<Script> = LazyLock::new(|| script("snapshot", include_str!("snapshot.lua")));
