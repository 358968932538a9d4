//! What Redis says of itself in its answer to `INFO`.

/// Variadic RPUSH and HSET are older; effects of scripts are replicated by default since 5.0, RESP3 came with 6.0, `SET PXAT` with 6.2,
/// which is the oldest that is tested.
const VERSION_MIN: (u32, u32) = (6, 2);

/// Lines `name:value`, sections as comments.
pub(crate) struct ServerInfo<'a>(pub(crate) &'a str);

impl ServerInfo<'_> {
    /// `None` where there is no such line.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
    }

    pub(crate) fn version(&self) -> &str {
        self.field("redis_version").unwrap_or("of unknown version")
    }

    /// What to mend whatever the server is for: its version, and that it can be written to.
    pub(crate) fn advice(&self, url_setting: &str) -> Vec<String> {
        let (version, mut advice) = (self.version(), Vec::new());
        if numbers(version).is_none_or(|found| found < VERSION_MIN) {
            advice.push(format!("Redis {version} is older than {}.{}: upgrade it", VERSION_MIN.0, VERSION_MIN.1));
        }
        if self.field("role").is_some_and(|role| role != "master") {
            advice.push(format!("this is a read-only replica: point {url_setting} to its master"));
        }
        if self.field("aof_last_write_status").is_some_and(|status| status != "ok") {
            advice.push("the append-only file could not be written: look at the disk of Redis".to_owned());
        }
        advice
    }
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}
