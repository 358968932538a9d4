//! What a process uses, from Linux's /proc.

use std::fs;

use anyhow::Context;

/// What a process uses at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessUsage {
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// User and system time since its start, seconds (resolution 10 ms).
    pub cpu_seconds: f64,
    /// Open file descriptors.
    pub fd_count: usize,
    /// Threads.
    pub thread_count: usize,
}

impl ProcessUsage {
    /// Reads the usage of a process.
    ///
    /// # Errors
    /// It is gone, or belongs to another user.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let fields = stat_fields(pid)?;
        let number = |index: usize| -> anyhow::Result<u64> {
            let field = fields.get(index).with_context(|| format!("/proc/{pid}/stat has no field {}", index + 3))?;
            field.parse().with_context(|| format!("/proc/{pid}/stat: field {} is '{field}'", index + 3))
        };
        // proc(5): the fields from the third on; utime is 14, stime 15, num_threads 20, rss (in pages) 24.
        let ticks = number(11)? + number(12)?;
        Ok(Self {
            rss_bytes: number(21)? * rustix::param::page_size() as u64,
            cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            fd_count: fs::read_dir(format!("/proc/{pid}/fd"))
                .with_context(|| format!("open files of process {pid}"))?
                .count(),
            thread_count: usize::try_from(number(17)?)?,
        })
    }
}

/// The fields of /proc/PID/stat after the command's name, which may itself contain spaces and parentheses.
fn stat_fields(pid: u32) -> anyhow::Result<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    let (_, fields) = stat.rsplit_once(") ").with_context(|| format!("/proc/{pid}/stat is '{stat}'"))?;
    Ok(fields.split_whitespace().map(str::to_owned).collect())
}

/// Whether a process exists and still runs (one that has ended, but whose parent has not looked, does not).
pub fn process_is_running(pid: u32) -> bool {
    stat_fields(pid).is_ok_and(|fields| fields.first().is_some_and(|state| state != "Z" && state != "X"))
}
