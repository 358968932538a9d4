//! What Redis says of itself, and what to mend.

use orinoco_ports::BackendInfo;

use crate::redis_server::ServerInfo;

/// Reads the answer to `INFO`.
pub(super) fn backend_info(info: &str) -> BackendInfo {
    let info = ServerInfo(info);
    let mut advice = info.advice("redis_ws.url");
    if let Some(policy) = info.field("maxmemory_policy").filter(|policy| *policy != "noeviction") {
        advice.push(format!(
            "maxmemory-policy {policy} may evict coordinates and part them from their offset: set it to noeviction"
        ));
    }
    if info.field("aof_enabled") == Some("0") {
        advice.push("appendonly is off, so that a restart of Redis loses history: set appendonly yes".to_owned());
    }
    BackendInfo { version: format!("Redis {}", info.version()), advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEALTHY: &str = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nmaxmemory_policy:noeviction\r\n\
        # Persistence\r\naof_enabled:1\r\naof_last_write_status:ok\r\n# Replication\r\nrole:master\r\n";

    #[test]
    fn a_healthy_server_needs_no_advice() {
        let expected = BackendInfo { version: "Redis 7.0.15".to_owned(), advice: Vec::new() };
        assert_eq!(backend_info(HEALTHY), expected);
    }

    #[test]
    fn each_trouble_has_its_advice() {
        let cases = [
            ("7.0.15", "6.0.16", "older than 6.2"),
            ("noeviction", "allkeys-lru", "allkeys-lru"),
            ("aof_enabled:1", "aof_enabled:0", "appendonly"),
            ("status:ok", "status:err", "disk"),
            ("role:master", "role:slave", "master"),
        ];
        for (good, bad, advice) in cases {
            let info = backend_info(&HEALTHY.replace(good, bad));
            assert_eq!(info.advice.len(), 1, "{bad}: {info:?}");
            assert!(info.advice[0].contains(advice), "{bad}: {info:?}");
        }
    }
}
