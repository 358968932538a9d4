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
        let number = |index: usize| number(&fields, pid, index);
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

    /// The sum over a process and its descendants, which runs on for those that have ended and were waited for.
    ///
    /// # Errors
    /// The process is gone, or belongs to another user.
    pub fn of_tree(pid: u32) -> anyhow::Result<Self> {
        let mut sum = Self::of(pid)?;
        let fields = stat_fields(pid)?;
        // proc(5): cutime is 16, cstime 17.
        let ticks = number(&fields, pid, 13)? + number(&fields, pid, 14)?;
        sum.cpu_seconds += ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        for child in children(pid)? {
            // It may have ended just now.
            if let Ok(usage) = Self::of_tree(child) {
                sum.rss_bytes += usage.rss_bytes;
                sum.cpu_seconds += usage.cpu_seconds;
                sum.fd_count += usage.fd_count;
                sum.thread_count += usage.thread_count;
            }
        }
        Ok(sum)
    }
}

/// Of each of its threads.
fn children(pid: u32) -> anyhow::Result<Vec<u32>> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} is gone"))? {
        let listed = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        children.extend(listed.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    Ok(children)
}

fn number(fields: &[String], pid: u32, index: usize) -> anyhow::Result<u64> {
    let field = fields.get(index).with_context(|| format!("/proc/{pid}/stat has no field {}", index + 3))?;
    field.parse().with_context(|| format!("/proc/{pid}/stat: field {} is '{field}'", index + 3))
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
