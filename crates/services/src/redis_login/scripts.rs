//! The Lua scripts, one a step of the port.

use std::sync::LazyLock;

use crate::redis_server::Script;

fn script(name: &'static str, body: &str) -> Script {
    Script::new(name, include_str!("shared.lua"), body)
}

pub(super) static CREATE_CHALLENGE: LazyLock<Script> =
    LazyLock::new(|| script("create_challenge", include_str!("create_challenge.lua")));
pub(super) static CREATE_FAMILY: LazyLock<Script> =
    LazyLock::new(|| script("create_family", include_str!("create_family.lua")));
pub(super) static END_FAMILIES: LazyLock<Script> =
    LazyLock::new(|| script("end_families", include_str!("end_families.lua")));
pub(super) static END_FAMILY: LazyLock<Script> = LazyLock::new(|| script("end_family", include_str!("end_family.lua")));
pub(super) static FAMILIES: LazyLock<Script> = LazyLock::new(|| script("families", include_str!("families.lua")));
pub(super) static LOAD: LazyLock<Script> = LazyLock::new(|| script("load", include_str!("load.lua")));
pub(super) static SWAP_CHALLENGE: LazyLock<Script> =
    LazyLock::new(|| script("swap_challenge", include_str!("swap_challenge.lua")));
pub(super) static SWAP_FAMILY: LazyLock<Script> =
    LazyLock::new(|| script("swap_family", include_str!("swap_family.lua")));
