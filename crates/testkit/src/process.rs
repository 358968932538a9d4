//! A child process that can be hurt, started again, and never outlives the tests.
//!
//! A dropped handle kills its process. When the test process dies without dropping anything (kill -9, abort, a static),
//! a guard does it: a shell that waits for the end of a pipe whose other end only the test process holds. A parent-death
//! signal would not do: Linux sends it when the *thread* that spawned the child ends, and each test has its own thread.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::poll::poll_until;
use crate::usage::ProcessUsage;

/// What a message shows of a log.
const LOG_TAIL_LINES_MAX: usize = 20;

/// How to start a process, as often as wanted.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(String, String)>,
    /// Variables with this prefix are not inherited from the test process.
    pub(crate) environment_removed_prefix: Option<&'static str>,
    /// Working directory.
    pub(crate) directory: PathBuf,
    /// User and group to run as, where that is not the test's own.
    pub(crate) user: Option<(u32, u32)>,
    /// Its output and errors, appended.
    pub(crate) log: PathBuf,
    /// Removed by the guard when the test process dies without dropping the handle.
    pub(crate) scratch: Option<PathBuf>,
}

impl Launch {
    pub(crate) fn new(program: impl Into<PathBuf>, directory: &Path, log: PathBuf) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            environment_removed_prefix: None,
            directory: directory.to_owned(),
            user: None,
            log,
            scratch: None,
        }
    }

    pub(crate) fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    fn command(&self) -> anyhow::Result<Command> {
        let log = self.open_log()?;
        let mut command = Command::new(&self.program);
        if let Some(prefix) = self.environment_removed_prefix {
            for (name, _) in std::env::vars_os() {
                if name.to_str().is_some_and(|name| name.starts_with(prefix)) {
                    command.env_remove(name);
                }
            }
        }
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: Ctrl-C in a terminal is for the test runner, and what it leaves the guard ends.
            .process_group(0);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        Ok(command)
    }

    fn open_log(&self) -> anyhow::Result<File> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("log {}", self.log.display()))
    }

    /// Runs it to its end, for preparations such as `initdb`.
    pub(crate) fn run_to_end(&self) -> anyhow::Result<()> {
        let status = self.command()?.status().with_context(|| missing_program(&self.program))?;
        if !status.success() {
            bail!("{} ended with {status}:\n{}", self.program.display(), self.log_tail());
        }
        Ok(())
    }

    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES_MAX)..].join("\n")
    }
}

pub(crate) fn missing_program(program: &Path) -> String {
    format!("cannot run {}: if it is not installed, run scripts/install services", program.display())
}

#[derive(Debug)]
struct Running {
    child: Child,
    guard: Child,
}

/// A process, running or not.
#[derive(Debug)]
pub(crate) struct Process {
    launch: Launch,
    running: Mutex<Option<Running>>,
}

impl Process {
    pub(crate) fn new(launch: Launch) -> Self {
        Self { launch, running: Mutex::new(None) }
    }

    pub(crate) fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Starts it, unless it runs.
    pub(crate) fn start(&self) -> anyhow::Result<()> {
        let mut running = self.lock()?;
        if running.is_some() {
            return Ok(());
        }
        let mut child = self.launch.command()?.spawn().with_context(|| missing_program(&self.launch.program))?;
        match guard(child.id(), self.launch.scratch.as_deref()) {
            Ok(guard) => *running = Some(Running { child, guard }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                return Err(error).context("the guard process could not be started");
            }
        }
        Ok(())
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> anyhow::Result<u32> {
        let running = self.lock()?;
        running.as_ref().map(|running| running.child.id()).context("the process is not running")
    }

    /// How it ended, if it ended by itself.
    pub(crate) fn exit_status(&self) -> anyhow::Result<Option<ExitStatus>> {
        let mut running = self.lock()?;
        let running = running.as_mut().context("the process was stopped")?;
        Ok(running.child.try_wait()?)
    }

    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(raw_pid(self.pid()?)?, signal).context("the process is gone")
    }

    /// SIGSTOP for it and its helpers, which would go on to serve their clients: PostgreSQL's lead groups of their own.
    pub(crate) fn pause(&self) -> anyhow::Result<()> {
        // First, so that it makes no more of them.
        self.signal(Signal::STOP)?;
        self.signal_helpers(Signal::STOP)
    }

    /// SIGCONT for all that [`pause`](Self::pause) stopped.
    pub(crate) fn resume(&self) -> anyhow::Result<()> {
        self.signal_helpers(Signal::CONT)?;
        self.signal(Signal::CONT)
    }

    fn signal_helpers(&self, signal: Signal) -> anyhow::Result<()> {
        for helper in children(self.pid()?) {
            match kill_process(raw_pid(helper)?, signal) {
                // It has just ended.
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error).context("a helper could not be signalled"),
            }
        }
        Ok(())
    }

    /// Asks it to end by a signal and waits; an error after the deadline (it still runs then).
    pub(crate) async fn stop(&self, signal: Signal, deadline: Duration) -> anyhow::Result<ExitStatus> {
        if self.exit_status()?.is_none() {
            self.signal(signal)?;
            // One that is paused must wake up to end.
            self.resume()?;
        }
        let what = format!("the end of {}", self.launch.program.display());
        let status = poll_until(deadline, &what, async || self.exit_status().transpose()).await??;
        self.forget()?;
        Ok(status)
    }

    /// SIGKILL, and waits until it is gone. Does nothing where it is gone already.
    pub(crate) fn kill(&self) -> anyhow::Result<()> {
        self.forget()
    }

    pub(crate) fn usage(&self) -> anyhow::Result<ProcessUsage> {
        ProcessUsage::of(self.pid()?)
    }

    fn forget(&self) -> anyhow::Result<()> {
        let Some(mut running) = self.lock()?.take() else { return Ok(()) };
        // Its helpers too: those of its group, and PostgreSQL's, which lead groups of their own. One left behind would keep
        // the next start from its shared memory. The group exists as long as the child is not waited for.
        let helpers = children(running.child.id());
        let group = kill_process_group(raw_pid(running.child.id())?, Signal::KILL);
        for helper in helpers {
            let _ = kill_process(raw_pid(helper)?, Signal::KILL);
        }
        // The guard goes before the child's id can belong to somebody else.
        let guard = running.guard.kill();
        running.child.wait()?;
        running.guard.wait()?;
        guard?;
        match group {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).context("kill"),
        }
    }

    fn lock(&self) -> anyhow::Result<std::sync::MutexGuard<'_, Option<Running>>> {
        self.running.lock().map_err(|_| anyhow::anyhow!("a thread panicked while it handled this process"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A destructor has nobody to tell.
        let _ = self.forget();
    }
}

fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

fn raw_pid(pid: u32) -> anyhow::Result<Pid> {
    Pid::from_raw(i32::try_from(pid)?).context("process id 0")
}

/// The pipe's writing end stays open, in the returned child, until this process is gone.
fn guard(pid: u32, scratch: Option<&Path>) -> io::Result<Child> {
    Command::new("/bin/sh")
        .arg("-c")
        .arg(r#"read -r _; kill -KILL "-$1"; if [ -n "$2" ]; then sleep 0.2; rm -rf "$2"; fi"#)
        .arg("guard")
        .arg(pid.to_string())
        .arg(scratch.unwrap_or(Path::new("")))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}
