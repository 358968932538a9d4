//! Any other program, such as one that the daemon is compared with.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Signal;

use crate::poll::poll_until;
use crate::process::{Launch, Process};
use crate::usage::ProcessUsage;

const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// A running program, killed with its group when dropped.
#[derive(Debug)]
pub struct Program {
    process: Process,
}

impl Program {
    /// Starts a program, with more variables than this process has, and its output and errors in the file `log` of a folder, which is its
    /// working directory.
    ///
    /// # Errors
    /// It can't be run.
    pub fn spawn(
        program: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let mut launch = Launch::new(program, folder, folder.join("log")).arguments(arguments);
        launch.environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let process = Process::new(launch);
        process.start()?;
        Ok(Self { process })
    }

    /// Memory and processor time of it and of all its descendants: those that run, and those that have ended and were waited for.
    ///
    /// # Errors
    /// It is gone.
    pub fn usage(&self) -> anyhow::Result<ProcessUsage> {
        ProcessUsage::of_tree(self.process.pid()?)
    }

    /// Waits until it has written a line with this in it, and yields what follows in that line.
    ///
    /// # Errors
    /// It ended, or the deadline passed; with the end of its output.
    pub async fn wait_for_output(&self, text: &str, deadline: Duration) -> anyhow::Result<String> {
        let log = &self.process.launch().log;
        self.wait_for(&format!("'{text}'"), deadline, async || {
            let written = std::fs::read_to_string(log).ok()?;
            // A line that is not ended may be half of one.
            let whole = written.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            whole.filter_map(|line| line.split_once(text)).map(|(_, rest)| rest.to_owned()).next()
        })
        .await
    }

    /// Waits until `condition` yields something, as long as the program runs.
    ///
    /// # Errors
    /// It ended, or the deadline passed; with the end of its output.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut condition: impl AsyncFnMut() -> Option<T>,
    ) -> anyhow::Result<T> {
        let launch = self.process.launch();
        let what = format!("{what} of {}", launch.program.display());
        let waited = poll_until(deadline, &what, async || match condition().await {
            Some(found) => Some(Ok(found)),
            None => self.process.exit_status().ok().flatten().map(Err),
        });
        match waited.await.with_context(|| format!("its output ends:\n{}", launch.log_tail()))? {
            Ok(found) => Ok(found),
            Err(status) => bail!("{} ended with {status}:\n{}", launch.program.display(), launch.log_tail()),
        }
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// It did not end within 30 s.
    pub async fn terminate(&self) -> anyhow::Result<ExitStatus> {
        self.process.stop(Signal::TERM, STOP_DEADLINE).await
    }
}
