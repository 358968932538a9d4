//! What Redis says of itself, and what to mend.

use orinoco_ports::BackendInfo;

/// Variadic RPUSH and HSET are older; effects of scripts are replicated by default since 5.0, RESP3 came with 6.0. 6.2 is the oldest
/// that is tested.
const VERSION_MIN: (u32, u32) = (6, 2);

/// Reads the answer to `INFO`: lines `name:value`, sections as comments.
pub(super) fn backend_info(info: &str) -> BackendInfo {
    let field = |name: &str| {
        let value = |line: &'_ str| line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim().to_owned());
        info.lines().find_map(value)
    };
    let version = field("redis_version").unwrap_or_else(|| "of unknown version".to_owned());
    let mut advice = Vec::new();
    if numbers(&version).is_none_or(|found| found < VERSION_MIN) {
        advice.push(format!("Redis {version} is older than {}.{}: upgrade it", VERSION_MIN.0, VERSION_MIN.1));
    }
    if field("role").is_some_and(|role| role != "master") {
        advice.push("this is a read-only replica: point redis_ws.url to its master".to_owned());
    }
    if let Some(policy) = field("maxmemory_policy").filter(|policy| policy != "noeviction") {
        advice.push(format!(
            "maxmemory-policy {policy} may evict coordinates and part them from their offset: set it to noeviction"
        ));
    }
    if field("aof_enabled").is_some_and(|enabled| enabled == "0") {
        advice.push("appendonly is off, so that a restart of Redis loses history: set appendonly yes".to_owned());
    }
    if field("aof_last_write_status").is_some_and(|status| status != "ok") {
        advice.push("the append-only file could not be written: look at the disk of Redis".to_owned());
    }
    BackendInfo { version: format!("Redis {version}"), advice }
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
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
