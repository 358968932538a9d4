//! Shared by the rate examples: what a piece of work took.

use std::{fs, time::Instant};

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A moment, in wall-clock and in CPU time of this process.
pub(crate) struct Started {
    at: Instant,
    cpu_seconds: f64,
}

impl Started {
    pub(crate) fn now() -> Outcome<Self> {
        Ok(Self { at: Instant::now(), cpu_seconds: cpu_seconds()? })
    }

    /// Prints what `count` pieces took since.
    pub(crate) fn print(&self, name: &str, count: u64) -> Outcome {
        let (wall, cpu) = (self.at.elapsed().as_secs_f64(), cpu_seconds()? - self.cpu_seconds);
        let count = count as f64;
        println!("{name}: {:.0}/s, {:.2} CPU s per million", count / wall, cpu / (count / 1e6));
        Ok(())
    }
}

/// User and system time of this process (proc(5), `stat`, fields 14 and 15), at 100 ticks a second.
fn cpu_seconds() -> Outcome<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / 100.0)
}
