//! What Redis says of itself, and what to mend.

use orinoco_ports::BackendInfo;

use crate::redis_server::ServerInfo;

/// What `CONFIG GET appendfsync` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AppendFsync {
    Is(String),
    /// A managed server may refuse to say.
    Refused(String),
}

pub(super) fn backend_info(info: &str, append_fsync: &AppendFsync) -> BackendInfo {
    let info = ServerInfo(info);
    let mut advice = info.advice("redis_qr.url");
    match info.field("maxmemory_policy") {
        Some("noeviction") => {}
        Some(policy) => advice.push(format!(
            "maxmemory-policy {policy} may evict logins and challenges before their time: set it to noeviction"
        )),
        None => advice.push("maxmemory-policy is not told: see that it is noeviction".to_owned()),
    }
    if info.field("aof_enabled") == Some("0") {
        advice.push("appendonly is off, so that a restart of Redis ends all logins: set appendonly yes".to_owned());
    }
    match append_fsync {
        AppendFsync::Is(value) if value == "always" => {}
        AppendFsync::Is(value) => advice.push(format!(
            "appendfsync {value} may forget answered writes when the power fails, so that used refresh tokens come back: \
            set it to always"
        )),
        AppendFsync::Refused(reason) => {
            advice.push(format!("CONFIG GET appendfsync is refused ({reason}): see that it is always"));
        }
    }
    BackendInfo { version: format!("Redis {}", info.version()), advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEALTHY: &str = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nmaxmemory_policy:noeviction\r\n\
        # Persistence\r\naof_enabled:1\r\naof_last_write_status:ok\r\n# Replication\r\nrole:master\r\n";

    fn always() -> AppendFsync {
        AppendFsync::Is("always".to_owned())
    }

    #[test]
    fn a_healthy_server_needs_no_advice() {
        let expected = BackendInfo { version: "Redis 7.0.15".to_owned(), advice: Vec::new() };
        assert_eq!(backend_info(HEALTHY, &always()), expected);
    }

    #[test]
    fn each_trouble_has_its_advice() {
        let cases = [
            ("noeviction", "allkeys-lru", "allkeys-lru"),
            ("maxmemory_policy", "other", "not told"),
            ("aof_enabled:1", "aof_enabled:0", "appendonly"),
            ("role:master", "role:slave", "redis_qr.url"),
        ];
        for (good, bad, advice) in cases {
            let info = backend_info(&HEALTHY.replace(good, bad), &always());
            assert_eq!(info.advice.len(), 1, "{bad}: {info:?}");
            assert!(info.advice[0].contains(advice), "{bad}: {info:?}");
        }
        for (found, advice) in [
            (AppendFsync::Is("everysec".to_owned()), "set it to always"),
            (AppendFsync::Refused("NOPERM".to_owned()), "refused (NOPERM)"),
        ] {
            let info = backend_info(HEALTHY, &found);
            assert!(info.advice.len() == 1 && info.advice[0].contains(advice), "{info:?}");
        }
    }
}
