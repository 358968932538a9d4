//! What was measured, and on what.

use std::{fmt, fs, process::Command};

use anyhow::Context;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Of what a program says about its version.
const VERSION_CHARACTERS_MAX: usize = 60;

/// Processes that want to run, by cores, from which on the machine is said to be busy.
const BUSY_MIN: f64 = 0.25;

/// The machine, and the versions of what runs on it: rows of a name and a text.
pub(crate) struct Machine {
    pub(crate) rows: Vec<(&'static str, String)>,
    /// Other work ran on it as this began.
    pub(crate) is_busy: bool,
}

impl Machine {
    /// # Errors
    /// Linux's /proc can't be read.
    pub(crate) fn look() -> anyhow::Result<Self> {
        let processor = field("/proc/cpuinfo", "model name")?;
        let cores = std::thread::available_parallelism()?;
        let memory = field("/proc/meminfo", "MemTotal")?;
        let memory_kib: f64 = memory.trim_end_matches(" kB").parse().context("MemTotal")?;
        let kernel = read("/proc/sys/kernel/osrelease")?;
        let gib = memory_kib / 1_048_576.0;
        let rows = vec![
            ("machine", format!("{processor}, {cores} cores, {gib:.0} GiB, Linux {}", kernel.trim())),
            ("load average at the start", load()?),
            ("orinoco", first_line("git", &["-C", ROOT, "describe", "--always", "--dirty"])),
            ("rustc", first_line("rustc", &["--version"])),
            ("mosquitto", first_line("/usr/sbin/mosquitto", &["-h"])),
            ("Redis", first_line("redis-server", &["--version"])),
            ("Kafka", kafka_version().unwrap_or_else(|| "unknown".to_owned())),
            ("Java", first_line("java", &["--version"])),
        ];
        Ok(Self { rows, is_busy: load_of_last_minute()? > cores.get() as f64 * BUSY_MIN })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, text) in &self.rows {
            writeln!(formatter, "{name}: {text}")?;
        }
        Ok(())
    }
}

/// Of the last minute, 5 and 15 minutes.
pub(crate) fn load() -> anyhow::Result<String> {
    let load = read("/proc/loadavg")?;
    Ok(load.split(' ').take(3).collect::<Vec<_>>().join(", "))
}

fn load_of_last_minute() -> anyhow::Result<f64> {
    let load = read("/proc/loadavg")?;
    load.split(' ').next().unwrap_or_default().parse().context("/proc/loadavg")
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.to_owned())
}

/// The value of `name : value`, at its first place.
fn field(path: &str, name: &str) -> anyhow::Result<String> {
    let text = read(path)?;
    let line = text.lines().find(|line| line.starts_with(name)).with_context(|| format!("{path} has no {name}"))?;
    Ok(line.split_once(':').map_or("", |(_, value)| value).trim().to_owned())
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    // mosquitto says its version and exits with 3.
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    match text.lines().next() {
        // Redis goes on with its build.
        Some(line) => line.split(" sha=").next().unwrap_or(line).chars().take(VERSION_CHARACTERS_MAX).collect(),
        None => "unknown".to_owned(),
    }
}

/// By the name of its jar.
fn kafka_version() -> Option<String> {
    let names = fs::read_dir(format!("{ROOT}/.stack/kafka/libs")).ok()?.flatten().map(|entry| entry.file_name());
    let mut versions = names.filter_map(|name| {
        let version = name.to_str()?.strip_prefix("kafka_2.13-")?.strip_suffix(".jar")?;
        Some(version.to_owned())
    });
    versions.next()
}
